# Needs: losses of every model and step, the family's table.
# Makes: scaling/ — mean-loss fits, densities of token losses, classes of single-token curves.


rule mean_loss:
    input:
        losses=losses_of(MEMBERS),
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
        documents=rules.tokens.output.documents,
        family=rules.family.output.table,
    output:
        table=f"{R}/scaling/mean_loss.csv",
        fits=f"{R}/scaling/fits.json",
    log:
        f"{R}/logs/mean_loss.log",
    benchmark:
        f"{R}/benchmarks/mean_loss.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes_of_tokens(1000, 34),
        runtime=minutes(30),
        gpu=0,
    params:
        members=of(MEMBERS),
        final_step=FINAL,
        leave_out=config["scaling"]["leave_out"],
        draws=config["scaling"]["bootstrap"],
        seed=config["seed"],
        code=code("scaling/mean_loss"),
    message:
        "Fit the mean loss against size"
    script:
        "../workflow/scripts/scaling/mean_loss.py"


rule density:
    input:
        losses=losses_of(MEMBERS),
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
    output:
        density=f"{R}/scaling/density.parquet",
    log:
        f"{R}/logs/density.log",
    benchmark:
        f"{R}/benchmarks/density.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes_of_tokens(1000, 26),
        runtime=minutes(30),
        gpu=0,
    params:
        members=of(MEMBERS),
        bins=config["scaling"]["density_bins"],
        limit_bits=config["scaling"]["density_limit_bits"],
        code=code("scaling/density"),
    message:
        "Densities of token losses"
    script:
        "../workflow/scripts/scaling/density.py"


rule token_curves:
    input:
        losses=losses_on_axis,
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
        family=rules.family.output.table,
    output:
        tokens=f"{R}/scaling/tokens_by_{{axis}}.parquet",
        counts=f"{R}/scaling/tokens_by_{{axis}}.json",
    log:
        f"{R}/logs/token_curves/{{axis}}.log",
    benchmark:
        f"{R}/benchmarks/token_curves/{{axis}}.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes_of_curves(),
        runtime=minutes(30),
        gpu=0,
    params:
        members=members_on_axis,
        above=config["scaling"]["monogenic_above_nats"],
        below=config["scaling"]["monogenic_below_nats"],
        drop=config["scaling"]["drop_nats"],
        share=config["scaling"]["smooth_share"],
        predictions=config["scaling"]["token_curves_predictions"],
        code=code("scaling/token_curves"),
    message:
        "Curves of single tokens over {wildcards.axis}"
    script:
        "../workflow/scripts/scaling/token_curves.py"
