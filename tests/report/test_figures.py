import json
import re
from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hostile import MARKUP
from quanta.catalogue import naming, when_learned
from quanta.rank_frequency import zipf
from quanta.report import annotations, drawing, figures
from quanta.storage import code, files
from scipy.special import zeta
from support import names, script

ROOT = Path(__file__).parents[2]
LOOK = json.dumps({"width_inches": 6.5, "dpi": 60})


@pytest.fixture(autouse=True)
def no_window():
    mpl.use("agg")


def outputs(folder, name="x"):
    return SimpleNamespace(**{end: str(folder / f"{name}.{end}") for end in ("png", "pdf", "csv")})


def test_a_figure_is_the_same_bytes_twice_and_its_data_stand_beside_it(tmp_path):
    data = pd.DataFrame({"x": [1.0, 2.0], "y_nats": [0.1, 1 / 3]})
    made = []
    for name in ("one", "two"):
        figure, axes = drawing.canvas(LOOK)
        axes[0, 0].plot(data["x"], data["y_nats"], label="a")
        axes[0, 0].legend()
        drawing.save(figure, outputs(tmp_path, name), data)
        made.append([(tmp_path / f"{name}.{end}").read_bytes() for end in ("png", "pdf", "csv")])
    assert made[0] == made[1]
    assert pd.read_csv(tmp_path / "one.csv").equals(data)


def test_tables_of_panels_keep_every_value_under_the_name_of_their_panel():
    one, two = pd.DataFrame({"x": [1.5, 2.5], "y": [3.0, 4.0]}), pd.DataFrame({"y": [5.0], "z": [6]})
    table = drawing.panels({"one": one, "two": two})
    assert table.columns[0] == "panel" and len(table) == 3
    assert table[table["panel"] == "one"][["x", "y"]].equals(one)
    assert table.loc[table["panel"] == "two", ["y", "z"]].to_numpy().tolist() == [[5, 6]]
    assert table.to_csv(index=False).split("\n")[3] == "two,,5.0,6", "a count stays a whole number"
    assert drawing.long(
        pd.DataFrame({1: [0.5], 2: [0.25]}, index=[10]), "scale", "task", "bits"
    ).to_numpy().tolist() == [
        [10, 1, 0.5],
        [10, 2, 0.25],
    ]


@pytest.mark.parametrize("alpha", [0.4, 1.0])
def test_sampled_zipf_is_the_law_at_the_first_ranks_and_counts_whole_tokens(alpha):
    """The commonest quantum has p_1 = 1/ζ(α+1) of the tokens; the section on theory of the paper, p_k = k^−(α+1)/ζ(α+1)."""
    low, middle, high = zipf.sampled_zipf(alpha, 4000, draws=40, seed=1)
    for k in (1, 2, 3):
        expected = 4000 * k ** -(alpha + 1) / zeta(alpha + 1)
        assert middle[k - 1] == pytest.approx(expected, abs=3 * np.sqrt(expected))
    assert (low <= middle).all() and (middle <= high).all() and (np.diff(middle) <= 0).all()
    assert middle.sum() == pytest.approx(4000, rel=0.05)
    assert np.array_equal(zipf.sampled_zipf(alpha, 4000, draws=40, seed=1)[1], middle)


def test_a_finite_number_of_tokens_flattens_the_law_where_quanta_have_few_tokens():
    """Why a fit at high ranks does not give −(α+1) even without any clustering."""
    _, middle, _ = zipf.sampled_zipf(0.1, 2000, draws=40, seed=1)
    slopes = []
    for first, last in ((1, 10), (50, 200)):
        ranks = np.arange(first, last + 1)
        slopes.append(np.polyfit(np.log(ranks), np.log(middle[first - 1 : last]), 1)[0])
    assert slopes[0] == pytest.approx(-1.1, abs=0.1)
    assert slopes[1] > slopes[0] + 0.1


