# Needs: losses, clusters, the table of documents. Makes: losses/by_subset.csv, qdg/subsets.csv, scaling/seeds.csv.
# The first two where documents name the part of the corpus they are from, the last where a size has several seeds.


rule subset_losses:
    input:
        losses=losses_of(MEMBERS),
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
        documents=rules.tokens.output.documents,
    output:
        table=f"{R}/losses/by_subset.csv",
    log:
        f"{R}/logs/subset_losses.log",
    benchmark:
        f"{R}/benchmarks/subset_losses.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1500),
        runtime=minutes(60),
        gpu=0,
    params:
        members=of(MEMBERS),
        code=code("subset_losses"),
    message:
        "Mean losses by part of the corpus"
    script:
        "../workflow/scripts/subset_losses.py"


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
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(700),
        runtime=minutes(10),
        gpu=0,
    params:
        code=code("subset_clusters"),
    message:
        "Clusters by part of the corpus"
    script:
        "../workflow/scripts/subset_clusters.py"


rule seeds:
    input:
        mean_loss=rules.mean_loss.output.table,
        family=rules.family.output.table,
    output:
        table=f"{R}/scaling/seeds.csv",
    log:
        f"{R}/logs/seeds.log",
    benchmark:
        f"{R}/benchmarks/seeds.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(700),
        runtime=minutes(10),
        gpu=0,
    params:
        final_step=FINAL,
        code=code("seeds"),
    message:
        "Spread of the mean loss between seeds"
    script:
        "../workflow/scripts/seeds.py"
