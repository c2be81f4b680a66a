# Needs: labels, the clustered model, its earlier steps or smaller models. Makes: interventions/ — what can be removed, or learned, alone.

if config["interventions"]["run"]:
    keep_joined(plan.interventions_parts("cases"), f"{R}/interventions/cases.parquet")
    keep_joined(plan.interventions_parts("rows"), f"{R}/interventions/rows.parquet")

    rule halves:
        input:
            **encoded,
            labels=list(plan.clusterings().values()),
            untrained=rules.untrained.output.affinity,
            selection=rules.select.output.tokens,
            earlier=plan.losses(plan.unlearned()),
        output:
            groups=f"{R}/interventions/groups.parquet",
            halves=f"{R}/interventions/halves.parquet",
            panel=f"{R}/interventions/panel.csv",
        log:
            f"{R}/logs/halves.log",
        benchmark:
            f"{R}/benchmarks/halves.tsv"
        resources:
            mem_mb=needs.megabytes(1500 + 6 * needs.held_mb),
            runtime=needs.minutes(60),
        params:
            **PARAMS | plan.assignment() | plan.interventions_of("halves"),
        message:
            "Groups to intervene on, and their halves"
        script:
            "../workflow/scripts/interventions/halves.py"

    rule interventions:
        input:
            **contexts,
            model=f"{R}/models/{plan.clustered}",
            earlier=plan.folders(plan.unlearned()),
            losses=plan.losses([(config["qdg"]["model"], plan.final)]),
            features=plan.sketched,
            selection=rules.select.output.tokens,
            groups=rules.halves.output.groups,
            halves=rules.halves.output.halves,
            panel=rules.halves.output.panel,
        output:
            cases=temp(f"{R}/interventions/cases.part{{shard}}of{{shards}}.parquet"),
            rows=temp(f"{R}/interventions/rows.part{{shard}}of{{shards}}.parquet"),
        log:
            f"{R}/logs/interventions/{{shard}}of{{shards}}.log",
        benchmark:
            f"{R}/benchmarks/interventions/{{shard}}of{{shards}}.tsv"
        resources:
            mem_mb=needs.interventions_mb(unknown=8000, least=2500),
            runtime=needs.gradients_minutes(unknown=600, least=240),
            gpu=GPU,
            batch_tokens=config["qdg"]["batch_tokens"],
        params:
            **PARAMS | plan.interventions_of("interventions"),
            features=config["qdg"]["features"],
            parameters=config["qdg"]["parameters"],
        message:
            "Interventions, part {wildcards.shard} of {wildcards.shards}, counted from 0"
        script:
            "../workflow/scripts/interventions/interventions.py"

    rule alone:
        input:
            **encoded,
            cases=plan.interventions_parts("cases"),
            rows=plan.interventions_parts("rows"),
            labels=list(plan.clusterings().values()),
            affinity=plan.affinity,
            selection=rules.select.output.tokens,
            groups=rules.halves.output.groups,
            halves=rules.halves.output.halves,
            documents=rules.tokens.output.documents,
        output:
            **plan.interventions_tables(),
        log:
            f"{R}/logs/alone.log",
        benchmark:
            f"{R}/benchmarks/alone.tsv"
        resources:
            mem_mb=needs.megabytes(1500 + 6 * needs.held_mb),
            runtime=needs.minutes(30),
        params:
            **PARAMS | plan.interventions_of("alone"),
            made_by=code("interventions/interventions"),
        message:
            "Which clusters can be removed alone"
        script:
            "../workflow/scripts/interventions/alone.py"
