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
        resources:
            mem_mb=needs.megabytes(500),
            runtime=needs.minutes(240),
        params:
            corpus=canonical(config["corpus"]["hub"]),
            lock=config["models"]["hub"]["lock"],
            store=config["models"]["hub"]["store"],
            patience=plan.patience(),
        message:
            "Fetch the texts from the hub"
        script:
            "../workflow/scripts/corpus/fetch_texts.py"


rule texts:
    input:
        file=plan.texts_given(),
        pin=[f"{R}/corpus/fetched.pin.json"] if config["corpus"]["source"] == "hub" else [],
        manifest=plan.manifest_given(),
    output:
        texts=f"{R}/corpus/texts.parquet",
        sources=f"{R}/corpus/sources.json",
        manifest=[f"{R}/corpus/manifest.csv"] if plan.source == "train" else [],
        differences=[f"{R}/corpus/differences.csv"] if plan.manifest_given() else [],
    log:
        f"{R}/logs/texts.log",
    benchmark:
        f"{R}/benchmarks/texts.tsv"
    priority: 10
    resources:
        mem_mb=needs.texts_mb(),
        runtime=needs.minutes(30),
    params:
        corpus=plan.texts_settings(),
        folder=plan.texts_folder,
        containment=config["corpus"]["duplicate_containment"] if plan.source == "train" else None,
        documents=members.texts_needed(config),
        minimum_agreement=config["corpus"]["minimum_agreement"] if plan.manifest_given() else None,
        versions=canonical(packages.versions(config)),
    message:
        "Read the texts of the corpus"
    script:
        "../workflow/scripts/corpus/texts.py"


rule tokenizer:
    input:
        texts=rules.texts.output.texts,
        model=plan.tokenizer_given(),
    output:
        tokenizer=f"{R}/corpus/tokenizer/tokenizer.json",
        config=f"{R}/corpus/tokenizer/tokenizer_config.json",
    log:
        f"{R}/logs/tokenizer.log",
    benchmark:
        f"{R}/benchmarks/tokenizer.tsv"
    priority: 10
    resources:
        mem_mb=needs.megabytes(2000),
        runtime=needs.minutes(10),
    params:
        vocabulary=config["corpus"]["tokenizer"]["vocabulary"] if plan.source == "train" else None,
    message:
        "Train the tokenizer, or take the models' own"
    script:
        "../workflow/scripts/corpus/tokenizer.py"


rule beginning:
    input:
        model=plan.tokenizer_given(),
    output:
        beginning=f"{R}/corpus/beginning.json",
    log:
        f"{R}/logs/beginning.log",
    priority: 10
    localrule: True
    resources:
        mem_mb=needs.megabytes(1000),
        runtime=needs.minutes(10),
    params:
        beginning=config["corpus"]["beginning"],
    message:
        "Find what models read before each document"
    script:
        "../workflow/scripts/corpus/beginning.py"


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
    resources:
        mem_mb=needs.texts_mb(),
        runtime=needs.minutes(30),
    params:
        split="heldout",
        context=config["corpus"]["context"],
        pieces=config["corpus"]["pieces"],
        documents=config["corpus"]["documents"],
        take=config["corpus"]["take"],
        limit_tokens=None,
        special_tokens=config["corpus"]["special_tokens"],
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
        pieces="all",
        documents=None,
        take="first",
        limit_tokens=config["corpus"]["training_tokens"],
    message:
        "Encode the training documents"


# inputs of most rules, and of those that run a model
encoded = {"tokens": rules.tokens.output.tokens, "offsets": rules.tokens.output.offsets}
contexts = encoded | {"beginning": rules.beginning.output.beginning}
