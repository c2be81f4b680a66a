# Needs: installed packages, or a JSON Lines file, or the hub.
# Makes: corpus/ — texts, the manifest of what is trained on, tokenizer, token ids with offsets, the table of documents.

if config["corpus"]["source"] == "hub":

    rule fetch_texts:
        output:
            folder=directory(f"{R}/corpus/fetched"),
            pin=f"{R}/corpus/fetched.pin.json",
        log:
            f"{R}/logs/fetch_texts.log",
        localrule: True
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes(500),
            runtime=minutes(240),
            gpu=0,
        params:
            corpus=of(config["corpus"]["hub"]),
            lock=config["models"]["hub"]["lock"],
            store=config["models"]["hub"]["store"],
            patience=patience(),
            code=code("corpus/fetch_texts"),
        message:
            "Fetch the texts from the hub"
        script:
            "../workflow/scripts/corpus/fetch_texts.py"


rule texts:
    input:
        file=text_file(),
        pin=[f"{R}/corpus/fetched.pin.json"] if config["corpus"]["source"] == "hub" else [],
        manifest=manifest_file(),
    output:
        texts=f"{R}/corpus/texts.parquet",
        sources=f"{R}/corpus/sources.json",
        manifest=[f"{R}/corpus/manifest.csv"] if SOURCE == "train" else [],
        differences=[f"{R}/corpus/differences.csv"] if manifest_file() else [],
    log:
        f"{R}/logs/texts.log",
    benchmark:
        f"{R}/benchmarks/texts.tsv"
    priority: 10
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes_of_texts(),
        runtime=minutes(30),
        gpu=0,
    params:
        corpus=of(
            {
                key: config["corpus"][key]
                for key in (
                    "source",
                    *(["python"] if config["corpus"]["source"] == "python" else ["jsonl"]),
                    *("minimum_characters", "heldout_share", "repeated"),
                )
            }
        ),
        containment=config["corpus"]["duplicate_containment"] if SOURCE == "train" else None,
        documents=settings.texts_needed(config),
        minimum_agreement=config["corpus"]["minimum_agreement"] if manifest_file() else None,
        versions=of(packages.versions(config)),
        code=code("corpus/texts"),
    message:
        "Read the texts of the corpus"
    script:
        "../workflow/scripts/corpus/texts.py"


rule tokenizer:
    input:
        texts=rules.texts.output.texts,
        model=tokenizer_source(),
    output:
        tokenizer=f"{R}/corpus/tokenizer/tokenizer.json",
        config=f"{R}/corpus/tokenizer/tokenizer_config.json",
    log:
        f"{R}/logs/tokenizer.log",
    benchmark:
        f"{R}/benchmarks/tokenizer.tsv"
    priority: 10
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(2000),
        runtime=minutes(10),
        gpu=0,
    params:
        vocabulary=config["corpus"]["tokenizer"]["vocabulary"] if SOURCE == "train" else None,
        code=code("corpus/tokenizer"),
    message:
        "Train the tokenizer, or take the models' own"
    script:
        "../workflow/scripts/corpus/tokenizer.py"


rule tokens:
    input:
        texts=rules.texts.output.texts,
        tokenizer=rules.tokenizer.output.tokenizer,
    output:
        tokens=f"{R}/corpus/tokens.npy",
        offsets=f"{R}/corpus/offsets.npy",
        documents=f"{R}/corpus/documents.parquet",
    log:
        f"{R}/logs/tokens.log",
    benchmark:
        f"{R}/benchmarks/tokens.tsv"
    priority: 10
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes_of_texts(),
        runtime=minutes(30),
        gpu=0,
    params:
        split="heldout",
        context=config["corpus"]["context"],
        pieces=config["corpus"]["pieces"],
        documents=config["corpus"]["documents"],
        take=config["corpus"]["take"],
        limit_tokens=None,
        code=code("corpus/tokens"),
    message:
        "Encode the held-out documents"
    script:
        "../workflow/scripts/corpus/tokens.py"


use rule tokens as training_tokens with:
    output:
        tokens=f"{R}/corpus/training/tokens.npy",
        offsets=f"{R}/corpus/training/offsets.npy",
        documents=f"{R}/corpus/training/documents.parquet",
    log:
        f"{R}/logs/training_tokens.log",
    benchmark:
        f"{R}/benchmarks/training_tokens.tsv"
    params:
        split="training",
        context=config["corpus"]["context"],
        pieces="all",
        documents=None,
        take="first",
        limit_tokens=config["corpus"]["training_tokens"],
        code=code("corpus/tokens"),
    message:
        "Encode the training documents"
