# Needs: losses, and the weights of one model, qdg.model.
# Makes: qdg/ — selected tokens, gradient features, affinity, embedding, labels for every n_clusters, rank-frequency,
# and, with the losses of all sizes and steps, when each cluster is learned.
# With qdg.graph: neighbours, no matrix of all pairs: the affinity is of a sample, and the embedding is made without one.

QDG_FOLDER = f"{R}/models/{config['qdg']['model']}/step{FINAL}"
# what needs all pairs has them of HELD tokens: all, or where there is no matrix of all, as many as are simulated
NEIGHBOURS = config["qdg"]["graph"] == "neighbours"
HELD = min(config["qdg"]["tokens"], config["calibration"]["tokens"] if NEIGHBOURS else config["qdg"]["tokens"])
AFFINITY = f"{R}/qdg/affinity_sample.npy" if NEIGHBOURS else f"{R}/qdg/affinity.npy"
FEATURES_MB = 4 * config["qdg"]["tokens"] * config["qdg"]["features"] / 1e6
PARTS = [f"{R}/qdg/features.part{i}of{qdg_shards()}.npy" for i in range(qdg_shards())]
RECORDS = [part.replace(".npy", ".json") for part in PARTS]

# another number of parts makes nothing anew
if workflow.is_main_process:
    for joined in (f"{R}/qdg/features.npy", f"{R}/qdg/features.json"):
        joining.keep(Path(".snakemake/metadata"), joined, PARTS + RECORDS)


rule select:
    input:
        losses=losses_of([(config["qdg"]["model"], FINAL)]),
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
    output:
        tokens=f"{R}/qdg/tokens.parquet",
        counts=f"{R}/qdg/selection.json",
    log:
        f"{R}/logs/select.log",
    benchmark:
        f"{R}/benchmarks/select.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(20),
        gpu=0,
    params:
        threshold=config["qdg"]["threshold"],
        tokens=config["qdg"]["tokens"],
        induction=config["qdg"]["induction"],
        selection=config["qdg"]["selection"],
        code=code("gradients/select"),
    message:
        "Select tokens that the model predicts well, not by induction"
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
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(500),
        runtime=minutes(5),
        gpu=0,
    params:
        threshold=config["qdg"]["threshold"],
        largest=max(config["qdg"]["n_clusters"]),
        code=code("gradients/enough"),
    message:
        "Check that there are more tokens than clusters"
    script:
        "../workflow/scripts/gradients/enough.py"


# how the parts are made, as a param of what joins them
GRADIENTS = of({key: config["qdg"][key] for key in ("features", "parameters", "precision")} | {"seed": config["seed"]})


rule gradients:
    input:
        model=QDG_FOLDER,
        selection=rules.select.output.tokens,
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
    output:
        features=temp(f"{R}/qdg/features.part{{shard}}of{{shards}}.npy"),
        record=temp(f"{R}/qdg/features.part{{shard}}of{{shards}}.json"),
    log:
        f"{R}/logs/gradients/{{shard}}of{{shards}}.log",
    benchmark:
        f"{R}/benchmarks/gradients/{{shard}}of{{shards}}.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes_by_size(gradients_mb, unknown=6000, least=2500),
        runtime=minutes_by_size(gradients_minutes, unknown=240, least=30),
        gpu=config["resources"]["gpu"],
        batch_tokens=config["qdg"]["batch_tokens"],
    params:
        features=config["qdg"]["features"],
        parameters=config["qdg"]["parameters"],
        precision=config["qdg"]["precision"],
        seed=config["seed"],
        code=code("gradients/gradients"),
    message:
        "Gradients of single tokens, part {wildcards.shard} of {wildcards.shards}"
    script:
        "../workflow/scripts/gradients/gradients.py"


rule features:
    input:
        parts=PARTS,
        records=RECORDS,
        selection=rules.select.output.tokens,
        # not read: what makes the parts anew makes this anew, whatever their number was
        model=QDG_FOLDER,
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
    output:
        features=f"{R}/qdg/features.npy",
        record=f"{R}/qdg/features.json",
    log:
        f"{R}/logs/features.log",
    benchmark:
        f"{R}/benchmarks/features.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(20),
        gpu=0,
    params:
        gradients=GRADIENTS,
        made_by=code("gradients/gradients"),
        code=code("gradients/features"),
    message:
        "Gather the gradient features"
    script:
        "../workflow/scripts/gradients/features.py"


# nothing asks for a sketch where the matrix is exact
if NEIGHBOURS:

    rule affinity_sample:
        input:
            features=rules.features.output.features,
        output:
            affinity=AFFINITY,
        log:
            f"{R}/logs/affinity_sample.log",
        benchmark:
            f"{R}/benchmarks/affinity_sample.tsv"
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes(1500 + (4 * HELD * config["qdg"]["features"] + 2 * 4 * HELD**2) / 1e6),
            runtime=minutes(60),
            gpu=0,
        params:
            tokens=HELD,
            code=code("affinity/affinity_sample"),
        message:
            "Cosine similarity of gradients, a sample of the tokens"
        script:
            "../workflow/scripts/affinity/affinity_sample.py"

