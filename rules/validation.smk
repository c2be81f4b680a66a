# Needs: qdg/, the clustered model, simulations. Makes: calibration/ — null models; qdg/ — stability, splits, lineage.


rule untrained:
    input:
        **contexts,
        model=f"{R}/models/{plan.clustered}",
        selection=rules.select.output.tokens,
    output:
        affinity=f"{R}/calibration/untrained.npy",
    log:
        f"{R}/logs/untrained.log",
    benchmark:
        f"{R}/benchmarks/untrained.tsv"
    resources:
        mem_mb=needs.gradients_mb(unknown=6000 + needs.exact_mb, least=3000 + needs.exact_mb),
        runtime=needs.gradients_minutes(unknown=240, least=600 if plan.exact_bytes else 60),
        gpu=GPU,
        batch_tokens=config["qdg"]["batch_tokens"],
    params:
        **plan.gradients(),
        tokens=plan.held,
        memory_bytes=plan.exact_bytes,
        seed=config["seed"],
    message:
        "Compute gradients of the same tokens in an untrained model"
    script:
        "../workflow/scripts/validation/untrained.py"


rule stability:
    input:
        **encoded,
        affinity=plan.affinity,
        features=plan.sketched if plan.neighbours else [],
        embedding=rules.embedding.output.embedding,
        labels=rules.labels.output.labels,
        selection=rules.select.output.tokens,
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
    resources:
        mem_mb=needs.megabytes(1000 + 12 * needs.held_mb + (needs.features_mb if plan.neighbours else 0)),
        runtime=needs.minutes(600 if plan.neighbours else 120),
    params:
        **plan.assignment(),
        draws=config["calibration"]["draws"],
        show=config["qdg"]["show"],
        rank_shares=config["qdg"]["rank_shares"],
        neighbours=config["qdg"]["neighbours"] if plan.neighbours else None,
        seed=config["seed"],
    message:
        "Measure stability, purity and splits of the clusters"
    script:
        "../workflow/scripts/validation/stability.py"


rule relative:
    input:
        **contexts,
        model=f"{R}/models/{{model}}/step{{step}}",
        selection=rules.select.output.tokens,
        enough=rules.enough.output.enough,
    output:
        labels=f"{R}/qdg/relatives/{{model}}/step{{step}}.parquet",
    log:
        f"{R}/logs/relative/{{model}}/step{{step}}.log",
    benchmark:
        f"{R}/benchmarks/relative/{{model}}/step{{step}}.tsv"
    resources:
        mem_mb=needs.gradients_mb(
            unknown=6000 + needs.exact_mb,
            least=3000 + needs.exact_mb + (needs.features_mb if plan.neighbours else 6 * needs.held_mb),
        ),
        runtime=needs.gradients_minutes(unknown=240, least=600 if plan.neighbours or plan.exact_bytes else 60),
        gpu=GPU,
        batch_tokens=config["qdg"]["batch_tokens"],
    params:
        **plan.gradients(),
        **plan.assignment(),
        neighbours=config["qdg"]["neighbours"] if plan.neighbours else None,
        n_clusters=[k for k in config["qdg"]["n_clusters"] if k <= config["qdg"]["show"]],
        memory_bytes=plan.exact_bytes,
        seed=config["seed"],
    message:
        "Cluster the same tokens under {wildcards.model}, step {wildcards.step}"
    script:
        "../workflow/scripts/validation/relative.py"


rule lineage:
    input:
        relatives=[f"{R}/qdg/relatives/{model}/step{step}.parquet" for model, step in plan.relatives],
        labels=rules.labels.output.labels,
        embedding=rules.embedding.output.embedding,
        selection=rules.select.output.tokens,
    output:
        table=f"{R}/qdg/lineage.csv",
    log:
        f"{R}/logs/lineage.log",
    benchmark:
        f"{R}/benchmarks/lineage.tsv"
    resources:
        mem_mb=needs.megabytes(1500),
        runtime=needs.minutes(60),
    params:
        **plan.assignment(),
        members=canonical(plan.relatives),
        n_clusters=config["qdg"]["n_clusters"],
        show=config["qdg"]["show"],
        seed=config["seed"],
    message:
        "Match the clusters with those of other models and steps"
    script:
        "../workflow/scripts/validation/lineage.py"


rule nulls:
    input:
        **encoded,
        affinity=plan.affinity,
        features=plan.sketched,
        untrained=rules.untrained.output.affinity,
        labels=rules.labels.output.labels,
        draws=rules.stability.output.draws,
        simulations=rules.calibrate.output.simulations,
        selection=rules.select.output.tokens,
        documents=rules.tokens.output.documents,
    output:
        table=f"{R}/calibration/nulls.csv",
        curves=f"{R}/calibration/nulls_rank_frequency.csv",
    log:
        f"{R}/logs/nulls.log",
    benchmark:
        f"{R}/benchmarks/nulls.tsv"
    resources:
        mem_mb=needs.megabytes(1500 + 16 * needs.held_mb),
        runtime=needs.minutes(120),
    params:
        **plan.assignment(),
        n_clusters=config["qdg"]["n_clusters"],
        rank_shares=config["qdg"]["rank_shares"],
        features=config["qdg"]["features"],
        held_out=config["calibration"]["held_out"],
        seed=config["seed"],
    message:
        "Run null models through the same functions"
    script:
        "../workflow/scripts/validation/nulls.py"
