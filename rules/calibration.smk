# Needs: qdg/ — affinity, features, labels, selected tokens; losses of all models; the clustered model's shape.
# Makes: calibration/ — the calibrated exponent, its coverage, null models; qdg/clusters.parquet, the split tree, stability.

SIMULATED = min(config["calibration"]["tokens"], config["qdg"]["tokens"])
SHARES = config["calibration"]["shards"]
SIMULATIONS = [f"{R}/calibration/simulations.part{i}of{SHARES}.parquet" for i in range(SHARES)]
EXACT_BYTES = int(config["qdg"]["exact_memory_gb"] * 1e9) if config["qdg"]["mode"] == "exact" else None
EXACT_MB = (EXACT_BYTES or 0) // 10**6
SKETCHED = [] if config["qdg"]["mode"] == "exact" else [f"{R}/qdg/features.npy"]

# another number of parts makes nothing anew
if workflow.is_main_process:
    for name in ("simulations.parquet", "coverage.csv", "estimators.csv", "resolution.csv", "fits.json"):
        joining.keep(Path(".snakemake/metadata"), f"{R}/calibration/{name}", SIMULATIONS)


rule simulate:
    input:
        counts=rules.select.output.counts,
    output:
        simulations=temp(f"{R}/calibration/simulations.part{{shard}}of{{shards}}.parquet"),
    log:
        f"{R}/logs/simulate/{{shard}}of{{shards}}.log",
    benchmark:
        f"{R}/benchmarks/simulate/{{shard}}of{{shards}}.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000 + 6 * 4 * SIMULATED**2 / 1e6),
        runtime=minutes(60),
        gpu=0,
    params:
        simulations=config["calibration"]["simulations"],
        tokens=SIMULATED,
        shipped=shipped("simulations"),
        seed=config["seed"],
        code=code("calibration/simulate"),
    message:
        "Simulate planted quanta, part {wildcards.shard} of {wildcards.shards}"
    script:
        "../workflow/scripts/calibration/simulate.py"


rule calibrate:
    input:
        simulations=SIMULATIONS,
        affinity=AFFINITY,
        selection=rules.select.output.tokens,
        offsets=rules.tokens.output.offsets,
        documents=rules.tokens.output.documents,
        features=SKETCHED,
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
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1500 + 6 * 4 * HELD**2 / 1e6),
        runtime=minutes(30),
        gpu=0,
    params:
        # what makes the parts anew makes this anew, whatever their number was
        made_from=of(
            {"n": config["calibration"]["simulations"], "tokens": SIMULATED, "shipped": shipped("simulations")}
        ),
        made_by=code("calibration/simulate"),
        held_out=config["calibration"]["held_out"],
        seed=config["seed"],
        code=code("calibration/calibrate"),
    message:
        "The exponent by simulation, with its interval and coverage"
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
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000 + 4 * 8 * SIMULATED**2 / 1e6),
        runtime=minutes(60),
        gpu=0,
    params:
        clustered=config["calibration"]["clustered"],
        n_clusters=config["qdg"]["n_clusters"],
        rank_shares=config["qdg"]["rank_shares"],
        method=config["qdg"]["assign"],
        rows=config["qdg"]["rows"],
        restarts=config["qdg"]["restarts"],
        shipped=shipped("slopes"),
        seed=config["seed"],
        code=code("calibration/naive_bias"),
    message:
        "Bias of the envelope's slope on planted quanta"
    script:
        "../workflow/scripts/calibration/naive_bias.py"


rule untrained:
    input:
        model=QDG_FOLDER,
        selection=rules.select.output.tokens,
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
    output:
        affinity=f"{R}/calibration/untrained.npy",
    log:
        f"{R}/logs/untrained.log",
    benchmark:
        f"{R}/benchmarks/untrained.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes_by_size(gradients_mb, unknown=6000 + EXACT_MB, least=3000 + EXACT_MB),
        runtime=minutes_by_size(gradients_minutes, unknown=240, least=600 if EXACT_BYTES else 60),
        gpu=config["resources"]["gpu"],
        batch_tokens=config["qdg"]["batch_tokens"],
    params:
        features=config["qdg"]["features"],
        parameters=config["qdg"]["parameters"],
        precision=config["qdg"]["precision"],
        tokens=HELD,
        memory_bytes=EXACT_BYTES,
        seed=config["seed"],
        code=code("validation/untrained"),
    message:
        "Gradients of the same tokens in an untrained model"
    script:
        "../workflow/scripts/validation/untrained.py"


rule stability:
    input:
        affinity=AFFINITY,
        features=SKETCHED if NEIGHBOURS else [],
        embedding=rules.embedding.output.embedding,
        labels=rules.labels.output.labels,
        selection=rules.select.output.tokens,
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
        documents=rules.tokens.output.documents,
    output:
        clusters=f"{R}/qdg/clusters.parquet",
        tree=f"{R}/qdg/tree.parquet",
        draws=f"{R}/qdg/stability.csv",
        lineage=f"{R}/qdg/lineage.parquet",
        soft=f"{R}/qdg/soft_rank_frequency.csv",
    log:
        f"{R}/logs/stability.log",
    benchmark:
        f"{R}/benchmarks/stability.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000 + 6 * 8 * HELD**2 / 1e6 + (FEATURES_MB if NEIGHBOURS else 0)),
        runtime=minutes(600 if NEIGHBOURS else 120),
        gpu=0,
    params:
        draws=config["calibration"]["draws"],
        show=config["qdg"]["show"],
        rank_shares=config["qdg"]["rank_shares"],
        neighbours=config["qdg"]["neighbours"] if NEIGHBOURS else None,
        method=config["qdg"]["assign"],
        rows=config["qdg"]["rows"],
        restarts=config["qdg"]["restarts"],
        seed=config["seed"],
        code=code("validation/stability"),
    message:
        "Stability, purity and splits of the clusters"
    script:
        "../workflow/scripts/validation/stability.py"


