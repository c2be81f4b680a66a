# Needs: features, or with qdg.mode: exact the model itself. Makes: qdg/affinity.npy; qdg/affinity_of_losses.npy, the second opinion.
# With qdg.graph: neighbours there is no matrix of all pairs, and the affinity is of a sample.


if plan.neighbours:

    rule affinity_sample:
        input:
            features=rules.features.output.features,
        output:
            affinity=plan.affinity,
        log:
            f"{R}/logs/affinity_sample.log",
        benchmark:
            f"{R}/benchmarks/affinity_sample.tsv"
        resources:
            mem_mb=needs.megabytes(1500 + (4 * plan.held * config["qdg"]["features"] + 8 * plan.held**2) / 1e6),
            runtime=needs.minutes(60),
        params:
            tokens=plan.held,
        message:
            "Compare the gradients of a sample of tokens"
        script:
            "../workflow/scripts/affinity/affinity_sample.py"

elif config["qdg"]["mode"] == "exact":

    rule exact_affinity:
        input:
            **contexts,
            model=f"{R}/models/{plan.clustered}",
            selection=rules.select.output.tokens,
        output:
            affinity=plan.affinity,
        log:
            f"{R}/logs/exact_affinity.log",
        benchmark:
            f"{R}/benchmarks/exact_affinity.tsv"
        resources:
            mem_mb=needs.megabytes(2000 + 1000 * config["qdg"]["exact_memory_gb"]),
            runtime=needs.minutes(600),
            gpu=GPU,
            batch_tokens=config["qdg"]["batch_tokens"],
        params:
            parameters=config["qdg"]["parameters"],
            precision=config["qdg"]["precision"],
            memory_bytes=int(config["qdg"]["exact_memory_gb"] * 1e9),
        message:
            "Compare exact gradients of all pairs of tokens"
        script:
            "../workflow/scripts/affinity/exact_affinity.py"

else:

    rule affinity:
        input:
            features=[rules.features.output.features],
            selection=rules.select.output.tokens,
        output:
            affinity=plan.affinity,
        log:
            f"{R}/logs/affinity.log",
        benchmark:
            f"{R}/benchmarks/affinity.tsv"
        resources:
            mem_mb=needs.megabytes(1500 + 2 * needs.held_mb),
            runtime=needs.minutes(60),
        message:
            "Compare the gradients of all pairs of tokens"
        script:
            "../workflow/scripts/affinity/affinity.py"


rule affinities:
    input:
        **encoded,
        affinity=plan.affinity,
        selection=rules.select.output.tokens,
        losses=plan.losses(plan.members),
    output:
        losses=f"{R}/qdg/affinity_of_losses.npy",
        agreement=f"{R}/qdg/affinities.json",
    log:
        f"{R}/logs/affinities.log",
    benchmark:
        f"{R}/benchmarks/affinities.tsv"
    resources:
        mem_mb=needs.megabytes(1000 + 16 * needs.held_mb),
        runtime=needs.minutes(30),
    params:
        **plan.assignment(),
        show=config["qdg"]["show"],
        seed=config["seed"],
    message:
        "Compare loss curves of tokens, as a check of the gradients"
    script:
        "../workflow/scripts/affinity/affinities.py"
