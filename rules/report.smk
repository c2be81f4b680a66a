# Needs: every table of the run. Makes: report/ — figures, the page that shows them, summary.json.

if curves(of_first_seed()):

    rule figure_learning_curves:
        input:
            curves=curves(of_first_seed()),
            family=rules.family.output.table,
        output:
            png=report(figure("learning_curves"), caption="../workflow/report/learning_curves.rst", category="1 Models"),
            pdf=drawn("learning_curves"),
            csv=behind("learning_curves"),
        log:
            f"{R}/logs/figure_learning_curves.log",
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes(700),
            runtime=minutes(10),
            gpu=0,
        params:
            models=of_first_seed(),
            look=look(),
            code=code("figure_learning_curves"),
        message:
            "Figure: learning curves"
        script:
            "../workflow/scripts/figure_learning_curves.py"


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


if SEEDED:

    rule figure_seeds:
        input:
            table=rules.seeds_sharpness.output.table,
            drops=rules.seeds_sharpness.output.drops,
            numbers=rules.seeds_sharpness.output.numbers,
        output:
            png=report(figure("seeds"), caption="../workflow/report/seeds.rst", category="2 Scaling"),
            pdf=drawn("seeds"),
            csv=behind("seeds"),
        log:
            f"{R}/logs/figure_seeds.log",
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes(700),
            runtime=minutes(10),
            gpu=0,
        params:
            look=look(),
            code=code("figure_seeds"),
        message:
            "Figure: sharp drops of one seed in the others"
        script:
            "../workflow/scripts/figure_seeds.py"


rule describe:
    input:
        selection=rules.select.output.tokens,
        labels=rules.labels.output.labels,
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
        documents=rules.tokens.output.documents,
        tokenizer=rules.tokenizer.output.tokenizer,
    output:
        table=f"{R}/qdg/descriptions.parquet",
    log:
        f"{R}/logs/describe.log",
    benchmark:
        f"{R}/benchmarks/describe.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(60),
        gpu=0,
    params:
        code=code("describe"),
    message:
        "Describe every cluster by a rule over its contexts"
    script:
        "../workflow/scripts/describe.py"


rule layout:
    input:
        embedding=rules.embedding.output.embedding,
    output:
        layout=f"{R}/qdg/layout.parquet",
    log:
        f"{R}/logs/layout.log",
    benchmark:
        f"{R}/benchmarks/layout.tsv"
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(60),
        gpu=0,
    params:
        seed=config["seed"],
        code=code("layout"),
    message:
        "Lay the tokens out in two dimensions"
    script:
        "../workflow/scripts/layout.py"


rule figure_affinity:
    input:
        affinity=AFFINITY,
        selection=rules.select.output.tokens,
        labels=rules.labels.output.labels,
        described=rules.describe.output.table,
        names=reader_names(),
    output:
        png=report(figure("affinity"), caption="../workflow/report/affinity.rst", category="3 QDG"),
        pdf=drawn("affinity"),
        csv=behind("affinity"),
    log:
        f"{R}/logs/figure_affinity.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(10),
        gpu=0,
    params:
        show=config["qdg"]["show"],
        look=look(),
        code=code("figure_affinity"),
    message:
        "Figure: affinity by cluster"
    script:
        "../workflow/scripts/figure_affinity.py"


rule figure_spectrum:
    input:
        eigenvalues=rules.embedding.output.eigenvalues,
    output:
        png=report(figure("spectrum"), caption="../workflow/report/spectrum.rst", category="3 QDG"),
        pdf=drawn("spectrum"),
        csv=behind("spectrum"),
    log:
        f"{R}/logs/figure_spectrum.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(700),
        runtime=minutes(10),
        gpu=0,
    params:
        show=config["qdg"]["show"],
        look=look(),
        code=code("figure_spectrum"),
    message:
        "Figure: spectrum of the affinity"
    script:
        "../workflow/scripts/figure_spectrum.py"


rule figure_rank_frequency:
    input:
        table=rules.rank_frequency.output.table,
        fits=rules.rank_frequency.output.fits,
        scaling=rules.mean_loss.output.fits,
        selection=rules.select.output.tokens,
        nulls=nulls_of_all(),
    output:
        png=report(figure("rank_frequency"), caption="../workflow/report/rank_frequency.rst", category="3 QDG"),
        pdf=drawn("rank_frequency"),
        csv=behind("rank_frequency"),
    log:
        f"{R}/logs/figure_rank_frequency.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(700),
        runtime=minutes(10),
        gpu=0,
    params:
        seed=config["seed"],
        look=look(),
        code=code("figure_rank_frequency"),
    message:
        "Figure: rank-frequency law"
    script:
        "../workflow/scripts/figure_rank_frequency.py"


rule figure_clusters:
    input:
        selection=rules.select.output.tokens,
        labels=rules.labels.output.labels,
        described=rules.describe.output.table,
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
        tokenizer=rules.tokenizer.output.tokenizer,
        names=reader_names(),
    output:
        png=report(figure("clusters"), caption="../workflow/report/clusters.rst", category="3 QDG"),
        pdf=drawn("clusters"),
        csv=behind("clusters"),
    log:
        f"{R}/logs/figure_clusters.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(10),
        gpu=0,
    params:
        show=config["qdg"]["show"],
        look=look(),
        code=code("figure_clusters"),
    message:
        "Figure: clusters in context"
    script:
        "../workflow/scripts/figure_clusters.py"


