# Needs: qdg/, the clustered model. Makes: qdg/second/ — the same tokens clustered by another affinity, qdg.second, by the rules of the first.

SECOND = f"{R}/qdg/second"
SECOND_PARTS = plan.second_parts()
SECOND_RECORDS = [part.replace(".npy", ".json") for part in SECOND_PARTS]

if SECOND_PARTS:
    keep_joined(SECOND_PARTS + SECOND_RECORDS, f"{SECOND}/features.npy", f"{SECOND}/features.json")

    rule second_statistics:
        input:
            **contexts,
            model=f"{R}/models/{plan.clustered}",
            selection=rules.select.output.tokens,
        output:
            statistics=f"{SECOND}/statistics.npy",
        log:
            f"{R}/logs/second/statistics.log",
        benchmark:
            f"{R}/benchmarks/second/statistics.tsv"
        resources:
            mem_mb=needs.exact_batch_mb(unknown=8000, least=3000),
            runtime=needs.gradients_minutes(unknown=240, least=30),
            gpu=GPU,
            batch_tokens=config["qdg"]["batch_tokens"],
        params:
            parameters=config["qdg"]["parameters"],
            precision=config["qdg"]["precision"],
            kind=config["qdg"]["second"],
        message:
            "Mean and deviation of the magnitudes of gradients"
        script:
            "../workflow/scripts/affinity/statistics.py"

    rule second_gradients:
        input:
            **contexts,
            model=f"{R}/models/{plan.clustered}",
            selection=rules.select.output.tokens,
            statistics=rules.second_statistics.output.statistics,
        output:
            features=temp(f"{SECOND}/features.part{{shard}}of{{shards}}.npy"),
            record=temp(f"{SECOND}/features.part{{shard}}of{{shards}}.json"),
        log:
            f"{R}/logs/second/gradients/{{shard}}of{{shards}}.log",
        benchmark:
            f"{R}/benchmarks/second/gradients/{{shard}}of{{shards}}.tsv"
        resources:
            mem_mb=needs.gradients_mb(unknown=6000, least=2500),
            runtime=needs.gradients_minutes(unknown=240, least=30),
            gpu=GPU,
            batch_tokens=config["qdg"]["batch_tokens"],
        params:
            **plan.gradients(),
            kind=config["qdg"]["second"],
            seed=config["seed"],
        message:
            "Magnitudes of single tokens' gradients, part {wildcards.shard} of {wildcards.shards}, counted from 0"
        script:
            "../workflow/scripts/affinity/magnitudes.py"

    use rule features as second_features with:
        input:
            **encoded,
            parts=SECOND_PARTS,
            records=SECOND_RECORDS,
            selection=rules.select.output.tokens,
            model=f"{R}/models/{plan.clustered}",
        output:
            **plan.made_second(rules.features.output),
        log:
            f"{R}/logs/second/features.log",
        benchmark:
            f"{R}/benchmarks/second/features.tsv"
        params:
            gradients=canonical(plan.gradients() | PARAMS | {"kind": config["qdg"]["second"]}),
            made_by=code("affinity/magnitudes"),