rule relative:
    input:
        model=f"{R}/models/{{model}}/step{{step}}",
        selection=rules.select.output.tokens,
        enough=rules.enough.output.enough,
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
    output:
        labels=f"{R}/qdg/relatives/{{model}}/step{{step}}.parquet",
    log:
        f"{R}/logs/relative/{{model}}/step{{step}}.log",
    benchmark:
        f"{R}/benchmarks/relative/{{model}}/step{{step}}.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes_by_size(
            gradients_mb,
            unknown=6000 + EXACT_MB,
            least=3000 + EXACT_MB + (FEATURES_MB if NEIGHBOURS else 3 * 8 * HELD**2 / 1e6),
        ),
        runtime=minutes_by_size(gradients_minutes, unknown=240, least=600 if NEIGHBOURS or EXACT_BYTES else 60),
        gpu=config["resources"]["gpu"],
        batch_tokens=config["qdg"]["batch_tokens"],
    params:
        features=config["qdg"]["features"],
        parameters=config["qdg"]["parameters"],
        precision=config["qdg"]["precision"],
        neighbours=config["qdg"]["neighbours"] if NEIGHBOURS else None,
        n_clusters=[k for k in config["qdg"]["n_clusters"] if k <= config["qdg"]["show"]],
        method=config["qdg"]["assign"],
        rows=config["qdg"]["rows"],
        restarts=config["qdg"]["restarts"],
        memory_bytes=EXACT_BYTES,
        seed=config["seed"],
        code=code("validation/relative"),
    message:
        "Clusters of the same tokens under {wildcards.model}, step {wildcards.step}"
    script:
        "../workflow/scripts/validation/relative.py"


rule lineage:
    input:
        relatives=[f"{R}/qdg/relatives/{model}/step{step}.parquet" for model, step in RELATIVES],
        labels=rules.labels.output.labels,
        embedding=rules.embedding.output.embedding,
        selection=rules.select.output.tokens,
    output:
        table=f"{R}/qdg/lineage.csv",
    log:
        f"{R}/logs/lineage.log",
    benchmark:
        f"{R}/benchmarks/lineage.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1500),
        runtime=minutes(60),
        gpu=0,
    params:
        members=of(RELATIVES),
        n_clusters=config["qdg"]["n_clusters"],
        show=config["qdg"]["show"],
        method=config["qdg"]["assign"],
        rows=config["qdg"]["rows"],
        restarts=config["qdg"]["restarts"],
        seed=config["seed"],
        code=code("validation/lineage"),
    message:
        "Clusters that other models and steps find again"
    script:
        "../workflow/scripts/validation/lineage.py"


rule nulls:
    input:
        affinity=AFFINITY,
        features=SKETCHED,
        untrained=rules.untrained.output.affinity,
        labels=rules.labels.output.labels,
        draws=rules.stability.output.draws,
        simulations=rules.calibrate.output.simulations,
        selection=rules.select.output.tokens,
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
        documents=rules.tokens.output.documents,
    output:
        table=f"{R}/calibration/nulls.csv",
        curves=f"{R}/calibration/nulls_rank_frequency.csv",
    log:
        f"{R}/logs/nulls.log",
    benchmark:
        f"{R}/benchmarks/nulls.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1500 + 8 * 8 * HELD**2 / 1e6),
        runtime=minutes(120),
        gpu=0,
    params:
        n_clusters=config["qdg"]["n_clusters"],
        rank_shares=config["qdg"]["rank_shares"],
        features=config["qdg"]["features"],
        method=config["qdg"]["assign"],
        rows=config["qdg"]["rows"],
        restarts=config["qdg"]["restarts"],
        held_out=config["calibration"]["held_out"],
        seed=config["seed"],
        code=code("validation/nulls"),
    message:
        "Null models through the same functions"
    script:
        "../workflow/scripts/validation/nulls.py"


rule toy:
    output:
        table=f"{R}/calibration/toy.csv",
    log:
        f"{R}/logs/toy.log",
    benchmark:
        f"{R}/benchmarks/toy.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1500),
        runtime=minutes(30),
        gpu=0,
    params:
        tokens=min(1000, SIMULATED),
        method=config["qdg"]["assign"],
        rows=config["qdg"]["rows"],
        restarts=config["qdg"]["restarts"],
        seed=config["seed"],
        code=code("calibration/toy"),
    message:
        "The toy of the paper's appendix"
    script:
        "../workflow/scripts/calibration/toy.py"


rule affinities:
    input:
        affinity=AFFINITY,
        selection=rules.select.output.tokens,
        losses=losses_of(MEMBERS),
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
    output:
        losses=f"{R}/qdg/affinity_of_losses.npy",
        agreement=f"{R}/qdg/affinities.json",
    log:
        f"{R}/logs/affinities.log",
    benchmark:
        f"{R}/benchmarks/affinities.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000 + 8 * 8 * HELD**2 / 1e6),
        runtime=minutes(30),
        gpu=0,
    params:
        show=config["qdg"]["show"],
        method=config["qdg"]["assign"],
        rows=config["qdg"]["rows"],
        restarts=config["qdg"]["restarts"],
        seed=config["seed"],
        code=code("affinity/affinities"),
    message:
        "A second affinity, from loss curves, against the gradients'"
    script:
        "../workflow/scripts/affinity/affinities.py"
