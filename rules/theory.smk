# Needs: nothing but the configuration; the measured exponents of parity for the figure of accounts.
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
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(10),
        gpu=0,
    params:
        alphas=config["theory"]["alphas"],
        n_quanta=config["theory"]["n_quanta"],
        threshold=config["theory"]["threshold"],
        draws=config["theory"]["draws"],
        exponents=config["theory"]["exponents"],
        factor=config["theory"]["factor"],
        seed=config["seed"],
        code=code("theory/theory"),
    message:
        "Predict losses and exponents, simulate learning by frequency"
    script:
        "../workflow/scripts/theory/theory.py"
