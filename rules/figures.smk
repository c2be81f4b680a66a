# Needs: tables of all stages. Makes: report/figures/ — each figure as .png and .pdf with its data as .csv.
# A job draws all figures of a stage, and of those only what is missing or would be another picture.

clustered = {"selection": rules.select.output.tokens, "labels": rules.labels.output.labels}
described = clustered | {"described": rules.describe.output.table, "names": plan.reader_names()}
in_words = encoded | {"tokenizer": rules.tokenizer.output.tokenizer}
shown = {"show": config["qdg"]["show"]}

# ------------------------------------------------------------------------------------------------------- scaling
if plan.curves(plan.first_seed()):
    figures.draw(
        "models/learning_curves",
        "1 Models",
        {"curves": plan.curves(plan.first_seed()), "family": rules.family.output.table},
        {"models": plan.first_seed()},
    )
if "size" in plan.axes:
    figures.draw(
        "scaling/mean_loss",
        "2 Scaling",
        {"table": rules.mean_loss.output.table, "fits": rules.mean_loss.output.fits},
        {"final_step": plan.final, "leave_out": config["scaling"]["leave_out"]},
    )
for axis in plan.axes:
    figures.draw(
        "scaling/density",
        "2 Scaling",
        {"density": rules.density.output.density},
        {"members": canonical(plan.on_axis(axis))},
        name=f"density_{axis}",
    )
    figures.draw(
        "scaling/token_curves",
        "2 Scaling",
        in_words
        | {
            "losses": plan.losses(plan.on_axis(axis)),
            "table": f"{R}/scaling/tokens_by_{axis}.parquet",
            "family": rules.family.output.table,
        },
        {"members": canonical(plan.on_axis(axis)), "drop": config["scaling"]["drop_nats"]},
        name=f"token_curves_{axis}",
    )
if plan.dynamics:
    figures.draw("scaling/dynamics", "2 Scaling", {"table": rules.mean_loss.output.table}, {"models": plan.followed})
if plan.axes:
    figures.draw(
        "scaling/sharpness",
        "2 Scaling",
        {"tables": [f"{R}/scaling/tokens_by_{axis}.parquet" for axis in plan.axes]},
        {"axes": plan.axes, "drop": config["scaling"]["drop_nats"]},
    )
if plan.seeded:
    figures.draw(
        "scaling/seeds",
        "2 Scaling",
        {
            "table": rules.seeds_sharpness.output.table,
            "drops": rules.seeds_sharpness.output.drops,
            "numbers": rules.seeds_sharpness.output.numbers,
        },
    )

# ------------------------------------------------------------------------------------------------------ clusters
figures.draw("catalogue/clusters", "3 QDG", described | in_words, shown)
if plan.emerges:
    figures.draw(
        "catalogue/emergence",
        "3 QDG",
        described | encoded | {"losses": plan.losses(plan.members), "family": rules.family.output.table},
        shown
        | {"members": canonical(plan.members), "sizes": canonical(plan.on_axis("size")), "dynamics": plan.dynamics},
    )
if plan.learning_axes():
    figures.draw(
        "catalogue/learned",
        "3 QDG",
        described
        | in_words
        | {
            "table": rules.learned.output.table,
            "order": rules.learned.output.order,
            "family": rules.family.output.table,
        },
        shown | {"axes": canonical(plan.learning_axes())},
    )
figures.draw("affinity/affinity", "3 QDG", described | {"affinity": plan.affinity}, shown)
figures.draw("clustering/spectrum", "3 QDG", {"eigenvalues": rules.embedding.output.eigenvalues}, shown)
figures.draw(
    "rank_frequency/rank_frequency",
    "3 QDG",
    {
        "table": rules.rank_frequency.output.table,
        "fits": rules.rank_frequency.output.fits,
        "scaling": rules.mean_loss.output.fits,
        "selection": rules.select.output.tokens,
        "nulls": [] if plan.neighbours else if_made("nulls", "curves"),
    },
    {"seed": config["seed"]},
)
if config["interventions"]["run"]:
    figures.draw(
        "interventions/interventions",
        "3 QDG",
        {name: plan.interventions_tables()[name] for name in ("shares", "medians", "curves", "transfer")},
    )

