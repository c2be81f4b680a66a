# Needs: qdg/, losses, scores of stability. Makes: qdg/descriptions.parquet, qdg/layout.parquet, figures of the clusters.


rule describe:
    input:
        selection=rules.select.output.tokens,
        labels=rules.labels.output.labels,
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
        documents=rules.tokens.output.documents,
        tokenizer=rules.tokenizer.output.tokenizer,
    output:
        table=f"{R}/qdg/descriptions.parquet",
    log:
        f"{R}/logs/describe.log",
    benchmark:
        f"{R}/benchmarks/describe.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(60),
        gpu=0,
    params:
        code=code("catalogue/describe"),
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
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(60),
        gpu=0,
    params:
        seed=config["seed"],
        code=code("catalogue/layout"),
    message:
        "Lay the tokens out in two dimensions"
    script:
        "../workflow/scripts/catalogue/layout.py"
