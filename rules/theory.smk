# Needs: nothing but the configuration.
# Makes: theory/ — exact and asymptotic losses, simulated learners, published exponents, other accounts.


rule theory:
    input:
        published="workflow/data/published_exponents.csv",
        own=[config["theory"]["exponents"]] if config["theory"]["exponents"] else [],
    output:
        losses=f"{R}/theory/losses.csv",
        simulation=f"{R}/theory/simulation.csv",
        accounts=f"{R}/theory/accounts.csv",
        published=f"{R}/theory/published.csv",
        fits=f"{R}/theory/fits.json",
    log:
        f"{R}/logs/theory.log",
    benchmark:
        f"{R}/benchmarks/theory.tsv"
    resources:
        mem_mb=needs.megabytes(1000),
        runtime=needs.minutes(10),
    params:
        alphas=config["theory"]["alphas"],
        n_quanta=config["theory"]["n_quanta"],
        threshold=config["theory"]["threshold"],
        draws=config["theory"]["draws"],
        exponents=config["theory"]["exponents"],
        factor=config["theory"]["factor"],
        seed=config["seed"],
    message:
        "Predict losses and exponents, simulate learning by frequency"
    script:
        "../workflow/scripts/theory/theory.py"
