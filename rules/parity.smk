# Needs: nothing but the configuration.
# Makes: parity/ — curves of nets on sparse parity, exponents and the theory's, QDG compared with the true tasks.


rule parity_fresh:
    output:
        curves=f"{R}/parity/fresh/alpha{{alpha}}/{{replicate}}/curves.parquet",
        nets=f"{R}/parity/fresh/alpha{{alpha}}/{{replicate}}/nets.csv",
        weights=f"{R}/parity/fresh/alpha{{alpha}}/{{replicate}}/widest.npz",
    log:
        f"{R}/logs/parity_fresh/alpha{{alpha}}/{{replicate}}.log",
    benchmark:
        f"{R}/benchmarks/parity_fresh/alpha{{alpha}}/{{replicate}}.tsv"
    resources:
        mem_mb=needs.megabytes(2000),
        runtime=needs.minutes(600),
        gpu=GPU,
    params:
        problem=parity.problem(),
        training=parity.training(),
        widths=parity.settings["widths"],
        steps=parity.settings["steps"],
        batch_size=parity.settings["batch_size"],
        alpha=parity.alpha,
        seed=parity.seed,
        checkpoint=f"{R}/unfinished/parity-fresh-alpha{{alpha}}-{{replicate}}.pt",
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
    resources:
        mem_mb=needs.megabytes(2000),
        runtime=needs.minutes(600),
        gpu=GPU,
    params:
        problem=parity.problem(),
        training=parity.training(),
        data=canonical(parity.settings["data"]),
        batch_size=parity.settings["batch_size"],
        alpha=parity.alpha,
        seed=parity.seed,
        checkpoint=f"{R}/unfinished/parity-data-alpha{{alpha}}-{{replicate}}",
    message:
        "Train nets on fixed training sets, α = {wildcards.alpha}, replicate {wildcards.replicate}"
    script:
        "../workflow/scripts/parity/data.py"


rule parity_fits:
    input:
        curves=parity.sweep_tables("curves.parquet"),
        nets=parity.sweep_tables("nets.csv"),
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
    resources:
        mem_mb=needs.megabytes(3000),
        runtime=needs.minutes(30),
    params:
        fit=canonical(parity.settings["fit"]),
        seed=config["seed"],
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
    resources:
        mem_mb=needs.megabytes(parity.gradients_mb()),
        runtime=needs.minutes(60),
    params:
        problem=parity.problem(),
        qdg=canonical(parity.settings["qdg"]),
        assignment=parity.assignment(),
        shown=parity.is_shown,
        alpha=parity.alpha,
        seed=parity.seed,
    message:
        "Compare clusters with the true tasks, α = {wildcards.alpha}, replicate {wildcards.replicate}"
    script:
        "../workflow/scripts/parity/qdg.py"


rule parity_calibration:
    input:
        weights=parity.tables("fresh", "widest.npz"),
        curves=parity.tables("fresh", "curves.parquet"),
        nets=parity.tables("fresh", "nets.csv"),
        envelopes=parity.tables("qdg", "envelopes.csv"),
    output:
        estimates=f"{R}/parity/calibration/estimates.csv",
        coverage=f"{R}/parity/calibration/coverage.csv",
    log:
        f"{R}/logs/parity_calibration.log",
    benchmark:
        f"{R}/benchmarks/parity_calibration.tsv"
    resources:
        mem_mb=needs.megabytes(parity.gradients_mb()),
        runtime=needs.minutes(60),
    params:
        problem=parity.problem(),
        qdg=canonical({key: parity.settings["qdg"][key] for key in ("samples", "below_bits")}),
        calibration=canonical(parity.settings["calibration"]),
        nets=parity.nets(),
        first_seed=config["seed"],
    message:
        "Estimate the exponent of parity nets, where the truth is known"
    script:
        "../workflow/scripts/parity/calibration.py"
