# Needs: affinity, or features where there are too many tokens for one. Makes: qdg/ — embedding, labels for every n_clusters.


if plan.neighbours:

    rule neighbours:
        input:
            features=rules.features.output.features,
        output:
            neighbours=f"{R}/qdg/neighbours.npy",
            cosines=f"{R}/qdg/neighbour_cosines.npy",
        log:
            f"{R}/logs/neighbours.log",
        benchmark:
            f"{R}/benchmarks/neighbours.tsv"
        resources:
            mem_mb=needs.megabytes(2000 + needs.features_mb),
            runtime=needs.minutes(600),
            gpu=GPU,
        params:
            neighbours=config["qdg"]["neighbours"],
        message:
            "Find the nearest neighbours of every token"
        script:
            "../workflow/scripts/clustering/neighbours.py"

    rule embedding:
        input:
            features=rules.features.output.features,
            neighbours=rules.neighbours.output.neighbours,
            cosines=rules.neighbours.output.cosines,
            enough=rules.enough.output.enough,
        output:
            embedding=f"{R}/qdg/embedding.npy",
            eigenvalues=f"{R}/qdg/eigenvalues.npy",
        log:
            f"{R}/logs/embedding.log",
        benchmark:
            f"{R}/benchmarks/embedding.tsv"
        resources:
            # the unit rows, Lanczos' basis of twice the eigenvectors with its copy, the graph
            mem_mb=needs.megabytes(
                1000
                + needs.features_mb
                + (5 * max(config["qdg"]["n_clusters"]) + 5 * config["qdg"]["neighbours"])
                * 8
                * config["qdg"]["tokens"]
                / 1e6
            ),
            runtime=needs.minutes(600),
        params:
            largest=max(config["qdg"]["n_clusters"]),
            seed=config["seed"],
        message:
            "Compute eigenvectors of the affinity, from neighbours and features"
        script:
            "../workflow/scripts/clustering/neighbour_embedding.py"

else:

    rule embedding:
        input:
            affinity=plan.affinity,
            enough=rules.enough.output.enough,
        output:
            embedding=f"{R}/qdg/embedding.npy",
            eigenvalues=f"{R}/qdg/eigenvalues.npy",
        log:
            f"{R}/logs/embedding.log",
        benchmark:
            f"{R}/benchmarks/embedding.tsv"
        resources:
            # the matrix in float64, LAPACK's copy, and the eigenvectors
            mem_mb=needs.megabytes(600 + 6 * needs.held_mb),
            runtime=needs.minutes(60),
        params:
            largest=max(config["qdg"]["n_clusters"]),
        message:
            "Compute eigenvectors of the affinity"
        script:
            "../workflow/scripts/clustering/embedding.py"


rule labels:
    input:
        embedding=rules.embedding.output.embedding,
    output:
        labels=f"{R}/qdg/labels.parquet",
    log:
        f"{R}/logs/labels.log",
    benchmark:
        f"{R}/benchmarks/labels.tsv"
    resources:
        mem_mb=needs.megabytes(1500),
        runtime=needs.minutes(240),
    params:
        **plan.assignment(),
        n_clusters=config["qdg"]["n_clusters"],
        seed=config["seed"],
    message:
        "Cluster the tokens, for every number of clusters"
    script:
        "../workflow/scripts/clustering/labels.py"
