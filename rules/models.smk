# Needs: training tokens, or a folder of checkpoints, or the hub. Makes: models/ — one folder per model and step, the family's table.


if plan.source == "train":

    rule train:
        input:
            tokens=rules.training_tokens.output.tokens,
            offsets=rules.training_tokens.output.offsets,
            tokenizer=rules.tokenizer.output.tokenizer,
        output:
            folders=[directory(f"{R}/models/{{model}}/step{plan.final}")],
            curve=f"{R}/models/{{model}}/curve.csv",
        log:
            f"{R}/logs/train/{{model}}.log",
        benchmark:
            f"{R}/benchmarks/train/{{model}}.tsv"
        # the longest way through the run leads over the models
        priority: 10
        resources:
            mem_mb=needs.training_mb(unknown=4000, least=1500),
            runtime=needs.training_minutes(unknown=120, least=20),
            gpu=GPU,
        params:
            size=plan.size_of,
            recipe=plan.recipe(),
            steps=[plan.final],
            seed=config["seed"],
            unfinished=f"{R}/unfinished/{{model}}",
        message:
            "Train {wildcards.model}"
        script:
            "../workflow/scripts/models/train.py"

    if plan.followed:

        use rule train as train_dynamics with:
            output:
                folders=[directory(f"{R}/models/{{model}}/step{s}") for s in config["dynamics"]["steps"]],
                curve=f"{R}/models/{{model}}/curve.csv",
            wildcard_constraints:
                model=one_of(plan.followed),
            params:
                steps=config["dynamics"]["steps"],

        ruleorder: train_dynamics > train


if plan.source == "folder":

    rule adopt:
        output:
            folder=directory(f"{R}/models/{{model}}/step{{step}}"),
        log:
            f"{R}/logs/adopt/{{model}}/step{{step}}.log",
        localrule: True
        resources:
            mem_mb=needs.adopt_mb(),
            runtime=needs.minutes(10),
        params:
            path=config["models"]["folder"]["path"],
            only_step=plan.final,
            sha256=plan.hash_of,
            files=plan.files_given,
        message:
            "Copy {wildcards.model} at step {wildcards.step} from the given directory"
        script:
            "../workflow/scripts/models/adopt.py"


if plan.source == "hub":

    rule pin:
        output:
            pin=f"{R}/models/{{model}}/step{{step}}.pin.json",
        log:
            f"{R}/logs/pin/{{model}}/step{{step}}.log",
        localrule: True
        resources:
            mem_mb=needs.megabytes(200),
            runtime=needs.minutes(20),
        params:
            request=plan.on_hub,
            lock=config["models"]["hub"]["lock"],
            patience=plan.patience(),
        message:
            "Pin {wildcards.model} at step {wildcards.step} to a commit"
        script:
            "../workflow/scripts/models/pin.py"

    rule pins:
        input:
            pins=[f"{R}/models/{model}/step{step}.pin.json" for model, step in plan.members],
        output:
            table=f"{R}/models/pins.csv",
        log:
            f"{R}/logs/pins.log",
        localrule: True
        resources:
            mem_mb=needs.megabytes(500),
            runtime=needs.minutes(20),
        params:
            members=canonical(plan.members),
            store=config["models"]["hub"]["store"],
            patience=plan.patience(),
        message:
            "Check all checkpoints before any weights are fetched: present, different, usable, fit on the disk"
        script:
            "../workflow/scripts/models/pins.py"

    rule fetch:
        input:
            pin=f"{R}/models/{{model}}/step{{step}}.pin.json",
            # nothing is fetched before all is pinned; another member's pin fetches nothing again
            pins=ancient(rules.pins.output.table),
        output:
            folder=directory(f"{R}/models/{{model}}/step{{step}}"),
        log:
            f"{R}/logs/fetch/{{model}}/step{{step}}.log",
        localrule: True
        resources:
            mem_mb=needs.megabytes(500),
            runtime=needs.minutes(240),
        params:
            request=plan.on_hub,
            store=config["models"]["hub"]["store"],
            patience=plan.patience(),
        message:
            "Fetch {wildcards.model} at step {wildcards.step} from the hub"
        script:
            "../workflow/scripts/models/fetch.py"


if plan.source != "train":

    rule tokenizers:
        input:
            folders=[f"{R}/models/{model}/step{plan.final}" for model in plan.models],
        output:
            compared=f"{R}/models/tokenizers.json",
        log:
            f"{R}/logs/tokenizers.log",
        localrule: True
        resources:
            mem_mb=needs.megabytes(500),
            runtime=needs.minutes(10),
        params:
            named=plan.named(),
        message:
            "Compare the tokenizers of the family"
        script:
            "../workflow/scripts/models/tokenizers.py"


rule family:
    input:
        folders=plan.folders(plan.members),
        pins=[f"{R}/models/{model}/step{step}.pin.json" for model, step in plan.members if plan.source == "hub"],
    output:
        table=f"{R}/models/family.csv",
    log:
        f"{R}/logs/family.log",
    benchmark:
        f"{R}/benchmarks/family.tsv"
    resources:
        mem_mb=needs.megabytes(1000),
        runtime=needs.minutes(60),
    params:
        members=plan.family_members(),
    message:
        "Count and hash the weights of the family"
    script:
        "../workflow/scripts/models/family.py"


if plan.source == "train":

    # asked for by name: `snakemake export --cores 2 --configfile config/family.yaml`
    rule export:
        input:
            **encoded,
            folders=plan.folders(plan.members),
            curves=plan.curves(plan.models),
            family=rules.family.output.table,
            mean_loss=f"{R}/scaling/mean_loss.csv",
            tokenizer=rules.tokenizer.output.tokenizer,
            manifest=rules.texts.output.manifest,
            sources=rules.texts.output.sources,
        output:
            folder=directory(f"{R}/export"),
        log:
            f"{R}/logs/export.log",
        benchmark:
            f"{R}/benchmarks/export.tsv"
        resources:
            mem_mb=needs.megabytes(1500),
            runtime=needs.minutes(60),
        params:
            sizes=plan.sizes(),
            recipe=plan.recipe(),
            times=f"{R}/benchmarks/train",
            command=f"snakemake export --cores 2 --configfile config/{config['run']}.yaml",
        message:
            "Copy the trained family into one directory"
        script:
            "../workflow/scripts/models/export.py"