# --------------------------------------------------------------------------------------------------- calibration
figures.draw(
    "calibration/calibration",
    "3 QDG",
    {
        "coverage": rules.calibrate.output.coverage,
        "bias": rules.naive_bias.output.bias,
        "fits": rules.calibrate.output.fits,
        "qdg": rules.rank_frequency.output.fits,
    },
    stage="calibration",
)
figures.draw(
    "calibration/resolution",
    "3 QDG",
    {
        "resolution": rules.calibrate.output.resolution,
        "fits": rules.calibrate.output.fits,
        "scaling": rules.mean_loss.output.fits,
    },
    stage="calibration",
)
figures.draw(
    "validation/nulls",
    "3 QDG",
    {"table": rules.nulls.output.table, "curves": rules.nulls.output.curves},
    stage="calibration",
)
figures.draw("validation/stability", "3 QDG", {"clusters": rules.stability.output.clusters}, shown, stage="calibration")
if plan.curves_compared:
    figures.draw(
        "affinity/affinities",
        "3 QDG",
        {
            "affinity": plan.affinity,
            "losses": rules.affinities.output.losses,
            "agreement": rules.affinities.output.agreement,
        },
        stage="calibration",
    )
figures.draw("calibration/toy", "3 QDG", {"table": rules.toy.output.table}, stage="calibration")
if plan.relatives:
    figures.draw("validation/lineage", "3 QDG", {"table": rules.lineage.output.table}, stage="calibration")

# -------------------------------------------------------------------------------------------------------- theory
figures.draw(
    "theory/theory",
    "0 Theory",
    {"losses": rules.theory.output.losses, "simulation": rules.theory.output.simulation},
)
figures.draw(
    "theory/published",
    "0 Theory",
    {"published": rules.theory.output.published, "fits": rules.theory.output.fits},
)
# -------------------------------------------------------------------------------------------------------- parity
if parity.asked:
    figures.draw(
        "theory/accounts",
        "0 Theory",
        {
            "accounts": rules.theory.output.accounts,
            "fits": rules.parity_fits.output.fits,
            "paper": "workflow/data/parity_exponents.csv",
        },
        stage="parity",
    )

    figures.draw(
        "parity/scaling",
        "5 Parity",
        {
            "curves": parity.shown_tables("curves.parquet"),
            "nets": parity.shown_tables("nets.csv"),
            "points": rules.parity_fits.output.points,
            "fits": rules.parity_fits.output.fits,
        },
        {"alpha": parity.settings["alpha"]},
        name="parity_scaling",
    )
    figures.draw(
        "parity/heatmap",
        "5 Parity",
        {"curves": parity.shown_tables("curves.parquet"), "nets": parity.shown_tables("nets.csv")},
        name="parity_heatmap",
    )
    figures.draw(
        "parity/convergence",
        "5 Parity",
        {"emergence": rules.parity_fits.output.emergence, "fits": rules.parity_fits.output.fits},
        name="parity_convergence",
    )
    figures.draw(
        "parity/exponents",
        "5 Parity",
        {"fits": rules.parity_fits.output.fits, "paper": "workflow/data/parity_exponents.csv"},
        name="parity_exponents",
    )
    figures.draw(
        "parity/recovery",
        "5 Parity",
        {
            "scores": f"{R}/parity/qdg/{parity.shown}/scores.csv",
            "estimates": rules.parity_calibration.output.estimates,
        },
        name="parity_recovery",
    )
    figures.draw(
        "parity/tasks",
        "5 Parity",
        {name: f"{R}/parity/qdg/{parity.shown}/{name}.csv" for name in ("scores", "tasks", "pairs")},
        name="parity_tasks",
    )

# -------------------------------------------------------------------------------------------------- known skills
if skills["run"]:
    figures.draw(
        "known_skills/known_skills",
        "5 Parity",
        {"scores": rules.known_skills_scores.output.scores},
        stage="known_skills",
    )


for stage, drawn in figures.by_stage.items():

    rule:
        name:
            f"figures_{stage}"
        input:
            figures.inputs(stage),
        output:
            pictures=[picture(one) for one in drawn],
            others=[update(path) for path in figures.files("pdf", "csv", of=stage)],
        log:
            f"{R}/logs/figures_{stage}.log",
        benchmark:
            f"{R}/benchmarks/figures_{stage}.tsv"
        resources:
            mem_mb=needs.megabytes(1500),
            runtime=needs.minutes(10 + len(drawn)),
        params:
            figures=canonical(drawn),
            look=plan.look(),
        message:
            f"Draw the figures of {stage}"
        script:
            "../workflow/scripts/report/figures.py"
