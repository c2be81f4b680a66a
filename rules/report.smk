# Needs: figures and tables of the run. Makes: report/ — summary.json, the paper against the run, the page.


rule summary:
    input:
        **parity.reported(),
        sources=rules.texts.output.sources,
        family=rules.family.output.table,
        documents=rules.tokens.output.documents,
        mean_loss=rules.mean_loss.output.table,
        scaling=rules.mean_loss.output.fits,
        curves=[f"{R}/scaling/tokens_by_{axis}.json" for axis in plan.axes],
        selection=rules.select.output.counts,
        qdg=rules.rank_frequency.output.fits,
        learned=rules.learned.output.order if plan.learning_axes() else [],
        seeds=if_made("seeds_sharpness", "numbers"),
        second_order=if_made("second_learned", "order"),
        second_nulls=if_made("second_nulls", "table"),
        alone=if_made("alone", "alone"),
        theory=f"{R}/theory/fits.json",
        nulls=rules.nulls.output.table,
        stability=rules.stability.output.draws,
        compared=plan.tokenizers_compared(),
        on_nets="docs/results/parity-seeds/coverage.csv",
    output:
        summary=report(f"{R}/report/summary.json", category="4 Summary"),
        table=report(
            f"{R}/report/paper_against_ours.csv", caption="../workflow/report/summary.rst", category="4 Summary"
        ),
        checks=report(f"{R}/report/paper_checks.csv", category="4 Summary"),
    log:
        f"{R}/logs/summary.log",
    resources:
        mem_mb=needs.megabytes(700),
        runtime=needs.minutes(10),
    params:
        run=config["run"],
        axes=plan.axes,
        final_step=plan.final,
        qdg_model=config["qdg"]["model"],
        learning=[name for name, _ in plan.learning_axes()],
        left_out=plan.left_out(),
        threshold=config["qdg"]["threshold"],
        parity_alpha=config["parity"]["alpha"],
        settings=plan.paper_settings(),
        parity=parity.extent() if parity.asked else None,
    message:
        "Compare this run with the paper"
    script:
        "../workflow/scripts/report/summary.py"


rule page:
    input:
        **encoded,
        figures=figures.files("png"),
        data=figures.files("csv"),
        captions=figures.captions(),
        template="workflow/report/page.html",
        code=[
            "workflow/report/vendor/uPlot.iife.min.js",
            *(
                f"workflow/report/explorer/{name}.js"
                for name in ["data", "lists", "charts", "pictures", "cluster", "gallery", "main"]
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
        affinity=[] if plan.neighbours else [plan.affinity],
        features=plan.sketched if plan.neighbours else [],
        rank_frequency=rules.rank_frequency.output.table,
        fits=rules.rank_frequency.output.fits,
        scaling=rules.mean_loss.output.fits,
        family=rules.family.output.table,
        losses=plan.losses(plan.members),
        documents=rules.tokens.output.documents,
        tokenizer=rules.tokenizer.output.tokenizer,
        names=plan.reader_names(),
        scores=if_made("stability", "clusters") + if_made("alone", "clusters"),
        learned=rules.learned.output.table if plan.learning_axes() else [],
        nulls=if_made("nulls", "table"),
        null_curves=[] if plan.neighbours else if_made("nulls", "curves"),
        calibration=if_made("calibrate", "fits"),
        second_labels=if_made("second_labels", "labels"),
        second_described=if_made("second_describe", "table"),
        second_scores=if_made("second_stability", "clusters"),
        second_affinity=if_made("second_affinity", "affinity"),
        second_layout=if_made("second_layout", "layout"),
        second_rank_frequency=if_made("second_rank_frequency", "table"),
        second_fits=if_made("second_rank_frequency", "fits"),
        second_agreement=if_made("second_agreement", "table"),
        second_nulls=if_made("second_nulls", "table"),
        second_null_curves=if_made("second_nulls", "curves"),
        second_learned=if_made("second_learned", "table"),
    output:
        page=report(f"{R}/report/index.html", category="4 Summary"),
    log:
        f"{R}/logs/page.log",
    resources:
        mem_mb=needs.megabytes(1500 + 6 * needs.held_mb),
        runtime=needs.minutes(30),
    params:
        names=figures.names(),
        run=config["run"],
        show=config["qdg"]["show"],
        qdg_model=config["qdg"]["model"],
        final_step=plan.final,
        dynamics=plan.dynamics,
        members=canonical(plan.members),
        second=plan.second,
    message:
        "Write the page"
    script:
        "../workflow/scripts/report/page.py"
