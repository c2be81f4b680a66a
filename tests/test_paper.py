import pandas as pd
import pytest
from quanta import paper

THEIRS = {one.key: one.value for one in paper.PUBLISHED}


def test_the_papers_own_numbers_agree_with_the_paper():
    table = paper.checks(THEIRS)
    assert (table["agrees"] == "yes").all() and len(table) == len(paper.PUBLISHED)


def test_a_run_without_a_number_neither_agrees_nor_disagrees():
    table = paper.checks({})
    assert set(table["agrees"]) == {""} and set(table["why"]) == {"this run has no such number"}


@pytest.mark.parametrize(
    ("value", "interval", "expected"),
    [
        (0.084, None, ("yes", "within 0.003")),
        (0.09, None, ("no", "")),
        (0.09, [0.08, 0.1], ("yes", "the interval holds it")),
        (0.09, [0.085, 0.1], ("no", "")),
        (None, None, ("", "this run has no such number")),
        (float("nan"), None, ("", "this run has no such number")),
    ],
)
def test_agreement_says_what_it_rests_on(value, interval, expected):
    """A wide interval holds everything, so it is named as the reason."""
    verdict, why = paper.judged("alpha_n", {"value": value, "interval": interval}, THEIRS)
    assert verdict == expected[0]
    if expected[1]:
        assert why == expected[1]


def test_the_reason_is_what_the_settings_differ_in_and_only_that():
    alpha = {"value": 0.05}
    _, why = paper.judged("alpha_n", alpha, THEIRS)
    assert why == paper.BY_KEY["alpha_n"].why, "all settings are the paper's"
    _, why = paper.judged("alpha_n", alpha, THEIRS | {"documents": 2000.0, "restarts": 3})
    assert why == "documents 2,000, not 200,000"
    others = {key: value for key, value in THEIRS.items() if not key.startswith("parameters ")}
    _, why = paper.judged("envelope_slope", {"value": -1.0}, others | {"qdg_tokens": 300})
    assert why == "other models than the paper's, of other texts; tokens 300, not 10,000"
    assert paper.parity_differences(paper.PARITY) == ""
    assert paper.parity_differences(paper.PARITY | {"n_tasks": 30}) == "n_tasks 30, not 500"


def test_settings_of_a_run_are_held_against_the_papers():
    sizes = pd.DataFrame({"model": ["a"], "non_embedding_parameters": [100], "n_predictions": [10]})
    slope = {"value": -1.2, "n_tokens": 60, "ranks": [1, 8]}
    settings = {"context": 48, "density_bins": 3000, "threshold": 0.1, "fitted_models": 2}
    ours = paper.of_run(sizes, {"alpha_n": {"value": None}}, {"envelope_slope": slope}, settings)
    agrees = paper.checks(ours).set_index("quantity")["agrees"]
    assert agrees["tokens at which a document is cut"] == agrees["tokens clustered"] == "no"
    assert agrees["bins of p(L) over 0 to 30 bits"] == "yes"


def test_every_number_follows_settings_that_the_paper_states():
    for one in paper.PUBLISHED:
        assert all(key == paper.MODELS or key in paper.BY_KEY for key in one.follows)
