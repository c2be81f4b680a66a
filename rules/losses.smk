# Needs: models, tokens. Makes: losses/ — float32 nats of every prediction, one array a model and step.
# A member (model/step) has a job of its own, or is shared by several that take a part of the documents each, or is one
# of several small ones in one job.

LOSSES = losses_by_job()

# another number of parts makes nothing anew
if workflow.is_main_process:
    for member in LOSSES["parted"]:
        joining.keep(Path(".snakemake/metadata"), f"{R}/losses/{member}.npy", parts_of(member))


rule losses:
    input:
        models=[f"{R}/models/{{member}}"],
        alike=ancient(tokenizers_compared()),
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
    output:
        losses=[f"{R}/losses/{{member}}.npy"],
    log:
        f"{R}/logs/losses/{{member}}.log",
    benchmark:
        f"{R}/benchmarks/losses/{{member}}.tsv"
    wildcard_constraints:
        member=one_of(LOSSES["alone"]),
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes_by_size(losses_mb, unknown=4000, least=1500),
        runtime=minutes_by_size(losses_minutes, unknown=120, least=20),
        gpu=config["resources"]["gpu"],
        batch_tokens=config["losses"]["batch_tokens"],
    params:
        precision=config["losses"]["precision"],
        code=code("losses/losses"),
    message:
        "Losses of {wildcards.member}"
    script:
        "../workflow/scripts/losses/losses.py"


use rule losses as losses_part with:
    output:
        losses=[temp(f"{R}/losses/{{member}}.part{{shard}}of{{shards}}.npy")],
    log:
        f"{R}/logs/losses/{{member}}.{{shard}}of{{shards}}.log",
    benchmark:
        f"{R}/benchmarks/losses/{{member}}.{{shard}}of{{shards}}.tsv"
    wildcard_constraints:
        member=one_of(LOSSES["parted"]),
    message:
        "Losses of {wildcards.member}, part {wildcards.shard}"


rule gather_losses:
    input:
        parts=parts_of_losses,
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
    output:
        losses=f"{R}/losses/{{member}}.npy",
    log:
        f"{R}/logs/gather_losses/{{member}}.log",
    benchmark:
        f"{R}/benchmarks/gather_losses/{{member}}.tsv"
    wildcard_constraints:
        member=one_of(LOSSES["parted"]),
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes_of_tokens(1000, 18),
        runtime=minutes(20),
        gpu=0,
    params:
        # what makes the parts anew makes this anew, whatever their number was
        precision=config["losses"]["precision"],
        made_by=code("losses/losses"),
        code=code("losses/gather"),
    message:
        "Gather the losses of {wildcards.member}"
    script:
        "../workflow/scripts/losses/gather.py"


for number, members in enumerate(LOSSES["together"]):

    rule:
        name:
            f"losses_together_{number}"
        input:
            models=[f"{R}/models/{member}" for member in members],
            alike=ancient(tokenizers_compared()),
            tokens=rules.tokens.output.tokens,
            offsets=rules.tokens.output.offsets,
        output:
            losses=[update(f"{R}/losses/{member}.npy") for member in members],
        log:
            f"{R}/logs/losses/together_{number}.log",
        benchmark:
            f"{R}/benchmarks/losses_together_{number}.tsv"
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes(max(each(members, losses_mb, least=1500))),
            runtime=minutes(sum(each(members, losses_minutes, least=20))),
            gpu=config["resources"]["gpu"],
            batch_tokens=config["losses"]["batch_tokens"],
        params:
            precision=config["losses"]["precision"],
            code=code("losses/losses"),
        message:
            f"Losses of {members[0]} to {members[-1]}"
        script:
            "../workflow/scripts/losses/losses.py"