if plan.second:

    rule second_affinity:
        input:
            features=f"{SECOND}/features.npy" if SECOND_PARTS else rules.features.output.features,
            selection=rules.select.output.tokens,
        output:
            affinity=f"{SECOND}/affinity.npy",
        log:
            f"{R}/logs/second/affinity.log",
        benchmark:
            f"{R}/benchmarks/second/affinity.tsv"
        resources:
            mem_mb=needs.megabytes(1500 + 8 * needs.held_mb + needs.features_mb),
            runtime=needs.minutes(60),
        params:
            kind=config["qdg"]["second"],
        message:
            "A second affinity of the same tokens"
        script:
            "../workflow/scripts/affinity/second.py"

    use rule embedding as second_embedding with:
        input:
            **plan.of_second(rules.embedding.input),
        output:
            **plan.made_second(rules.embedding.output),
        log:
            f"{R}/logs/second/embedding.log",
        benchmark:
            f"{R}/benchmarks/second/embedding.tsv"
        params:
            **plan.second_assignment(rules.embedding.params),

    use rule labels as second_labels with:
        input:
            **plan.of_second(rules.labels.input),
            affinity=[rules.second_affinity.output.affinity],
        output:
            **plan.made_second(rules.labels.output),
        log:
            f"{R}/logs/second/labels.log",
        benchmark:
            f"{R}/benchmarks/second/labels.tsv"
        params:
            **plan.second_assignment(rules.labels.params),

    use rule rank_frequency as second_rank_frequency with:
        input:
            **plan.of_second(rules.rank_frequency.input) | {"calibration": []},
        output:
            **plan.made_second(rules.rank_frequency.output),
        log:
            f"{R}/logs/second/rank_frequency.log",
        benchmark:
            f"{R}/benchmarks/second/rank_frequency.tsv"
        params:
            **plan.second_assignment(rules.rank_frequency.params),

    use rule stability as second_stability with:
        input:
            **plan.of_second(rules.stability.input),
        output:
            **plan.made_second(rules.stability.output),
        log:
            f"{R}/logs/second/stability.log",
        benchmark:
            f"{R}/benchmarks/second/stability.tsv"
        params:
            **plan.second_assignment(rules.stability.params),

    use rule describe as second_describe with:
        input:
            **plan.of_second(rules.describe.input),
        output:
            **plan.made_second(rules.describe.output),
        log:
            f"{R}/logs/second/describe.log",
        benchmark:
            f"{R}/benchmarks/second/describe.tsv"

    use rule layout as second_layout with:
        input:
            **plan.of_second(rules.layout.input),
        output:
            **plan.made_second(rules.layout.output),
        log:
            f"{R}/logs/second/layout.log",
        benchmark:
            f"{R}/benchmarks/second/layout.tsv"

    rule second_agreement:
        input:
            first=rules.labels.output.labels,
            second=rules.second_labels.output.labels,
            selection=rules.select.output.tokens,
        output:
            table=f"{SECOND}/agreement.csv",
        log:
            f"{R}/logs/second/agreement.log",
        benchmark:
            f"{R}/benchmarks/second/agreement.tsv"
        resources:
            mem_mb=needs.megabytes(700),
            runtime=needs.minutes(10),
        message:
            "How far both clusterings agree"
        script:
            "../workflow/scripts/validation/second_agreement.py"

    if plan.learning_axes():

        use rule learned as second_learned with:
            input:
                **plan.of_second(rules.learned.input, "descriptions.parquet"),
            output:
                **plan.made_second(rules.learned.output),
            log:
                f"{R}/logs/second/learned.log",
            benchmark:
                f"{R}/benchmarks/second/learned.tsv"

    if config["qdg"]["second_null"]:

        use rule untrained as second_untrained with:
            output:
                affinity=f"{SECOND}/untrained.npy",
            log:
                f"{R}/logs/second/untrained.log",
            benchmark:
                f"{R}/benchmarks/second/untrained.tsv"
            params:
                **plan.gradients(),
                kind=config["qdg"]["second"],
                seed=config["seed"],

        rule second_nulls:
            input:
                **encoded,
                affinity=rules.second_affinity.output.affinity,
                untrained=rules.second_untrained.output.affinity,
                labels=rules.second_labels.output.labels,
                draws=rules.second_stability.output.draws,
                selection=rules.select.output.tokens,
                documents=rules.tokens.output.documents,
            output:
                table=f"{SECOND}/nulls.csv",
                curves=f"{SECOND}/nulls_rank_frequency.csv",
            log:
                f"{R}/logs/second/nulls.log",
            benchmark:
                f"{R}/benchmarks/second/nulls.tsv"
            resources:
                mem_mb=needs.megabytes(1500 + 16 * needs.held_mb),
                runtime=needs.minutes(120),
            params:
                **plan.second_assignment(rules.stability.params),
                n_clusters=config["qdg"]["n_clusters"],
            message:
                "An untrained model, targets and bigrams by the second affinity"
            script:
                "../workflow/scripts/validation/second_nulls.py"
