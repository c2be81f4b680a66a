# Needs: nothing but the configuration.
# Makes: parity/ — curves of nets on sparse parity, exponents beside the theory's, QDG held against the true tasks.


rule parity_fresh:
    output:
        curves=f"{R}/parity/fresh/alpha{{alpha}}/{{replicate}}/curves.parquet",
        nets=f"{R}/parity/fresh/alpha{{alpha}}/{{replicate}}/nets.csv",
        weights=f"{R}/parity/fresh/alpha{{alpha}}/{{replicate}}/widest.npz",
    log:
        f"{R}/logs/parity_fresh/alpha{{alpha}}/{{replicate}}.log",
    benchmark:
        f"{R}/benchmarks/parity_fresh/alpha{{alpha}}/{{replicate}}.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(2000),
        runtime=minutes(600),
        gpu=config["resources"]["gpu"],
    params:
        problem=parity_problem(),
        training=parity_training(),
        widths=PARITY["widths"],
        steps=PARITY["steps"],
        batch_size=PARITY["batch_size"],
        alpha=parity_alpha,
        seed=parity_seed,
        checkpoint=f"{R}/unfinished/parity-fresh-alpha{{alpha}}-{{replicate}}.pt",
        code=code("parity/fresh"),
    message:
        "Train nets of all widths on parity, α = {wildcards.alpha}, replicate {wildcards.replicate}"
    script:
        "../workflow/scripts/parity/fresh.py"


rule parity_data:
    output:
        curves=f"{R}/parity/data/alpha{{alpha}}/{{replicate}}/curves.parquet",
        nets=f"{R}/parity/data/alpha{{alpha}}/{{replicate}}/nets.csv",
    log:
        f"{R}/logs/parity_data/alpha{{alpha}}/{{replicate}}.log",
    benchmark:
        f"{R}/benchmarks/parity_data/alpha{{alpha}}/{{replicate}}.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(2000),
        runtime=minutes(600),
        gpu=config["resources"]["gpu"],
    params:
        problem=parity_problem(),
        training=parity_training(),
        data=of(PARITY["data"]),
        batch_size=PARITY["batch_size"],
        alpha=parity_alpha,
        seed=parity_seed,
        checkpoint=f"{R}/unfinished/parity-data-alpha{{alpha}}-{{replicate}}",
        code=code("parity/data"),
    message:
        "Train nets on fixed training sets, α = {wildcards.alpha}, replicate {wildcards.replicate}"
    script:
        "../workflow/scripts/parity/data.py"


rule parity_fits:
    input:
        curves=parity_sweeps("curves.parquet"),
        nets=parity_sweeps("nets.csv"),
    output:
        fits=f"{R}/parity/fits.json",
        exponents=f"{R}/parity/exponents.csv",
        convergence=f"{R}/parity/convergence.csv",
        points=f"{R}/parity/points.csv",
        emergence=f"{R}/parity/emergence.csv",
    log:
        f"{R}/logs/parity_fits.log",
    benchmark:
        f"{R}/benchmarks/parity_fits.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(3000),
        runtime=minutes(30),
        gpu=0,
    params:
        fit=of(PARITY["fit"]),
        seed=config["seed"],
        code=code("parity/fits"),
    message:
        "Fit exponents, convergence and emergence on parity"
    script:
        "../workflow/scripts/parity/fits.py"


rule parity_qdg:
    input:
        weights=rules.parity_fresh.output.weights,
        curves=rules.parity_fresh.output.curves,
        nets=rules.parity_fresh.output.nets,
    output:
        scores=f"{R}/parity/qdg/alpha{{alpha}}/{{replicate}}/scores.csv",
        tasks=f"{R}/parity/qdg/alpha{{alpha}}/{{replicate}}/tasks.csv",
        pairs=f"{R}/parity/qdg/alpha{{alpha}}/{{replicate}}/pairs.csv",
        envelopes=f"{R}/parity/qdg/alpha{{alpha}}/{{replicate}}/envelopes.csv",
    log:
        f"{R}/logs/parity_qdg/alpha{{alpha}}/{{replicate}}.log",
    benchmark:
        f"{R}/benchmarks/parity_qdg/alpha{{alpha}}/{{replicate}}.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(parity_gradients_mb()),
        runtime=minutes(60),
        gpu=0,
    params:
        problem=parity_problem(),
        qdg=of(PARITY["qdg"]),
        assignment=parity_assignment(),
        shown=parity_is_shown,
        alpha=parity_alpha,
        seed=parity_seed,
        code=code("parity/qdg"),
    message:
        "Hold QDG against the true tasks, α = {wildcards.alpha}, replicate {wildcards.replicate}"
    script:
        "../workflow/scripts/parity/qdg.py"


rule parity_calibration:
    input:
        weights=parity_tables("fresh", "widest.npz"),
        curves=parity_tables("fresh", "curves.parquet"),
        nets=parity_tables("fresh", "nets.csv"),
        envelopes=parity_tables("qdg", "envelopes.csv"),
    output:
        estimates=f"{R}/parity/calibration/estimates.csv",
        coverage=f"{R}/parity/calibration/coverage.csv",
    log:
        f"{R}/logs/parity_calibration.log",
    benchmark:
        f"{R}/benchmarks/parity_calibration.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(parity_gradients_mb()),
        runtime=minutes(60),
        gpu=0,
    params:
        problem=parity_problem(),
        qdg=of({key: PARITY["qdg"][key] for key in ("samples", "below_bits")}),
        calibration=of(PARITY["calibration"]),
        nets=[(float(alpha), config["seed"] + int(replicate)) for alpha in ALPHAS for replicate in REPLICATES],
        first_seed=config["seed"],
        code=code("parity/calibration"),
    message:
        "Calibrate the exponent of parity nets, whose truth is known"
    script:
        "../workflow/scripts/parity/calibration.py"
