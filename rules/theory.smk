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
        code=code("theory"),
    message:
        "Predict losses and exponents, simulate learning by frequency"
    script:
        "../workflow/scripts/theory.py"


rule figure_theory:
    input:
        losses=rules.theory.output.losses,
        simulation=rules.theory.output.simulation,
    output:
        png=report(figure("theory"), caption="../workflow/report/theory.rst", category="0 Theory"),
        pdf=drawn("theory"),
        csv=behind("theory"),
    log:
        f"{R}/logs/figure_theory.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1500),
        runtime=minutes(10),
        gpu=0,
    params:
        look=look(),
        code=code("figure_theory"),
    message:
        "Figure: losses of the theory"
    script:
        "../workflow/scripts/figure_theory.py"


rule figure_published:
    input:
        published=rules.theory.output.published,
        fits=rules.theory.output.fits,
    output:
        png=report(figure("published"), caption="../workflow/report/published.rst", category="0 Theory"),
        pdf=drawn("published"),
        csv=behind("published"),
    log:
        f"{R}/logs/figure_published.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1500),
        runtime=minutes(10),
        gpu=0,
    params:
        look=look(),
        code=code("figure_published"),
    message:
        "Figure: published exponents"
    script:
        "../workflow/scripts/figure_published.py"


rule figure_accounts:
    input:
        accounts=rules.theory.output.accounts,
        fits=f"{R}/parity/fits.json",
        paper="workflow/data/parity_exponents.csv",
    output:
        png=report(figure("accounts"), caption="../workflow/report/accounts.rst", category="0 Theory"),
        pdf=drawn("accounts"),
        csv=behind("accounts"),
    log:
        f"{R}/logs/figure_accounts.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1500),
        runtime=minutes(10),
        gpu=0,
    params:
        look=look(),
        code=code("figure_accounts"),
    message:
        "Figure: exponents by different accounts"
    script:
        "../workflow/scripts/figure_accounts.py"
