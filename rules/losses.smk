# Needs: models, tokens. Makes: losses/ — float32 nats of every prediction, one array per model and step.
# A member (model/step) has a job of its own, or is shared by several that take a part of the documents each, or is one
# of several small ones in one job. By part of the corpus: losses/by_subset.csv.

for member in plan.losses_jobs.parted:
    keep_joined(plan.losses_parts(member), f"{R}/losses/{member}.npy")


rule losses:
    input:
        **contexts,
        models=[f"{R}/models/{{member}}"],
        checked=ancient(plan.before_losses()),
    output:
        losses=[f"{R}/losses/{{member}}.npy"],
    log:
        f"{R}/logs/losses/{{member}}.log",
    benchmark:
        f"{R}/benchmarks/losses/{{member}}.tsv"
    wildcard_constraints:
        member=one_of(plan.losses_jobs.alone),
    resources:
        mem_mb=needs.losses_mb(unknown=4000, least=1500),
        runtime=needs.losses_minutes(unknown=120, least=20),
        gpu=GPU,
        batch_tokens=config["losses"]["batch_tokens"],
    params:
        precision=config["losses"]["precision"],
    message:
        "Compute losses of {wildcards.member}"
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
        member=one_of(plan.losses_jobs.parted),
    message:
        "Compute losses of {wildcards.member}, part {wildcards.shard}, counted from 0"


rule gather_losses:
    input:
        **encoded,
        parts=plan.losses_parts_of,
    output:
        losses=f"{R}/losses/{{member}}.npy",
    log:
        f"{R}/logs/gather_losses/{{member}}.log",
    benchmark:
        f"{R}/benchmarks/gather_losses/{{member}}.tsv"
    wildcard_constraints:
        member=one_of(plan.losses_jobs.parted),
    resources:
        mem_mb=needs.tokens_mb(1000, 18),
        runtime=needs.minutes(20),
    params:
        # what reruns the parts reruns this, whatever their number was
        precision=config["losses"]["precision"],
        made_by=code("losses/losses"),
    message:
        "Gather the losses of {wildcards.member}"
    script:
        "../workflow/scripts/losses/gather.py"


for number, together in enumerate(plan.losses_jobs.together):

    rule:
        name:
            f"losses_together_{number}"
        input:
            **contexts,
            models=[f"{R}/models/{member}" for member in together],
            checked=ancient(plan.before_losses()),
        output:
            losses=[update(f"{R}/losses/{member}.npy") for member in together],
        log:
            f"{R}/logs/losses/together_{number}.log",
        benchmark:
            f"{R}/benchmarks/losses_together_{number}.tsv"
        resources:
            mem_mb=needs.losses_mb(unknown=4000, least=1500, of=together),
            runtime=needs.losses_minutes(unknown=120, least=20, of=together),
            gpu=GPU,
            batch_tokens=config["losses"]["batch_tokens"],
        params:
            precision=config["losses"]["precision"],
        message:
            f"Compute losses of {together[0]} to {together[-1]}"
        script:
            "../workflow/scripts/losses/losses.py"


rule subset_losses:
    input:
        **encoded,
        losses=plan.losses(plan.members),
        documents=rules.tokens.output.documents,
    output:
        table=f"{R}/losses/by_subset.csv",
    log:
        f"{R}/logs/subset_losses.log",
    benchmark:
        f"{R}/benchmarks/subset_losses.tsv"
    resources:
        mem_mb=needs.megabytes(1500),
        runtime=needs.minutes(60),
    params:
        members=canonical(plan.members),
    message:
        "Average the losses by part of the corpus"
    script:
        "../workflow/scripts/losses/by_subset.py"
