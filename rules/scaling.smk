# Needs: losses of every model and step, the family's table.
# Makes: scaling/ — mean-loss fits, densities of token losses, classes of single-token curves.


rule mean_loss:
    input:
        losses=losses_of(MEMBERS),
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
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
        code=code("mean_loss"),
    message:
        "Fit the mean loss against size"
    script:
        "../workflow/scripts/mean_loss.py"


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
        code=code("density"),
    message:
        "Densities of token losses"
    script:
        "../workflow/scripts/density.py"


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
        code=code("token_curves"),
    message:
        "Curves of single tokens over {wildcards.axis}"
    script:
        "../workflow/scripts/token_curves.py"


rule figure_mean_loss:
    input:
        table=rules.mean_loss.output.table,
        fits=rules.mean_loss.output.fits,
    output:
        png=report(figure("mean_loss"), caption="../workflow/report/mean_loss.rst", category="2 Scaling"),
        pdf=drawn("mean_loss"),
        csv=behind("mean_loss"),
    log:
        f"{R}/logs/figure_mean_loss.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(700),
        runtime=minutes(10),
        gpu=0,
    params:
        final_step=FINAL,
        leave_out=config["scaling"]["leave_out"],
        look=look(),
        code=code("figure_mean_loss"),
    message:
        "Figure: mean loss against size"
    script:
        "../workflow/scripts/figure_mean_loss.py"


rule figure_density:
    input:
        density=rules.density.output.density,
    output:
        png=report(figure("density_{axis}"), caption="../workflow/report/density.rst", category="2 Scaling"),
        pdf=drawn("density_{axis}"),
        csv=behind("density_{axis}"),
    log:
        f"{R}/logs/figure_density/{{axis}}.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(700),
        runtime=minutes(10),
        gpu=0,
    params:
        members=members_on_axis,
        look=look(),
        code=code("figure_density"),
    message:
        "Figure: densities of token losses over {wildcards.axis}"
    script:
        "../workflow/scripts/figure_density.py"


rule figure_token_curves:
    input:
        losses=losses_on_axis,
        table=rules.token_curves.output.tokens,
        family=rules.family.output.table,
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
        tokenizer=rules.tokenizer.output.tokenizer,
    output:
        png=report(figure("token_curves_{axis}"), caption="../workflow/report/token_curves.rst", category="2 Scaling"),
        pdf=drawn("token_curves_{axis}"),
        csv=behind("token_curves_{axis}"),
    log:
        f"{R}/logs/figure_token_curves/{{axis}}.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1500),
        runtime=minutes(10),
        gpu=0,
    params:
        members=members_on_axis,
        drop=config["scaling"]["drop_nats"],
        look=look(),
        code=code("figure_token_curves"),
    message:
        "Figure: curves of single tokens over {wildcards.axis}"
    script:
        "../workflow/scripts/figure_token_curves.py"


if DYNAMICS:

    rule figure_dynamics:
        input:
            table=rules.mean_loss.output.table,
        output:
            png=report(figure("dynamics"), caption="../workflow/report/dynamics.rst", category="2 Scaling"),
            pdf=drawn("dynamics"),
            csv=behind("dynamics"),
        log:
            f"{R}/logs/figure_dynamics.log",
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes(700),
            runtime=minutes(10),
            gpu=0,
        params:
            models=FOLLOWED,
            look=look(),
            code=code("figure_dynamics"),
        message:
            "Figure: mean loss over training"
        script:
            "../workflow/scripts/figure_dynamics.py"


rule figure_sharpness:
    input:
        tables=[f"{R}/scaling/tokens_by_{axis}.parquet" for axis in AXES],
    output:
        png=report(figure("sharpness"), caption="../workflow/report/sharpness.rst", category="2 Scaling"),
        pdf=drawn("sharpness"),
        csv=behind("sharpness"),
    log:
        f"{R}/logs/figure_sharpness.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1500),
        runtime=minutes(10),
        gpu=0,
    params:
        axes=AXES,
        drop=config["scaling"]["drop_nats"],
        look=look(),
        code=code("figure_sharpness"),
    message:
        "Figure: how sharply single tokens are learned"
    script:
        "../workflow/scripts/figure_sharpness.py"