def test_end_labels_do_not_overlap():
    figure, axes = drawing.canvas(LOOK)
    ax = axes[0, 0]
    for value in (1.0, 1.001, 1.002, 3.0):
        ax.plot([0, 1, 2], [2, 2, value])
    ax.plot([0, 1], [5, np.nan])
    annotations.end_labels(ax, ["a", "b", "c", "d"])
    figure.canvas.draw()
    heights = sorted(text.get_window_extent().y0 for text in ax.texts)
    assert len(heights) == 4
    assert min(np.diff(heights)) > 0.8 * max(text.get_window_extent().height for text in ax.texts)
    at = {text.get_text(): text.get_window_extent().y0 for text in ax.texts}
    assert at["a"] < at["b"] < at["c"] < at["d"]


def test_names_of_points_cover_no_point_and_no_other_name():
    """In a crowd some are left out, and those that are left stand free and inside; no line runs through another name."""
    rng = np.random.default_rng(0)
    ax = drawing.canvas(LOOK)[1][0, 0]
    points = rng.lognormal(0, 1, (60, 2))
    ax.plot(*points.T, "o", ms=2)
    ax.set(xscale="log", yscale="log")
    annotations.point_labels(ax, points, {index: f"name {index}" for index in range(0, 60, 2)})
    boxes = []
    for note in ax.texts:
        note.get_window_extent()
        boxes.append(mpl.text.Text.get_window_extent(note))
    assert 4 <= len(boxes) <= 30
    for note, own in zip(ax.texts, boxes, strict=True):
        middle, point = own.get_points().mean(axis=0), ax.transData.transform(note.xy)
        line = middle + np.linspace(0, 1, 60)[:, None] * (point - middle)
        assert not any(box.count_contains(line) for box in boxes if box is not own), note.get_text()
    at = ax.transData.transform(points)
    inside = ax.get_window_extent()
    for i, box in enumerate(boxes):
        assert not box.count_contains(at) and not box.count_overlaps(boxes[:i])
        assert inside.count_contains(box.corners()) == 4
    assert {note.get_text() for note in ax.texts} <= {f"name {index}" for index in range(0, 60, 2)}


def test_any_text_of_a_corpus_can_be_drawn(tmp_path):
    """Without a missing glyph, which is a warning, and without matplotlib reading mathematics into it."""
    figure, axes = drawing.canvas(LOOK)
    for line, text in enumerate([*MARKUP, "日本語 \U0001f600 𝔘", "$\\frac{", "\n\t"]):
        shown = annotations.drawable(text)
        assert "\n" not in shown
        axes[0, 0].text(0, line / 12, shown, family="DejaVu Sans Mono", parse_math=False)
    drawing.save(figure, outputs(tmp_path), pd.DataFrame({"text": MARKUP}))
    assert pd.read_csv(tmp_path / "x.csv")["text"].tolist() == MARKUP
    assert annotations.drawable("a日\n") == "a□⏎"


def test_every_answer_names_the_paper():
    assert all(text.startswith("The paper's") for text in drawing.ANSWERS.values())


def test_every_figure_has_its_place_in_the_documentation():
    """By its name, and the page answers with the paper's figure where docs/figures.md names one."""
    told = (ROOT / "docs/figures.md").read_text(encoding="utf-8")
    papers = told.partition("## The paper's figures")[2].partition("\n## ")[0]
    for path in (ROOT / "workflow/scripts").rglob("figure_*.py"):
        name = ("parity_" if path.parent.name == "parity" else "") + path.stem.removeprefix("figure_")
        assert f"`{name}`" in told or f"`{name}_size`" in told, name
        if f"`{name}`" in papers and name != "calibration":
            assert name in drawing.ANSWERS, name
    rows = [line.split("|")[1].strip() for line in papers.splitlines() if line.startswith("| ")][1:]
    assert {int(number) for row in rows for number in re.findall(r"^\d+", row)} == set(range(1, 19))


