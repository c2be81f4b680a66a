# Needs: losses, and the weights of one model, qdg.model. Makes: qdg/ — selected tokens, features of their gradients.

FEATURES = plan.features_parts()
RECORDS = [part.replace(".npy", ".json") for part in FEATURES]
keep_joined(FEATURES + RECORDS, f"{R}/qdg/features.npy", f"{R}/qdg/features.json")


if plan.probed():

    # before any losses: a model whose gradients are refused costs no more than its loading
    rule probe:
        input:
            model=f"{R}/models/{plan.clustered}",
        output:
            probe=plan.probed(),
        log:
            f"{R}/logs/probe.log",
        benchmark:
            f"{R}/benchmarks/probe.tsv"
        priority: 10
        resources:
            mem_mb=needs.gradients_mb(unknown=6000, least=2500),
            runtime=needs.minutes(20),
            gpu=GPU,
        params:
            parameters=config["qdg"]["parameters"],
        message:
            "Probe the gradients of the model that is clustered"
        script:
            "../workflow/scripts/gradients/probe.py"


rule select:
    input:
        **encoded,
        losses=plan.losses([(config["qdg"]["model"], plan.final)]),
    output:
        tokens=f"{R}/qdg/tokens.parquet",
        counts=f"{R}/qdg/selection.json",
    log:
        f"{R}/logs/select.log",
    benchmark:
        f"{R}/benchmarks/select.tsv"
    resources:
        mem_mb=needs.megabytes(1000),
        runtime=needs.minutes(20),
    params:
        threshold=config["qdg"]["threshold"],
        tokens=config["qdg"]["tokens"],
        induction=config["qdg"]["induction"],
        selection=config["qdg"]["selection"],
    message:
        "Select tokens that the model predicts well without copying"
    script:
        "../workflow/scripts/gradients/select.py"


# no part of `select`: other numbers of clusters select no other tokens and need no new gradients
rule enough:
    input:
        counts=rules.select.output.counts,
    output:
        enough=f"{R}/qdg/enough.json",
    log:
        f"{R}/logs/enough.log",
    # before the gradients, which are ready at the same time
    priority: 1
    localrule: True
    resources:
        mem_mb=needs.megabytes(500),
        runtime=needs.minutes(5),
    params:
        threshold=config["qdg"]["threshold"],
        largest=max(config["qdg"]["n_clusters"]),
    message:
        "Check that there are more tokens than clusters"
    script:
        "../workflow/scripts/gradients/enough.py"


rule gradients:
    input:
        **contexts,
        model=f"{R}/models/{plan.clustered}",
        selection=rules.select.output.tokens,
    output:
        features=temp(f"{R}/qdg/features.part{{shard}}of{{shards}}.npy"),
        record=temp(f"{R}/qdg/features.part{{shard}}of{{shards}}.json"),
    log:
        f"{R}/logs/gradients/{{shard}}of{{shards}}.log",
    benchmark:
        f"{R}/benchmarks/gradients/{{shard}}of{{shards}}.tsv"
    resources:
        mem_mb=needs.gradients_mb(unknown=6000, least=2500),
        runtime=needs.gradients_minutes(unknown=240, least=30),
        gpu=GPU,
        batch_tokens=config["qdg"]["batch_tokens"],
    params:
        **plan.gradients(),
        seed=config["seed"],
    message:
        "Compute gradients of single tokens, part {wildcards.shard} of {wildcards.shards}, counted from 0"
    script:
        "../workflow/scripts/gradients/gradients.py"


rule features:
    input:
        **encoded,
        parts=FEATURES,
        records=RECORDS,
        selection=rules.select.output.tokens,
        # not read: what reruns the parts reruns this, whatever their number was
        model=f"{R}/models/{plan.clustered}",
    output:
        features=f"{R}/qdg/features.npy",
        record=f"{R}/qdg/features.json",
    log:
        f"{R}/logs/features.log",
    benchmark:
        f"{R}/benchmarks/features.tsv"
    resources:
        mem_mb=needs.megabytes(1000),
        runtime=needs.minutes(20),
    params:
        gradients=canonical(plan.gradients() | PARAMS),
        made_by=code("gradients/gradients"),
    message:
        "Gather the gradient features"
    script:
        "../workflow/scripts/gradients/features.py"
