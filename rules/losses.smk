# Needs: models, tokens. Makes: losses/ — float32 nats of every prediction, one array a model and step.


rule losses:
    input:
        model=f"{R}/models/{{model}}/step{{step}}",
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
    output:
        losses=temp(f"{R}/losses/{{model}}/step{{step}}.part{{shard}}.npy"),
    log:
        f"{R}/logs/losses/{{model}}/step{{step}}.{{shard}}.log",
    benchmark:
        f"{R}/benchmarks/losses/{{model}}/step{{step}}.{{shard}}.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes_by_size(losses_mb, unknown=4000, least=1500),
        runtime=minutes_by_size(losses_minutes, unknown=120, least=20),
        gpu=config["resources"]["gpu"],
    params:
        shards=shards_of,
        batch_tokens=config["losses"]["batch_tokens"],
        precision=config["losses"]["precision"],
        code=code("losses"),
    message:
        "Losses of {wildcards.model} at step {wildcards.step}, part {wildcards.shard}"
    script:
        "../workflow/scripts/losses.py"


use rule losses as losses_whole with:
    output:
        losses=f"{R}/losses/{{model}}/step{{step}}.npy",
    log:
        f"{R}/logs/losses/{{model}}/step{{step}}.log",
    benchmark:
        f"{R}/benchmarks/losses/{{model}}/step{{step}}.tsv"
    wildcard_constraints:
        model=one_of(m for m in MODELS if shards(m) == 1),
    params:
        shards=1,
        batch_tokens=config["losses"]["batch_tokens"],
        precision=config["losses"]["precision"],
        code=code("losses"),
    message:
        "Losses of {wildcards.model} at step {wildcards.step}"


rule gather_losses:
    input:
        parts=parts_of_losses,
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
    output:
        losses=f"{R}/losses/{{model}}/step{{step}}.npy",
    log:
        f"{R}/logs/gather_losses/{{model}}/step{{step}}.log",
    benchmark:
        f"{R}/benchmarks/gather_losses/{{model}}/step{{step}}.tsv"
    wildcard_constraints:
        model=one_of(m for m in MODELS if shards(m) > 1),
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes_of_tokens(1000, 18),
        runtime=minutes(20),
        gpu=0,
    params:
        code=code("gather_losses"),
    message:
        "Gather the losses of {wildcards.model} at step {wildcards.step}"
    script:
        "../workflow/scripts/gather_losses.py"