rule figure_emergence:
    input:
        selection=rules.select.output.tokens,
        labels=rules.labels.output.labels,
        described=rules.describe.output.table,
        losses=losses_of(MEMBERS),
        family=rules.family.output.table,
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
        names=reader_names(),
    output:
        png=report(figure("emergence"), caption="../workflow/report/emergence.rst", category="3 QDG"),
        pdf=drawn("emergence"),
        csv=behind("emergence"),
    log:
        f"{R}/logs/figure_emergence.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1500),
        runtime=minutes(10),
        gpu=0,
    params:
        show=config["qdg"]["show"],
        members=of(MEMBERS),
        sizes=of(on_axis("size")),
        dynamics=DYNAMICS,
        look=look(),
        code=code("figure_emergence"),
    message:
        "Figure: clusters learned one after another"
    script:
        "../workflow/scripts/figure_emergence.py"


rule figure_learned:
    input:
        table=rules.learned.output.table,
        order=rules.learned.output.order,
        selection=rules.select.output.tokens,
        labels=rules.labels.output.labels,
        described=rules.describe.output.table,
        family=rules.family.output.table,
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
        tokenizer=rules.tokenizer.output.tokenizer,
        names=reader_names(),
    output:
        png=report(figure("learned"), caption="../workflow/report/learned.rst", category="3 QDG"),
        pdf=drawn("learned"),
        csv=behind("learned"),
    log:
        f"{R}/logs/figure_learned.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(10),
        gpu=0,
    params:
        show=config["qdg"]["show"],
        axes=of(learning_axes()),
        look=look(),
        code=code("figure_learned"),
    message:
        "Figure: when each cluster is learned"
    script:
        "../workflow/scripts/figure_learned.py"


rule figure_calibration:
    input:
        coverage=rules.calibrate.output.coverage,
        bias=rules.naive_bias.output.bias,
        fits=rules.calibrate.output.fits,
        qdg=rules.rank_frequency.output.fits,
    output:
        png=report(figure("calibration"), caption="../workflow/report/calibration.rst", category="3 QDG"),
        pdf=drawn("calibration"),
        csv=behind("calibration"),
    log:
        f"{R}/logs/figure_calibration.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(10),
        gpu=0,
    params:
        look=look(),
        code=code("figure_calibration"),
    message:
        "Figure: calibrated exponent"
    script:
        "../workflow/scripts/figure_calibration.py"


rule figure_resolution:
    input:
        resolution=rules.calibrate.output.resolution,
        fits=rules.calibrate.output.fits,
        scaling=rules.mean_loss.output.fits,
    output:
        png=report(figure("resolution"), caption="../workflow/report/resolution.rst", category="3 QDG"),
        pdf=drawn("resolution"),
        csv=behind("resolution"),
    log:
        f"{R}/logs/figure_resolution.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(10),
        gpu=0,
    params:
        look=look(),
        code=code("figure_resolution"),
    message:
        "Figure: exponent against resolution"
    script:
        "../workflow/scripts/figure_resolution.py"


rule figure_nulls:
    input:
        table=rules.nulls.output.table,
        curves=rules.nulls.output.curves,
    output:
        png=report(figure("nulls"), caption="../workflow/report/nulls.rst", category="3 QDG"),
        pdf=drawn("nulls"),
        csv=behind("nulls"),
    log:
        f"{R}/logs/figure_nulls.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(10),
        gpu=0,
    params:
        look=look(),
        code=code("figure_nulls"),
    message:
        "Figure: null models"
    script:
        "../workflow/scripts/figure_nulls.py"


rule figure_stability:
    input:
        clusters=rules.stability.output.clusters,
    output:
        png=report(figure("stability"), caption="../workflow/report/stability.rst", category="3 QDG"),
        pdf=drawn("stability"),
        csv=behind("stability"),
    log:
        f"{R}/logs/figure_stability.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(10),
        gpu=0,
    params:
        show=config["qdg"]["show"],
        look=look(),
        code=code("figure_stability"),
    message:
        "Figure: stability and skill of clusters"
    script:
        "../workflow/scripts/figure_stability.py"


rule figure_lineage:
    input:
        table=rules.lineage.output.table,
    output:
        png=report(figure("lineage"), caption="../workflow/report/lineage.rst", category="3 QDG"),
        pdf=drawn("lineage"),
        csv=behind("lineage"),
    log:
        f"{R}/logs/figure_lineage.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(10),
        gpu=0,
    params:
        look=look(),
        code=code("figure_lineage"),
    message:
        "Figure: clusters found again"
    script:
        "../workflow/scripts/figure_lineage.py"


