# Needs: losses, clusters, the table of documents. Makes: losses/by_subset.csv, qdg/subsets.csv, scaling/seeds.csv.
# The first two where documents name the part of the corpus they are from, the last where a size has several seeds;
# scaling/seeds_sharpness.csv and .json, scaling/seeds_drops.csv where two sizes or more have several seeds.


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
        code=code("losses/by_subset"),
    message:
        "Mean losses by part of the corpus"
    script:
        "../workflow/scripts/losses/by_subset.py"


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
        code=code("catalogue/by_subset"),
    message:
        "Clusters by part of the corpus"
    script:
        "../workflow/scripts/catalogue/by_subset.py"


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
        code=code("scaling/seeds"),
    message:
        "Spread of the mean loss between seeds"
    script:
        "../workflow/scripts/scaling/seeds.py"


if SEEDED:

    rule seeds_sharpness:
        input:
            losses=losses_of(seeded_members()),
            tokens=rules.tokens.output.tokens,
            offsets=rules.tokens.output.offsets,
            documents=rules.tokens.output.documents,
            family=rules.family.output.table,
        output:
            table=f"{R}/scaling/seeds_sharpness.csv",
            drops=f"{R}/scaling/seeds_drops.csv",
            numbers=f"{R}/scaling/seeds_sharpness.json",
        log:
            f"{R}/logs/seeds_sharpness.log",
        benchmark:
            f"{R}/benchmarks/seeds_sharpness.tsv"
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            # losses in float64, their drops and marks, for every seed and its others
            mem_mb=megabytes_of_tokens(1500, 34 + 40 * len(seeded_members())),
            runtime=minutes(60),
            gpu=0,
        params:
            seeded=of(SEEDED),
            final_step=FINAL,
            above=config["scaling"]["monogenic_above_nats"],
            below=config["scaling"]["monogenic_below_nats"],
            drop=config["scaling"]["drop_nats"],
            share=config["scaling"]["smooth_share"],
            predictions=config["scaling"]["token_curves_predictions"],
            draws=config["scaling"]["bootstrap"],
            seed=config["seed"],
            code=code("scaling/seeds_sharpness"),
        message:
            "Which sharp drops recur in another seed"
        script:
            "../workflow/scripts/scaling/seeds_sharpness.py"