elif config["qdg"]["mode"] == "exact":

    rule exact_affinity:
        input:
            model=QDG_FOLDER,
            selection=rules.select.output.tokens,
            tokens=rules.tokens.output.tokens,
            offsets=rules.tokens.output.offsets,
        output:
            affinity=AFFINITY,
        log:
            f"{R}/logs/exact_affinity.log",
        benchmark:
            f"{R}/benchmarks/exact_affinity.tsv"
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes(2000 + 1000 * config["qdg"]["exact_memory_gb"]),
            runtime=minutes(600),
            gpu=config["resources"]["gpu"],
            batch_tokens=config["qdg"]["batch_tokens"],
        params:
            parameters=config["qdg"]["parameters"],
            precision=config["qdg"]["precision"],
            memory_bytes=int(config["qdg"]["exact_memory_gb"] * 1e9),
            code=code("affinity/exact_affinity"),
        message:
            "Cosine similarity of exact gradients"
        script:
            "../workflow/scripts/affinity/exact_affinity.py"

else:

    rule affinity:
        input:
            features=[rules.features.output.features],
            selection=rules.select.output.tokens,
        output:
            affinity=AFFINITY,
        log:
            f"{R}/logs/affinity.log",
        benchmark:
            f"{R}/benchmarks/affinity.tsv"
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes(1500 + 2 * 4 * config["qdg"]["tokens"] ** 2 / 1e6),
            runtime=minutes(60),
            gpu=0,
        params:
            code=code("affinity/affinity"),
        message:
            "Cosine similarity of gradients"
        script:
            "../workflow/scripts/affinity/affinity.py"


if NEIGHBOURS:

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
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes(2000 + FEATURES_MB),
            runtime=minutes(600),
            gpu=config["resources"]["gpu"],
        params:
            neighbours=config["qdg"]["neighbours"],
            code=code("clustering/neighbours"),
        message:
            "Nearest neighbours of every token"
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
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            # the unit rows, Lanczos' basis of twice the eigenvectors with its copy, the graph
            mem_mb=megabytes(
                1000
                + FEATURES_MB
                + (5 * max(config["qdg"]["n_clusters"]) + 5 * config["qdg"]["neighbours"])
                * 8
                * config["qdg"]["tokens"]
                / 1e6
            ),
            runtime=minutes(600),
            gpu=0,
        params:
            largest=max(config["qdg"]["n_clusters"]),
            seed=config["seed"],
            code=code("clustering/neighbour_embedding"),
        message:
            "Eigenvectors of the normalised affinity, from neighbours and features"
        script:
            "../workflow/scripts/clustering/neighbour_embedding.py"

else:

    rule embedding:
        input:
            affinity=AFFINITY,
            enough=rules.enough.output.enough,
        output:
            embedding=f"{R}/qdg/embedding.npy",
            eigenvalues=f"{R}/qdg/eigenvalues.npy",
        log:
            f"{R}/logs/embedding.log",
        benchmark:
            f"{R}/benchmarks/embedding.tsv"
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            # the matrix in float64, LAPACK's copy, and the eigenvectors
            mem_mb=megabytes(600 + 3 * 8 * config["qdg"]["tokens"] ** 2 / 1e6),
            runtime=minutes(60),
            gpu=0,
        params:
            largest=max(config["qdg"]["n_clusters"]),
            code=code("clustering/embedding"),
        message:
            "Eigenvectors of the normalised affinity"
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
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1500),
        runtime=minutes(240),
        gpu=0,
    params:
        n_clusters=config["qdg"]["n_clusters"],
        method=config["qdg"]["assign"],
        rows=config["qdg"]["rows"],
        restarts=config["qdg"]["restarts"],
        seed=config["seed"],
        code=code("clustering/labels"),
    message:
        "Spectral clustering for every number of clusters"
    script:
        "../workflow/scripts/clustering/labels.py"


rule rank_frequency:
    input:
        labels=rules.labels.output.labels,
        embedding=rules.embedding.output.embedding,
        selection=rules.select.output.tokens,
        offsets=rules.tokens.output.offsets,
        documents=rules.tokens.output.documents,
        calibration=f"{R}/calibration/fits.json",
    output:
        table=f"{R}/qdg/rank_frequency.csv",
        fits=f"{R}/qdg/fits.json",
    log:
        f"{R}/logs/rank_frequency.log",
    benchmark:
        f"{R}/benchmarks/rank_frequency.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1500),
        runtime=minutes(240),
        gpu=0,
    params:
        rank_shares=config["qdg"]["rank_shares"],
        draws=config["qdg"]["bootstrap"],
        show=config["qdg"]["show"],
        method=config["qdg"]["assign"],
        rows=config["qdg"]["rows"],
        restarts=config["qdg"]["restarts"],
        seed=config["seed"],
        code=code("rank_frequency/rank_frequency"),
    message:
        "Rank-frequency law of the clusters"
    script:
        "../workflow/scripts/rank_frequency/rank_frequency.py"


rule learned:
    input:
        selection=rules.select.output.tokens,
        labels=rules.labels.output.labels,
        described=f"{R}/qdg/descriptions.parquet",
        losses=losses_of(learning_members()),
        family=rules.family.output.table,
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
        tokenizer=rules.tokenizer.output.tokenizer,
    output:
        table=f"{R}/qdg/learned.csv",
        order=f"{R}/qdg/learned.json",
    log:
        f"{R}/logs/learned.log",
    benchmark:
        f"{R}/benchmarks/learned.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes_of_tokens(1500, 34),
        runtime=minutes(60),
        gpu=0,
    params:
        axes=of(learning_axes()),
        members=of(learning_members()),
        show=config["qdg"]["show"],
        least=config["dynamics"]["least_tokens"],
        draws=config["scaling"]["bootstrap"],
        seed=config["seed"],
        code=code("catalogue/learned"),
    message:
        "When each cluster is learned, and whether frequent ones are first"
    script:
        "../workflow/scripts/catalogue/learned.py"