rule figure_affinities:
    input:
        affinity=AFFINITY,
        losses=rules.affinities.output.losses,
        agreement=rules.affinities.output.agreement,
    output:
        png=report(figure("affinities"), caption="../workflow/report/affinities.rst", category="3 QDG"),
        pdf=drawn("affinities"),
        csv=behind("affinities"),
    log:
        f"{R}/logs/figure_affinities.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(10),
        gpu=0,
    params:
        look=look(),
        code=code("figure_affinities"),
    message:
        "Figure: two affinities"
    script:
        "../workflow/scripts/figure_affinities.py"


rule figure_toy:
    input:
        table=rules.toy.output.table,
    output:
        png=report(figure("toy"), caption="../workflow/report/toy.rst", category="3 QDG"),
        pdf=drawn("toy"),
        csv=behind("toy"),
    log:
        f"{R}/logs/figure_toy.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(10),
        gpu=0,
    params:
        look=look(),
        code=code("figure_toy"),
    message:
        "Figure: the paper's toy"
    script:
        "../workflow/scripts/figure_toy.py"


rule summary:
    input:
        sources=rules.texts.output.sources,
        family=rules.family.output.table,
        mean_loss=rules.mean_loss.output.table,
        scaling=rules.mean_loss.output.fits,
        curves=[f"{R}/scaling/tokens_by_{axis}.json" for axis in AXES],
        selection=rules.select.output.counts,
        qdg=rules.rank_frequency.output.fits,
        learned=rules.learned.output.order,
        seeds=if_made("seeds_sharpness", "numbers"),
        theory=f"{R}/theory/fits.json",
        parity=f"{R}/parity/fits.json",
        parity_scores=f"{R}/parity/qdg/{SHOWN}/scores.csv",
        parity_envelopes=f"{R}/parity/qdg/{SHOWN}/envelopes.csv",
        parity_estimates=f"{R}/parity/calibration/estimates.csv",
        paper_parity="workflow/data/parity_exponents.csv",
        recorded_parity="docs/results/parity-cpu/exponents.csv",
        recorded_parity_coverage="docs/results/parity-seeds/coverage.csv",
        nulls=rules.nulls.output.table,
        stability=rules.stability.output.draws,
    output:
        summary=report(f"{R}/report/summary.json", category="4 Summary"),
        table=report(
            f"{R}/report/paper_against_ours.csv", caption="../workflow/report/summary.rst", category="4 Summary"
        ),
        checks=report(f"{R}/report/paper_checks.csv", category="4 Summary"),
    log:
        f"{R}/logs/summary.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(700),
        runtime=minutes(10),
        gpu=0,
    params:
        run=config["run"],
        axes=AXES,
        final_step=FINAL,
        qdg_model=config["qdg"]["model"],
        learning=[name for name, _ in learning_axes()],
        threshold=config["qdg"]["threshold"],
        parity_alpha=config["parity"]["alpha"],
        settings=paper_settings(),
        parity=parity_extent(),
        code=code("summary"),
    message:
        "Summary: the paper against this run"
    script:
        "../workflow/scripts/summary.py"


rule page:
    input:
        figures=[figure(name) for name in figure_names()],
        data=[behind(name) for name in figure_names()],
        captions=[f"workflow/report/{caption_of(name)}.rst" for name in figure_names()],
        template="workflow/report/page.html",
        code=[
            "workflow/report/vendor/uPlot.iife.min.js",
            *(
                f"workflow/report/explorer/{name}.js"
                for name in ["data", "lists", "charts", "pictures", "cluster", "main"]
            ),
        ],
        styles=[
            "workflow/report/vendor/uPlot.min.css",
            "workflow/report/explorer/explorer.css",
        ],
        summary=rules.summary.output.summary,
        table=rules.summary.output.table,
        selection=rules.select.output.tokens,
        labels=rules.labels.output.labels,
        described=rules.describe.output.table,
        layout=rules.layout.output.layout,
        affinity=[] if NEIGHBOURS else [AFFINITY],
        features=SKETCHED if NEIGHBOURS else [],
        rank_frequency=rules.rank_frequency.output.table,
        fits=rules.rank_frequency.output.fits,
        scaling=rules.mean_loss.output.fits,
        family=rules.family.output.table,
        losses=losses_of(MEMBERS),
        tokens=rules.tokens.output.tokens,
        offsets=rules.tokens.output.offsets,
        documents=rules.tokens.output.documents,
        tokenizer=rules.tokenizer.output.tokenizer,
        names=reader_names(),
        scores=if_made("stability", "clusters"),
        nulls=if_made("nulls", "table"),
        null_curves=nulls_of_all(),
        calibration=if_made("calibrate", "fits"),
    output:
        page=report(f"{R}/report/index.html", category="4 Summary"),
    log:
        f"{R}/logs/page.log",
    conda:
        "../envs/quanta.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1500 + 3 * 8 * HELD**2 / 1e6),
        runtime=minutes(30),
        gpu=0,
    params:
        names=figure_names(),
        run=config["run"],
        show=config["qdg"]["show"],
        qdg_model=config["qdg"]["model"],
        final_step=FINAL,
        dynamics=DYNAMICS,
        members=of(MEMBERS),
        code=code("page"),
    message:
        "The explorer"
    script:
        "../workflow/scripts/page.py"
