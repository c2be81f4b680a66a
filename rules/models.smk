# Needs: training tokens, or a folder of checkpoints, or the hub. Makes: models/ — a folder a model and step, the family's table.


if SOURCE == "train":

    rule train:
        input:
            tokens=rules.training_tokens.output.tokens,
            offsets=rules.training_tokens.output.offsets,
            tokenizer=rules.tokenizer.output.tokenizer,
        output:
            folders=[directory(f"{R}/models/{{model}}/step{FINAL}")],
            curve=f"{R}/models/{{model}}/curve.csv",
        log:
            f"{R}/logs/train/{{model}}.log",
        benchmark:
            f"{R}/benchmarks/train/{{model}}.tsv"
        # the longest way through the run leads over the models
        priority: 10
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes_by_size(training_mb, unknown=4000, least=1500),
            runtime=minutes_by_size(training_minutes, unknown=120, least=20),
            gpu=config["resources"]["gpu"],
        params:
            size=size_of,
            recipe=recipe(),
            steps=[FINAL],
            seed=config["seed"],
            unfinished=f"{R}/unfinished/{{model}}",
            code=code("models/train"),
        message:
            "Train {wildcards.model}"
        script:
            "../workflow/scripts/models/train.py"

    if FOLLOWED:

        use rule train as train_dynamics with:
            output:
                folders=[directory(f"{R}/models/{{model}}/step{s}") for s in config["dynamics"]["steps"]],
                curve=f"{R}/models/{{model}}/curve.csv",
            wildcard_constraints:
                model=one_of(FOLLOWED),
            params:
                size=size_of,
                recipe=recipe(),
                steps=config["dynamics"]["steps"],
                seed=config["seed"],
                unfinished=f"{R}/unfinished/{{model}}",
                code=code("models/train"),

        ruleorder: train_dynamics > train


if SOURCE == "folder":

    rule adopt:
        output:
            folder=directory(f"{R}/models/{{model}}/step{{step}}"),
        log:
            f"{R}/logs/adopt/{{model}}/step{{step}}.log",
        localrule: True
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes(200),
            runtime=minutes(10),
            gpu=0,
        params:
            path=config["models"]["folder"]["path"],
            only_step=FINAL,
            sha256=hash_of,
            files=files_given,
            code=code("models/adopt"),
        message:
            "Take {wildcards.model} at step {wildcards.step} from the given folder"
        script:
            "../workflow/scripts/models/adopt.py"


if SOURCE == "hub":

    rule pin:
        output:
            pin=f"{R}/models/{{model}}/step{{step}}.pin.json",
        log:
            f"{R}/logs/pin/{{model}}/step{{step}}.log",
        localrule: True
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes(200),
            runtime=minutes(20),
            gpu=0,
        params:
            request=on_hub,
            lock=config["models"]["hub"]["lock"],
            patience=patience(),
            code=code("models/pin"),
        message:
            "Pin {wildcards.model} at step {wildcards.step} to a commit"
        script:
            "../workflow/scripts/models/pin.py"

    rule pins:
        input:
            pins=[f"{R}/models/{model}/step{step}.pin.json" for model, step in MEMBERS],
        output:
            table=f"{R}/models/pins.csv",
        log:
            f"{R}/logs/pins.log",
        localrule: True
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes(200),
            runtime=minutes(10),
            gpu=0,
        params:
            members=of(MEMBERS),
            store=config["models"]["hub"]["store"],
            code=code("models/pins"),
        message:
            "Check before any download that all checkpoints are there, differ, and fit on the disk"
        script:
            "../workflow/scripts/models/pins.py"

    rule fetch:
        input:
            pin=f"{R}/models/{{model}}/step{{step}}.pin.json",
            # nothing is fetched before all is pinned, and another member's pin fetches nothing anew
            pins=ancient(rules.pins.output.table),
        output:
            folder=directory(f"{R}/models/{{model}}/step{{step}}"),
        log:
            f"{R}/logs/fetch/{{model}}/step{{step}}.log",
        localrule: True
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes(500),
            runtime=minutes(240),
            gpu=0,
        params:
            request=on_hub,
            store=config["models"]["hub"]["store"],
            patience=patience(),
            code=code("models/fetch"),
        message:
            "Fetch {wildcards.model} at step {wildcards.step} from the hub"
        script:
            "../workflow/scripts/models/fetch.py"


if SOURCE != "train":

    rule tokenizers:
        input:
            folders=[f"{R}/models/{model}/step{FINAL}" for model in MODELS],
        output:
            compared=f"{R}/models/tokenizers.json",
        log:
            f"{R}/logs/tokenizers.log",
        localrule: True
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes(500),
            runtime=minutes(10),
            gpu=0,
        params:
            code=code("models/tokenizers"),
        message:
            "Compare the tokenizers of the family"
        script:
            "../workflow/scripts/models/tokenizers.py"


rule family:
    input:
        folders=[f"{R}/models/{model}/step{step}" for model, step in MEMBERS],
        pins=[f"{R}/models/{model}/step{step}.pin.json" for model, step in MEMBERS if SOURCE == "hub"],
    output:
        table=f"{R}/models/family.csv",
    log:
        f"{R}/logs/family.log",
    benchmark:
        f"{R}/benchmarks/family.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(60),
        gpu=0,
    params:
        members=family_members(),
        code=code("models/family"),
    message:
        "Count and hash the weights of the family"
    script:
        "../workflow/scripts/models/family.py"


if SOURCE == "train":

    # asked for by name: `snakemake export --cores 2 --configfile config/family.yaml`
    rule export:
        input:
            folders=[f"{R}/models/{model}/step{step}" for model, step in MEMBERS],
            curves=curves(MODELS),
            family=rules.family.output.table,
            mean_loss=f"{R}/scaling/mean_loss.csv",
            tokens=rules.tokens.output.tokens,
            offsets=rules.tokens.output.offsets,
            tokenizer=rules.tokenizer.output.tokenizer,
            manifest=rules.texts.output.manifest,
            sources=rules.texts.output.sources,
        output:
            folder=directory(f"{R}/export"),
        log:
            f"{R}/logs/export.log",
        benchmark:
            f"{R}/benchmarks/export.tsv"
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes(1500),
            runtime=minutes(60),
            gpu=0,
        params:
            sizes=of({model: settings.trained(config, model) for model in MODELS}),
            recipe=recipe(),
            times=f"{R}/benchmarks/train",
            command=f"snakemake export --cores 2 --configfile config/{config['run']}.yaml",
            code=code("models/export"),
        message:
            "Put the trained family into one folder"
        script:
            "../workflow/scripts/models/export.py"
