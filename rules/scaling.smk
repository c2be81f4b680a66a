# Needs: losses of every model and step, the family's table.
# Makes: scaling/ — mean-loss fits, densities of token losses, classes of single-token curves; what recurs in other seeds.


rule mean_loss:
    input:
        **encoded,
        losses=plan.losses(plan.members),
        documents=rules.tokens.output.documents,
        family=rules.family.output.table,
    output:
        table=f"{R}/scaling/mean_loss.csv",
        fits=f"{R}/scaling/fits.json",
    log:
        f"{R}/logs/mean_loss.log",
    benchmark:
        f"{R}/benchmarks/mean_loss.tsv"
    resources:
        mem_mb=needs.tokens_mb(1000, 34),
        runtime=needs.minutes(30),
    params:
        members=canonical(plan.members),
        final_step=plan.final,
        leave_out=config["scaling"]["leave_out"],
        draws=config["scaling"]["bootstrap"],
        seed=config["seed"],
    message:
        "Fit the mean loss against size"
    script:
        "../workflow/scripts/scaling/mean_loss.py"


rule density:
    input:
        **encoded,
        losses=plan.losses(plan.members),
    output:
        density=f"{R}/scaling/density.parquet",
    log:
        f"{R}/logs/density.log",
    benchmark:
        f"{R}/benchmarks/density.tsv"
    resources:
        mem_mb=needs.tokens_mb(1000, 26),
        runtime=needs.minutes(30),
    params:
        members=canonical(plan.members),
        bins=config["scaling"]["density_bins"],
        limit_bits=config["scaling"]["density_limit_bits"],
    message:
        "Compute densities of token losses"
    script:
        "../workflow/scripts/scaling/density.py"


rule token_curves:
    input:
        **encoded,
        losses=plan.losses_on_axis,
        family=rules.family.output.table,
    output:
        tokens=f"{R}/scaling/tokens_by_{{axis}}.parquet",
        counts=f"{R}/scaling/tokens_by_{{axis}}.json",
    log:
        f"{R}/logs/token_curves/{{axis}}.log",
    benchmark:
        f"{R}/benchmarks/token_curves/{{axis}}.tsv"
    resources:
        mem_mb=needs.curves_mb(),
        runtime=needs.minutes(30),
    params:
        members=plan.members_on_axis,
        above=config["scaling"]["monogenic_above_nats"],
        below=config["scaling"]["monogenic_below_nats"],
        drop=config["scaling"]["drop_nats"],
        share=config["scaling"]["smooth_share"],
        predictions=config["scaling"]["token_curves_predictions"],
    message:
        "Follow single tokens over {wildcards.axis}"
    script:
        "../workflow/scripts/scaling/token_curves.py"


rule seeds:
    input:
        mean_loss=rules.mean_loss.output.table,
        family=rules.family.output.table,
    output:
        table=f"{R}/scaling/seeds.csv",
    log:
        f"{R}/logs/seeds.log",
    benchmark:
        f"{R}/benchmarks/seeds.tsv"
    resources:
        mem_mb=needs.megabytes(700),
        runtime=needs.minutes(10),
    params:
        final_step=plan.final,
    message:
        "Measure the spread of the mean loss between seeds"
    script:
        "../workflow/scripts/scaling/seeds.py"


if plan.seeded:

    rule seeds_sharpness:
        input:
            **encoded,
            losses=plan.losses(plan.seeded_members()),
            documents=rules.tokens.output.documents,
            family=rules.family.output.table,
        output:
            table=f"{R}/scaling/seeds_sharpness.csv",
            drops=f"{R}/scaling/seeds_drops.csv",
            numbers=f"{R}/scaling/seeds_sharpness.json",
        log:
            f"{R}/logs/seeds_sharpness.log",
        benchmark:
            f"{R}/benchmarks/seeds_sharpness.tsv"
        resources:
            # losses in float64, their drops and marks, for every seed and its others
            mem_mb=needs.tokens_mb(1500, 34 + 40 * len(plan.seeded_members())),
            runtime=needs.minutes(60),
        params:
            seeded=canonical(plan.seeded),
            final_step=plan.final,
            above=config["scaling"]["monogenic_above_nats"],
            below=config["scaling"]["monogenic_below_nats"],
            drop=config["scaling"]["drop_nats"],
            share=config["scaling"]["smooth_share"],
            predictions=config["scaling"]["token_curves_predictions"],
            draws=config["scaling"]["bootstrap"],
            seed=config["seed"],
        message:
            "Find which sharp drops recur with another seed"
        script:
            "../workflow/scripts/scaling/seeds_sharpness.py"
