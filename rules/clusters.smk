# Needs: qdg/, losses, scores of stability. Makes: qdg/descriptions.parquet, qdg/layout.parquet, figures of the clusters.


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