def test_numbers_in_figures_have_a_sign_of_minus():
    assert drawing.number(-0.5) == "−0.50"
    assert drawing.value_with_interval({"value": -0.8627, "interval": [-0.918, 0.1]}) == "−0.863 [−0.918, 0.100]"
    assert drawing.value_with_interval({"value": 0.1}) == "0.100"


def test_clusters_are_ordered_by_where_they_fall():
    """Half of the fall, interpolated: a cluster that has fallen further between the same two steps comes first."""
    mean = np.array([[6, 6, 6, 1], [6, 1, 0, 0], [6, 6, 1, 1], [6, 6, 2.9, 0.0], [6, 8, 8, 2]])
    assert when_learned.by_fall(mean).tolist() == [1, 2, 3, 0, 4]


def test_striking_clusters_are_the_named_ones_then_the_best_described_each_with_another_target():
    table = pd.DataFrame(
        {
            "n_clusters": [3, 5, 5, 5, 5, 5],
            "label": [0, 0, 1, 2, 3, 4],
            "size": [9, 5, 4, 3, 2, 1],
            "target": list("xabbcd"),
            "precision_held_out": [1, 0.5, 0.9, 1.0, np.nan, 0.2],
            "recall_held_out": [1, 0.5, 0.9, 1.0, np.nan, 0.2],
        }
    )
    assert naming.striking(table, {}, 5, 3) == [2, 0, 4]
    assert naming.striking(table, {(5, 3): "mine", (3, 0): "other"}, 5, 3) == [3, 2, 0]


def test_a_cluster_without_a_rule_is_described_by_its_target():
    table = pd.DataFrame({"n_clusters": 2, "label": [0, 1], "rule": ['["a", "b"]', "[]"], "target": ["x", "y"]})
    assert naming.in_words(table, 2, 0) == "a, and b"
    assert naming.in_words(table, 2, 1) == "the target is often ‘y’"


def test_no_null_model_is_left_out_of_the_rank_frequency_plot(tmp_path):
    """However many there are: as many as styles were drawn once, and the last ones silently were not."""
    sizes = pd.DataFrame({"rank": range(1, 13), "size": np.arange(24, 0, -2)})
    files.write_table(tmp_path / "rank.csv", pd.concat([sizes.assign(n_clusters=k) for k in (0, 12)]))
    models = [f"null {i}" for i in range(11)]
    files.write_table(tmp_path / "nulls.csv", pd.concat([sizes.assign(model=m) for m in ("the data", *models)]))
    files.write_table(tmp_path / "tokens.parquet", pd.DataFrame({"token_id": np.repeat(range(12), 13)}))
    files.write_json(
        tmp_path / "fits.json", {"envelope_slope": {"value": -1.0, "interval": [-1.1, -0.9], "ranks": [2, 8]}}
    )
    files.write_json(tmp_path / "scaling.json", {"alpha_n": {"value": 0.2}})
    given = names(
        table=tmp_path / "rank.csv",
        fits=tmp_path / "fits.json",
        scaling=tmp_path / "scaling.json",
        selection=tmp_path / "tokens.parquet",
        nulls=[str(tmp_path / "nulls.csv")],
    )
    script("rank_frequency/figure_rank_frequency")(given, outputs(tmp_path), names(look=LOOK, seed=0))
    drawn = set(pd.read_csv(tmp_path / "x.csv")["curve"])
    assert {f"null: {name}" for name in models} <= drawn


