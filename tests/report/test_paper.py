import pandas as pd
import pytest
from quanta.report import paper

THEIRS = {one.key: one.value for one in paper.PUBLISHED}


def files_with(numbers):
    """Tables and fits of a run that found these numbers, as `paper.of_run` reads them."""
    sizes = {key.removeprefix("parameters "): n for key, n in numbers.items() if key.startswith("parameters ")}
    mean_loss = pd.DataFrame(
        [(m, step, n, 1.0, numbers["predictions"]) for m, n in sizes.items() for step in (0, 143000)],
        columns=["model", "step", "non_embedding_parameters", "mean_loss_nats", "n_predictions"],
    )
    scaling = {"alpha_n": {"value": numbers["alpha_n"], "n_sizes": numbers["fitted_models"]}}
    ranks = [numbers["first_rank"], numbers["last_rank"]]
    slope = {"value": numbers["envelope_slope"], "n_tokens": numbers["qdg_tokens"], "ranks": ranks}
    found = {
        "predictions",
        "documents",
        "alpha_n",
        "theory_slope",
        "qdg_tokens",
        "first_rank",
        "last_rank",
        "envelope_slope",
    }
    settings = {key: n for key, n in numbers.items() if key not in found and not key.startswith("parameters ")}
    settings.pop("fitted_models")
    return mean_loss, scaling, {"envelope_slope": slope}, settings


def test_a_run_that_finds_the_papers_numbers_agrees_with_all_of_them():
    ours = paper.of_run(*files_with(THEIRS), documents=int(THEIRS["documents"]))
    table = paper.checks(ours)
    assert set(ours) == set(THEIRS) and len(table) == len(paper.PUBLISHED)
    assert (table["verdict"] == "agrees").all(), table[table["verdict"] != "agrees"]


@pytest.mark.parametrize("key", [key for key in THEIRS if key != "theory_slope"])
def test_a_number_that_is_off_by_more_than_its_tolerance_is_the_only_one_that_says_so(key):
    """Through the files of a run, so that each number is read where it is. The theory's slope follows α_N.

    A result disagrees. A setting is another one, and what follows it is not compared.
    """
    one = paper.BY_KEY[key]
    for factor in (0.9, 1.1):
        off = one.tolerance * factor if one.tolerance else (factor - 1) * 10 * (factor > 1)
        ours = paper.of_run(
            *files_with(THEIRS | {key: THEIRS[key] + off}),
            documents=int(THEIRS["documents"] + off * (key == "documents")),
        )
        table = paper.checks(ours).set_index("quantity")
        expected = "agrees" if factor < 1 else "disagrees" if one.follows else ""
        assert table["verdict"][one.quantity] == expected, (key, off)
        for other in paper.PUBLISHED:
            if other.key in (key, "theory_slope"):
                continue
            follows = factor > 1 and key in other.follows
            assert table["verdict"][other.quantity] == ("" if follows else "agrees"), other.key
            assert table["why"][other.quantity].startswith("not compared: ") == follows


def test_documents_are_those_that_were_found_and_not_those_that_were_asked_for():
    """A copy of the Pile's test split of 10,000 documents is not the paper's 200,000, whatever the limit says."""
    row = (
        paper.checks(paper.of_run(*files_with(THEIRS), documents=10_000))
        .set_index("quantity")
        .loc[paper.BY_KEY["documents"].quantity]
    )
    assert (row["ours"], row["verdict"]) == (10_000, "") and "the corpus has no more" in row["why"]


def test_k_means_that_never_restarts_has_no_restarts_to_agree_with():
    ours = THEIRS | {"restarts": None}
    row = paper.checks(ours).set_index("quantity").loc[paper.BY_KEY["restarts"].quantity]
    assert row["verdict"] == ""
    assert paper.differences(ours, paper.OF_CLUSTERS) == "k-means by another method than restarts"


def test_a_run_without_a_number_neither_agrees_nor_disagrees():
    table = paper.checks({})
    assert set(table["verdict"]) == {""} and set(table["why"]) == {"this run has no such number"}


@pytest.mark.parametrize(
    ("value", "interval", "expected"),
    [
        (0.084, None, ("agrees", "within 0.003")),
        (0.084, [0.08, 0.09], ("agrees", "within 0.003")),
        (0.084, [0.05, 0.12], ("inconclusive", "the interval is too wide to tell")),
        (0.09, None, ("disagrees", "more than 0.003 apart; other documents")),
        (0.09, [0.08, 0.1], ("inconclusive", "the interval is too wide to tell")),
        (0.09, [0.087, 0.1], ("disagrees", "the interval leaves it out; other documents")),
        (None, None, ("", "this run has no such number")),
        (float("nan"), None, ("", "this run has no such number")),
    ],
)
def test_a_verdict_says_what_it_rests_on(value, interval, expected):
    """A wide interval holds everything, so it is no agreement."""
    verdict, why = paper.judged("alpha_n", {"value": value, "interval": interval}, THEIRS)
    assert verdict == expected[0] and why.startswith(expected[1])


def test_no_verdict_where_settings_differ_and_the_reason_is_only_that():
    alpha = {"value": 0.05}
    assert paper.judged("alpha_n", alpha, THEIRS)[0] == "disagrees", "all settings are the paper's"
    found = paper.judged("alpha_n", alpha, THEIRS | {"documents": 2000.0, "restarts": 3})
    assert found == ("", "not compared: documents 2,000, not 200,000")
    others = {key: value for key, value in THEIRS.items() if not key.startswith("parameters ")}
    found = paper.judged("envelope_slope", {"value": -1.0}, others | {"qdg_tokens": 300})
    assert found == ("", "not compared: other models than the paper's, of other texts; tokens 300, not 10,000")
    assert paper.parity_differences(paper.PARITY) == ""
    assert paper.parity_differences(paper.PARITY | {"n_tasks": 30}) == "n_tasks 30, not 500"


def test_settings_of_a_run_are_held_against_the_papers():
    sizes = pd.DataFrame({"model": ["a"], "non_embedding_parameters": [100], "n_predictions": [10]})
    slope = {"value": -1.2, "n_tokens": 60, "ranks": [1, 8]}
    settings = {"context": 48, "density_bins": 3000, "threshold": 0.1}
    alpha = {"value": None, "n_sizes": 1}
    ours = paper.of_run(sizes, {"alpha_n": alpha}, {"envelope_slope": slope}, settings, documents=140)
    table = paper.checks(ours).set_index("quantity")
    for quantity in ("tokens at which a document is cut", "tokens clustered"):
        assert tuple(table.loc[quantity, ["verdict", "why"]]) == ("", "set so in this run's configuration")
    assert table["verdict"]["bins of p(L) over 0 to 30 bits"] == "agrees"


def test_every_number_follows_settings_that_the_paper_states():
    for one in paper.PUBLISHED:
        assert all(key == paper.MODELS or key in paper.BY_KEY for key in one.follows)
