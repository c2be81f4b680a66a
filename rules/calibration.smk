# Needs: affinity and selected tokens. Makes: calibration/ — the exponent by simulation, its coverage, the envelope's bias, the toy.

SIMULATIONS = plan.simulations_parts()
JOINED = ("simulations.parquet", "coverage.csv", "estimators.csv", "resolution.csv", "fits.json")
keep_joined(SIMULATIONS, *(f"{R}/calibration/{name}" for name in JOINED))


rule simulate:
    input:
        counts=rules.select.output.counts,
    output:
        simulations=temp(f"{R}/calibration/simulations.part{{shard}}of{{shards}}.parquet"),
    log:
        f"{R}/logs/simulate/{{shard}}of{{shards}}.log",
    benchmark:
        f"{R}/benchmarks/simulate/{{shard}}of{{shards}}.tsv"
    resources:
        mem_mb=needs.megabytes(1000 + 6 * 4 * plan.simulated**2 / 1e6),
        runtime=needs.minutes(60),
    params:
        simulations=config["calibration"]["simulations"],
        tokens=plan.simulated,
        shipped=shipped("simulations"),
        seed=config["seed"],
    message:
        "Simulate planted quanta, part {wildcards.shard} of {wildcards.shards}, counted from 0"
    script:
        "../workflow/scripts/calibration/simulate.py"


rule calibrate:
    input:
        simulations=SIMULATIONS,
        affinity=plan.affinity,
        selection=rules.select.output.tokens,
        offsets=rules.tokens.output.offsets,
        documents=rules.tokens.output.documents,
        features=plan.sketched,
    output:
        simulations=f"{R}/calibration/simulations.parquet",
        coverage=f"{R}/calibration/coverage.csv",
        estimators=f"{R}/calibration/estimators.csv",
        resolution=f"{R}/calibration/resolution.csv",
        fits=f"{R}/calibration/fits.json",
    log:
        f"{R}/logs/calibrate.log",
    benchmark:
        f"{R}/benchmarks/calibrate.tsv"
    resources:
        mem_mb=needs.megabytes(1500 + 6 * needs.held_mb),
        runtime=needs.minutes(30),
    params:
        # what reruns the parts reruns this, whatever their number was
        made_from=canonical(
            {"n": config["calibration"]["simulations"], "tokens": plan.simulated, "shipped": shipped("simulations")}
        ),
        made_by=code("calibration/simulate"),
        held_out=config["calibration"]["held_out"],
        seed=config["seed"],
    message:
        "Estimate the exponent by simulation, with interval and coverage"
    script:
        "../workflow/scripts/calibration/calibrate.py"


rule naive_bias:
    input:
        simulations=rules.calibrate.output.simulations,
        fits=rules.calibrate.output.fits,
    output:
        bias=f"{R}/calibration/naive_bias.csv",
    log:
        f"{R}/logs/naive_bias.log",
    benchmark:
        f"{R}/benchmarks/naive_bias.tsv"
    resources:
        mem_mb=needs.megabytes(1000 + 4 * 8 * plan.simulated**2 / 1e6),
        runtime=needs.minutes(60),
    params:
        **plan.assignment(),
        clustered=config["calibration"]["clustered"],
        n_clusters=config["qdg"]["n_clusters"],
        rank_shares=config["qdg"]["rank_shares"],
        shipped=shipped("slopes"),
        seed=config["seed"],
    message:
        "Measure the bias of the envelope's slope on planted quanta"
    script:
        "../workflow/scripts/calibration/naive_bias.py"


rule toy:
    output:
        table=f"{R}/calibration/toy.csv",
    log:
        f"{R}/logs/toy.log",
    benchmark:
        f"{R}/benchmarks/toy.tsv"
    resources:
        mem_mb=needs.megabytes(1500),
        runtime=needs.minutes(30),
    params:
        **plan.assignment(),
        tokens=min(1000, plan.simulated),
        seed=config["seed"],
    message:
        "Repeat the toy of the paper's appendix"
    script:
        "../workflow/scripts/calibration/toy.py"
