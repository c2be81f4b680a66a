# Needs: tables of all stages. Makes: report/figures/ — each figure as .png and .pdf with its data as .csv.
# A job draws all figures of a stage, and of those only what is missing or would be another picture.

encoded = {"tokens": rules.tokens.output.tokens, "offsets": rules.tokens.output.offsets}
clustered = {"selection": rules.select.output.tokens, "labels": rules.labels.output.labels}
described = clustered | {"described": rules.describe.output.table, "names": reader_names()}
in_words = encoded | {"tokenizer": rules.tokenizer.output.tokenizer}
shown = {"show": config["qdg"]["show"]}

# ------------------------------------------------------------------------------------------------------- scaling
if curves(of_first_seed()):
    draw(
        "models/learning_curves",
        "1 Models",
        {"curves": curves(of_first_seed()), "family": rules.family.output.table},
        {"models": of_first_seed()},
    )
draw(
    "scaling/mean_loss",
    "2 Scaling",
    {"table": rules.mean_loss.output.table, "fits": rules.mean_loss.output.fits},
    {"final_step": FINAL, "leave_out": config["scaling"]["leave_out"]},
)
for axis in AXES:
    draw(
        "scaling/density",
        "2 Scaling",
        {"density": rules.density.output.density},
        {"members": of(on_axis(axis))},
        name=f"density_{axis}",
    )
    draw(
        "scaling/token_curves",
        "2 Scaling",
        in_words
        | {
            "losses": losses_of(on_axis(axis)),
            "table": f"{R}/scaling/tokens_by_{axis}.parquet",
            "family": rules.family.output.table,
        },
        {"members": of(on_axis(axis)), "drop": config["scaling"]["drop_nats"]},
        name=f"token_curves_{axis}",
    )
if DYNAMICS:
    draw("scaling/dynamics", "2 Scaling", {"table": rules.mean_loss.output.table}, {"models": FOLLOWED})
draw(
    "scaling/sharpness",
    "2 Scaling",
    {"tables": [f"{R}/scaling/tokens_by_{axis}.parquet" for axis in AXES]},
    {"axes": AXES, "drop": config["scaling"]["drop_nats"]},
)
if SEEDED:
    draw(
        "scaling/seeds",
        "2 Scaling",
        {
            "table": rules.seeds_sharpness.output.table,
            "drops": rules.seeds_sharpness.output.drops,
            "numbers": rules.seeds_sharpness.output.numbers,
        },
    )

# ------------------------------------------------------------------------------------------------------ clusters
draw("catalogue/clusters", "3 QDG", described | in_words, shown)
draw(
    "catalogue/emergence",
    "3 QDG",
    described | encoded | {"losses": losses_of(MEMBERS), "family": rules.family.output.table},
    shown | {"members": of(MEMBERS), "sizes": of(on_axis("size")), "dynamics": DYNAMICS},
)
draw(
    "catalogue/learned",
    "3 QDG",
    described
    | in_words
    | {
        "table": rules.learned.output.table,
        "order": rules.learned.output.order,
        "family": rules.family.output.table,
    },
    shown | {"axes": of(learning_axes())},
)
draw("affinity/affinity", "3 QDG", described | {"affinity": AFFINITY}, shown)
draw("clustering/spectrum", "3 QDG", {"eigenvalues": rules.embedding.output.eigenvalues}, shown)
draw(
    "rank_frequency/rank_frequency",
    "3 QDG",
    {
        "table": rules.rank_frequency.output.table,
        "fits": rules.rank_frequency.output.fits,
        "scaling": rules.mean_loss.output.fits,
        "selection": rules.select.output.tokens,
        "nulls": nulls_of_all(),
    },
    {"seed": config["seed"]},
)

# --------------------------------------------------------------------------------------------------- calibration
draw(
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
draw(
    "calibration/resolution",
    "3 QDG",
    {
        "resolution": rules.calibrate.output.resolution,
        "fits": rules.calibrate.output.fits,
        "scaling": rules.mean_loss.output.fits,
    },
    stage="calibration",
)
draw(
    "validation/nulls",
    "3 QDG",
    {"table": rules.nulls.output.table, "curves": rules.nulls.output.curves},
    stage="calibration",
)
draw("validation/stability", "3 QDG", {"clusters": rules.stability.output.clusters}, shown, stage="calibration")
draw(
    "affinity/affinities",
    "3 QDG",
    {
        "affinity": AFFINITY,
        "losses": rules.affinities.output.losses,
        "agreement": rules.affinities.output.agreement,
    },
    stage="calibration",
)
draw("calibration/toy", "3 QDG", {"table": rules.toy.output.table}, stage="calibration")
if RELATIVES:
    draw("validation/lineage", "3 QDG", {"table": rules.lineage.output.table}, stage="calibration")

# -------------------------------------------------------------------------------------------------------- theory
draw(
    "theory/theory",
    "0 Theory",
    {"losses": rules.theory.output.losses, "simulation": rules.theory.output.simulation},
)
draw(
    "theory/published",
    "0 Theory",
    {"published": rules.theory.output.published, "fits": rules.theory.output.fits},
)
draw(
    "theory/accounts",
    "0 Theory",
    {
        "accounts": rules.theory.output.accounts,
        "fits": rules.parity_fits.output.fits,
        "paper": "workflow/data/parity_exponents.csv",
    },
    stage="parity",
)

# -------------------------------------------------------------------------------------------------------- parity
draw(
    "parity/scaling",
    "5 Parity",
    {
        "curves": parity_shown("curves.parquet"),
        "nets": parity_shown("nets.csv"),
        "points": rules.parity_fits.output.points,
        "fits": rules.parity_fits.output.fits,
    },
    {"alpha": PARITY["alpha"]},
    name="parity_scaling",
)
draw(
    "parity/heatmap",
    "5 Parity",
    {"curves": parity_shown("curves.parquet"), "nets": parity_shown("nets.csv")},
    name="parity_heatmap",
)
draw(
    "parity/convergence",
    "5 Parity",
    {"emergence": rules.parity_fits.output.emergence, "fits": rules.parity_fits.output.fits},
    name="parity_convergence",
)
draw(
    "parity/exponents",
    "5 Parity",
    {"fits": rules.parity_fits.output.fits, "paper": "workflow/data/parity_exponents.csv"},
    name="parity_exponents",
)
draw(
    "parity/recovery",
    "5 Parity",
    {
        "scores": f"{R}/parity/qdg/{SHOWN}/scores.csv",
        "estimates": rules.parity_calibration.output.estimates,
    },
    name="parity_recovery",
)
draw(
    "parity/tasks",
    "5 Parity",
    {name: f"{R}/parity/qdg/{SHOWN}/{name}.csv" for name in ("scores", "tasks", "pairs")},
    name="parity_tasks",
)


for stage, drawn in DRAWN.items():

    rule:
        name:
            f"figures_{stage}"
        input:
            files_of(drawn),
        output:
            pictures=pictures(drawn),
            others=[update(f"{R}/report/figures/{one['name']}.{kind}") for one in drawn for kind in ("pdf", "csv")],
        log:
            f"{R}/logs/figures_{stage}.log",
        benchmark:
            f"{R}/benchmarks/figures_{stage}.tsv"
        conda:
            "../envs/quanta.yaml"
        threads: 1
        resources:
            mem_mb=megabytes(1500),
            runtime=minutes(10 + len(drawn)),
            gpu=0,
        params:
            figures=of(drawn),
            look=look(),
            code=code("report/figures"),
        message:
            f"Figures of {stage}"
        script:
            "../workflow/scripts/report/figures.py"