def test_figures_without_alpha_n_leave_its_lines_out(tmp_path):
    """One size, however many seeds, has no α_N: what is there is drawn."""
    sizes = pd.DataFrame({"rank": range(1, 13), "size": np.arange(24, 0, -2)})
    files.write_table(tmp_path / "rank.csv", pd.concat([sizes.assign(n_clusters=k) for k in (0, 12)]))
    files.write_table(tmp_path / "tokens.parquet", pd.DataFrame({"token_id": np.repeat(range(12), 13)}))
    slope = {"value": -1.0, "interval": [-1.1, -0.9], "ranks": [2, 8]}
    calibrated = {"value": 0.1, "interval": [0.0, 0.2]}
    fits = {"envelope_slope": slope, "alpha": calibrated, "alpha_by_collisions": {"threshold": 0.5}}
    files.write_json(tmp_path / "fits.json", fits)
    files.write_json(tmp_path / "scaling.json", {"alpha_n": {"value": None, "interval": None}})
    models = [("a", 9, 100, 3.0), ("a-seed1", 9, 100, 3.1)]
    columns = ["model", "step", "non_embedding_parameters", "mean_loss_nats"]
    files.write_table(tmp_path / "mean_loss.csv", pd.DataFrame(models, columns=columns))
    curve = {"threshold": [0.4, 0.5], "alpha": 0.1, "low": 0.0, "high": 0.2, "alpha_triples": 0.1}
    files.write_table(tmp_path / "resolution.csv", pd.DataFrame(curve))
    paths = {"fits": tmp_path / "fits.json", "scaling": tmp_path / "scaling.json"}
    script("rank_frequency/figure_rank_frequency")(
        names(**paths, table=tmp_path / "rank.csv", selection=tmp_path / "tokens.parquet", nulls=[]),
        outputs(tmp_path), names(look=LOOK, seed=0),
    )  # fmt: skip
    assert "theory, finite tokens" not in set(pd.read_csv(tmp_path / "x.csv")["curve"])
    script("calibration/figure_resolution")(
        names(**paths, resolution=tmp_path / "resolution.csv"), outputs(tmp_path), names(look=LOOK)
    )
    script("scaling/figure_mean_loss")(
        names(table=tmp_path / "mean_loss.csv", fits=tmp_path / "scaling.json"),
        outputs(tmp_path), names(look=LOOK, final_step=9, leave_out=[]),
    )  # fmt: skip
    drawn = pd.read_csv(tmp_path / "x.csv")
    assert len(drawn) == 2 and drawn["power_law_nats"].isna().all()


def test_figures_are_listed_by_stage_with_all_that_makes_them_other_pictures(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "room").mkdir(exist_ok=True)
        (tmp_path / f"room/figure_{name}.py").write_text(f"X = '{name}'\n")
    found = figures.Figures("results/x", tmp_path, lambda path: f"imports of {path.name}")
    found.draw("room/a", "2 Scaling", {"table": "t.csv", "losses": ["1.npy", "2.npy"]}, {"show": 3})
    found.draw("room/b", "3 QDG", {"table": "t.csv"}, name="b_size", stage="scaling")
    found.draw("room/b", "3 QDG", {})
    assert found.names() == ["a", "b_size", "b"] and list(found.by_stage) == ["scaling", "clusters"]
    assert found.files("png", "csv", of="scaling") == [
        f"results/x/report/figures/{name}" for name in ("a.png", "a.csv", "b_size.png", "b_size.csv")
    ]
    assert len(found.files("pdf")) == 3 and found.inputs("scaling") == ["t.csv", "1.npy", "2.npy"]
    assert found.captions() == ["workflow/report/a.rst", "workflow/report/b.rst", "workflow/report/b.rst"]
    one, _ = found.by_stage["scaling"]
    assert one["script"] == "room/figure_a" and one["code"].endswith(", imports of figure_a.py")
    (tmp_path / "room/figure_a.py").write_text("X = 'c'\n")
    again = figures.Figures("results/x", tmp_path / ".", lambda path: f"imports of {path.name}")
    code._read.cache_clear()  # the hash remembers files by path
    again.draw("room/a", "2 Scaling", {})
    assert again.by_stage["scaling"][0]["code"] != one["code"], "another script is another picture"
