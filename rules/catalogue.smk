# Needs: qdg/, losses. Makes: qdg/ — descriptions, the map of tokens, when each cluster is learned, clusters by part of the corpus.


rule describe:
    input:
        **encoded,
        selection=rules.select.output.tokens,
        labels=rules.labels.output.labels,
        documents=rules.tokens.output.documents,
        tokenizer=rules.tokenizer.output.tokenizer,
    output:
        table=f"{R}/qdg/descriptions.parquet",
    log:
        f"{R}/logs/describe.log",
    benchmark:
        f"{R}/benchmarks/describe.tsv"
    resources:
        mem_mb=needs.megabytes(1000),
        runtime=needs.minutes(60),
    message:
        "Describe every cluster by a rule over its contexts"
    script:
        "../workflow/scripts/catalogue/describe.py"


rule layout:
    input:
        embedding=rules.embedding.output.embedding,
    output:
        layout=f"{R}/qdg/layout.parquet",
    log:
        f"{R}/logs/layout.log",
    benchmark:
        f"{R}/benchmarks/layout.tsv"
    resources:
        mem_mb=needs.megabytes(1000),
        runtime=needs.minutes(60),
    params:
        seed=config["seed"],
    message:
        "Draw the map of the tokens"
    script:
        "../workflow/scripts/catalogue/layout.py"


rule learned:
    input:
        **encoded,
        selection=rules.select.output.tokens,
        labels=rules.labels.output.labels,
        described=f"{R}/qdg/descriptions.parquet",
        losses=plan.losses(plan.learning_members()),
        family=rules.family.output.table,
        tokenizer=rules.tokenizer.output.tokenizer,
    output:
        table=f"{R}/qdg/learned.csv",
        order=f"{R}/qdg/learned.json",
    log:
        f"{R}/logs/learned.log",
    benchmark:
        f"{R}/benchmarks/learned.tsv"
    resources:
        mem_mb=needs.tokens_mb(1500, 34),
        runtime=needs.minutes(60),
    params:
        axes=canonical(plan.learning_axes()),
        members=canonical(plan.learning_members()),
        show=config["qdg"]["show"],
        least=config["dynamics"]["least_tokens"],
        draws=config["scaling"]["bootstrap"],
        seed=config["seed"],
    message:
        "Find when each cluster is learned, and whether frequent ones are first"
    script:
        "../workflow/scripts/catalogue/learned.py"


rule subset_clusters:
    input:
        labels=rules.labels.output.labels,
        selection=rules.select.output.tokens,
        documents=rules.tokens.output.documents,
    output:
        table=f"{R}/qdg/subsets.csv",
    log:
        f"{R}/logs/subset_clusters.log",
    benchmark:
        f"{R}/benchmarks/subset_clusters.tsv"
    resources:
        mem_mb=needs.megabytes(700),
        runtime=needs.minutes(10),
    message:
        "Count the clusters by part of the corpus"
    script:
        "../workflow/scripts/catalogue/by_subset.py"
