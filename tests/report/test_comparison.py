"""The run's numbers next to the paper's: what a row says, on a run of known numbers."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from quanta.errors import QuantaError
from quanta.report import comparison, parity_comparison
from quanta.report.comparison import Row
from quanta.report.wording import value_with_interval
from quanta.storage import files
from support import ROOT

SIZES = (1_000, 4_000, 16_000)


def correlation(value, *, groups="clusters", given=None, interval=(-0.5, -0.1), axis="size", reference="one half"):
    about = {"axis": axis, "reference": reference, "groups": groups, "frequency": "size", "given": given}
    return about | {"value": value, "interval": interval and list(interval), "p_value": 0.01, "n": 20}


def recurs(value):
    fit = {
        "value": value,
        "expected": None if value is None else 0.1,
        "interval": None if value is None else [0.2, 0.6],
    }
    return {"another seed": fit, "average of all seeds": fit}


def a_run(**changes):
    models = pd.DataFrame(
        {
            "model": ["a", "b", "c"],
            "step": 60,
            "non_embedding_parameters": SIZES,
            "mean_loss_nats": 1.0,
            "n_predictions": 100,
        }
    )
    nulls = pd.DataFrame({"model": ["the data", "Gaussian", "bigram", "tiny"], "slope": [-1.2, -1.1, -0.9, np.nan]})
    run = comparison.Run(
        mean_loss=models,
        scaling={"alpha_n": {"value": 0.08, "interval": [0.07, 0.09], "n_sizes": 3, "points_used": [0, 1, 2]}},
        curves={
            "size": {"monogenic": 2, "predictions": 100, "fell": 10, "sharp": 3, "not_monotone": 5, "fall_nats": 0.5}
        },
        selection={"below_threshold": 40, "predictions": 100, "by_induction": 10},
        qdg={
            "envelope_slope": {"value": -1.2, "ranks": [3, 30], "n_tokens": 300, "interval": [-1.3, -1.1]},
            "identity_slope": {"value": -0.9},
            "calibrated_alpha": {"value": 0.2, "interval": [0.1, 0.3], "verdict": "like the simulations"},
            "alpha_by_collisions": {"value": None, "threshold": 0.5},
            "coverage": {"found": 0.9, "n": 20},
        },
        order={
            "correlations": [
                correlation(-0.3),
                correlation(-0.2, given="target"),
                correlation(-0.25, given="bigram"),
                correlation(0.0, groups="targets", interval=(-0.2, 0.2)),
            ]
        },
        learning=["size"],
        draws=pd.DataFrame({"kind": ["half", "seed", "half"], "slope": [-1.1, 9.0, -1.3]}),
        nulls=nulls.assign(distinguishable=[None, True, False, None], words="words"),
        on_nets=pd.DataFrame(
            {
                "condition": ["one pattern", "base", "base"],
                "estimator": [parity_comparison.LANGUAGE, "another", parity_comparison.LANGUAGE],
                "nets": 30,
                "covered": [1.0, 1.0, 17 / 30],
                "nominal": 0.9,
            }
        ),
        seeds={
            "non_embedding_parameters": list(SIZES),
            "drop_nats": 0.5,
            "recurs": {kind: recurs(0.4) for kind in ("drop", "sharp", "monogenic")} | {"polygenic": recurs(None)},
        },
        published={"within_factor": 3, "within_factor_if_constant": 2, "pairs": 4, "factor": 2.0},
        settings={},
        documents=7,
        final_step=60,
        threshold=2.5,
        model="c",
    )
    return dataclasses.replace(run, **changes)


def by_quantity(rows):
    assert len({row.quantity for row in rows}) == len(rows)
    return {row.quantity: row for row in rows}


def test_a_row_without_a_number_of_the_papers_says_so_and_one_with_a_reason_keeps_it():
    bare = Row("q", "1", "f", "k")
    assert list(bare.record()) == ["quantity", "paper", "ours", "verdict", "why", "file", "key"]
    assert bare.record()["why"] == "not in the paper"
    assert dataclasses.replace(bare, paper="2").record()["why"] == ""
    assert dataclasses.replace(bare, verdict=("agrees", "")).record()["why"] == ""
    assert dataclasses.replace(bare, verdict=("", "why")).record()["why"] == "why"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [(True, True), (np.False_, False), ("True", True), ("False", False), (np.nan, None), (None, None), ("", None)],
)
def test_a_truth_is_read_by_value(cell, expected):
    assert files.truth(cell) is expected


def test_a_cell_that_is_no_truth_is_refused():
    with pytest.raises(QuantaError, match="'maybe' where a truth is expected"):
        files.truth("maybe")


@pytest.mark.parametrize("through_csv", [False, True])
def test_null_models_that_were_not_tested_are_on_neither_side(through_csv, tmp_path):
    run = a_run()
    if through_csv:
        files.write_table(tmp_path / "nulls.csv", run.nulls)
        run = a_run(nulls=files.read_table(tmp_path / "nulls.csv"))
    assert comparison.distinguished(run, True) == ["Gaussian"] and comparison.distinguished(run, False) == ["bigram"]
    assert comparison.slope_words(run).endswith(
        "1 of 2 null models have the same. By itself it is no evidence of quanta."
    )
    alone = a_run(nulls=run.nulls.iloc[[0, 3]])
    assert comparison.distinguished(alone, True) == comparison.distinguished(alone, False) == []
    assert comparison.slope_words(alone).endswith("No null model was tested.")
    assert comparison.slope_words(a_run(nulls=run.nulls.iloc[[0, 1]])).endswith(
        "Each of 1 null models has another slope."
    )


def test_rows_hold_the_runs_numbers_and_judge_them():
    found = by_quantity(comparison.rows(a_run()))
    alpha = found["α_N, mean loss against non-embedding parameters"]
    assert (alpha.ours, alpha.paper, alpha.verdict[0]) == ("0.080 [0.070, 0.090]", "0.083", "")
    theory = found["the theory's slope, −(α_N + 1)"]
    assert (theory.ours, theory.verdict[0]) == ("-1.080 [-1.090, -1.070]", "")
    assert found["ranks of the slope's fit"].verdict == ("agrees", "the same shares of the tokens")
    assert found["tokens clustered"].verdict == ("", "set so in this run's configuration")
    assert found["of these, by induction"].ours == "0.250"
    assert found["monogenic tokens, share of all predictions"].verdict[1].startswith("not compared: other models")
    assert found["sharp falls, as a share of tokens that fall by at least 0.5 nats"].verdict[0] == ""
    assert found["exponent α by collisions of pairs above a cosine of 0.5"].ours == "no value"
    assert found["slope of null model: tiny"].ours == "no slope (words)"
    assert found["published α_D within a factor 2 of α_N/(α_N + 1)"].ours == "3 of 4"


def test_a_family_whose_local_exponent_drifts_has_no_single_power_law():
    bend = {"single_power_law": False, "alpha_at_smallest": 0.15, "alpha_at_largest": 0.1}
    alpha = a_run().scaling["alpha_n"]
    assert comparison.bend_words(alpha | {"bend": bend}).endswith(
        "from 0.150 at the smallest size to 0.100 at the largest."
    )
    for none in (None, bend | {"single_power_law": True}):
        assert comparison.bend_words(alpha | {"bend": none}) == ""


def test_what_is_few_is_judged_in_the_papers_models_alone(monkeypatch):
    run = a_run()
    assert comparison.is_few(0.01, run)[0] == ""
    monkeypatch.setattr(comparison.paper, "differences", lambda ours, keys: "")
    assert comparison.is_few(0.01, run) == ("agrees", "less than 0.1") and comparison.is_few(0.3, run)[0] == "disagrees"


def test_the_spread_of_the_slope_is_of_halves_alone():
    anew = a_run().clustered_anew
    assert anew["standard_deviation"] == pytest.approx(np.std([-1.1, -1.3], ddof=1))
    assert f"{anew['value']:.3f}" == "-1.200"


def test_other_shares_of_the_tokens_are_other_ranks():
    verdict, why = comparison.same_ranks({"ranks": [3, 60], "n_tokens": 300})
    assert verdict == "" and why == "other shares of the tokens: 0.01 to 0.2, not 0.01 to 0.1"


@pytest.mark.parametrize(
    ("value", "interval", "expected"),
    [
        (None, None, ("", "this run has no such number")),
        (-0.2, None, ("inconclusive", "no interval")),
        (-0.2, (-0.3, -0.1), ("agrees", "the interval is below 0")),
        (-0.2, (-0.5, 0.1), ("inconclusive", "the interval holds 0")),
        (0.2, (0.1, 0.3), ("disagrees", "the interval is above 0")),
    ],
)
def test_the_hypothesis_of_learning_holds_where_the_whole_interval_is_negative(value, interval, expected):
    assert comparison.is_negative({"value": value, "interval": interval}) == expected


def test_the_rows_of_learning_are_the_main_line_the_partial_one_and_the_null():
    rows = comparison.learning(a_run())
    assert [row.ours.split(" ")[0] for row in rows] == ["-0.300", "-0.200", "-0.250", "0.000"]
    assert [row.verdict[0] for row in rows] == ["agrees", "", "", ""]
    assert "groups=targets" in rows[3].key and "given=target" in rows[1].key and "given=bigram" in rows[2].key


def test_the_second_clustering_and_what_transfer_does_have_rows_where_the_run_has_them():
    nulls = pd.DataFrame(
        {
            "model": ["the data", "untrained model, same tokens"],
            "slope": [-1.1, np.nan],
            "words": [np.nan, "no slope to compare"],
            "agreement_target": [0.2, 0.9],
        }
    )
    law = {"grouping": "clusters", "meaning": "clusters of gradients", "step": "as found", "clusters": 5, "value": None}
    alone = {"headline": "", "counts": [], "law": [law]}
    order = a_run().order
    rows = comparison.rows(a_run(second_nulls=nulls, second_order=order, alone=alone))
    found = {row.quantity: row.ours for row in rows}
    assert found["second affinity, slope of the data"] == "-1.100; agreement with targets 0.20"
    assert found["second affinity, slope of untrained model, same tokens"] == (
        "no slope (no slope to compare); agreement with targets 0.90"
    )
    assert found["slope of sizes by rank, clusters of gradients, as found (5)"] == "no value"
    what = "second affinity, rank correlation of size with when it is learned"
    assert found[f"{what}, given the corpus's count of the bigram, size"].startswith("-0.25")
    assert not any("second" in row.quantity for row in comparison.rows(a_run()))


def test_what_no_token_shows_has_no_share_that_recurs_and_three_sizes_say_why():
    found = by_quantity(comparison.recurring(a_run().seeds))
    none = found["polygenic tokens, share that recurs in another seed"]
    assert none.ours == "no value" and "one always has 50% of the fall or more" in none.verdict[1]
    some = found["drops of more than 0.5 nats between neighbouring model sizes, share that recurs in another seed"]
    assert some.ours == "0.400 [0.200, 0.600] (independent: 0.100)" and some.verdict == ("", "")
    assert comparison.rows(a_run(seeds=None)) == [
        row for row in comparison.rows(a_run()) if row.file != "scaling/seeds_sharpness.json"
    ]


def test_the_headline_says_the_run_in_sentences():
    first, slope, learned, seeds = comparison.headline(a_run())
    assert (
        first
        == "The mean loss falls as a power of model size, with exponent 0.080 [0.070, 0.090] (3 model sizes, 3 models)."
    )
    assert slope.startswith("The slope of cluster size over rank is -1.2")
    assert comparison.headline(a_run(alone={"headline": "1 of 2 alone"}))[1] == "1 of 2 alone"
    assert learned.startswith("Frequent clusters are learned earlier: ρ = -0.300")
    assert seeds.startswith(
        "Of drops of more than 0.5 nats between neighbouring model sizes, 40% [20%, 60%] recur with another seed. By chance 10%"
    )
    assert len(comparison.headline(a_run(seeds=None))) == 3
    silent = comparison.recurring_words(a_run().seeds | {"recurs": {"drop": recurs(None)}})
    assert silent.startswith("No token has a drop of more than 0.5 nats")


def test_beside_the_simulators_exponent_stands_its_recorded_coverage_where_the_truth_is_known():
    run = a_run()
    row = by_quantity(comparison.rows(run))["the simulator's exponent α"]
    held = "the 90% interval holds α of 17 of 30 nets"
    assert row.verdict == (
        "",
        f"no measurement: {held}. No wider prior is useful (docs/parity.md)",
    )
    assert comparison.numbers(run, None)["coverage_on_nets"] == {"nets": 30, "held": 17, "nominal": 0.9}
    other = a_run(on_nets=run.on_nets.assign(covered=0.9, nets=10))
    assert "holds α of 9 of 10 nets" in comparison.calibrated(other)[0].verdict[1]


def test_pages_that_state_the_simulators_exponent_state_its_recorded_coverage_and_one_value():
    recorded = files.read_table(ROOT / "docs/results/parity-seeds/coverage.csv")
    of = a_run(on_nets=recorded).coverage_on_nets
    values = set()
    for page in ("docs/numbers.md", "docs/calibration.md"):
        lines = (ROOT / page).read_text(encoding="utf-8").replace("−", "-").splitlines()
        (row,) = (line for line in lines if line.startswith("| the simulator's exponent α"))
        values |= set(re.findall(r"-?\d\.\d{3} \[[^]]*\]", row))
        assert any(f"{of['held']} of {of['nets']}" in line for line in lines), page
    assert len(values) == 1


def test_a_run_of_one_size_has_no_rows_over_sizes_and_none_of_learning():
    run, alone = a_run(), a_run(curves={}, learning=[], order={})
    left = {row.quantity for row in comparison.rows(run)} - {row.quantity for row in comparison.rows(alone)}
    assert left == {row.quantity for row in [*comparison.single_tokens(run), *comparison.learning(run)]}
    assert len(comparison.headline(alone)) == len(comparison.headline(run)) - 2
    nothing = {"value": None, "interval": None, "n_sizes": 1, "points_used": [0]}
    assert comparison.sizes_words(nothing | {"points_used": [0]}).startswith("The loss has no exponent")


# ---------------------------------------------------------------------------------------------------- sparse parity


def parity(**changes):
    fit = {"alpha": 0.4, "value": 0.3, "interval": [0.2, 0.45], "theory_asymptotic": 0.4, "theory_finite": None}
    recorded = pd.DataFrame(
        [(0.4, "parameters", 0.42, 0.3, 0.5), (0.2, "parameters", 0.9, 0.8, 1.0), (0.6, "parameters", np.nan, 0, 0)],
        columns=["alpha", "resource", "exponent", "low", "high"],
    )
    coverage = pd.DataFrame({"condition": ["base", "one pattern"], "estimator": parity_comparison.LANGUAGE})
    estimates = coverage.assign(alpha=0.4, seed=[1, 0], value=0.4, low=0.3, high=0.5, verdict="like the simulations")
    source = parity_comparison.Source
    run = parity_comparison.Parity(
        alpha=0.4,
        differ="fewer tasks",
        fits={
            "exponents": [fit | {"resource": "parameters"}, fit | {"resource": "data", "alpha": 0.2}],
            "convergence": [fit | {"value": -0.5, "interval": None}],
        },
        paper=pd.DataFrame({"alpha": [0.4, 0.2], "resource": "parameters", "exponent": [0.41, 0.2]}),
        scores=source("parity/scores.csv", pd.DataFrame({"name": ["base", "base"], "adjusted_rand": [0.2, 0.7]})),
        envelopes=source(
            "parity/envelopes.csv",
            pd.DataFrame({"condition": ["base"], "true_slope": [-1.4], "envelope_slope": [-1.12]}),
        ),
        estimates=estimates,
        recorded=[(parity_comparison.LARGER, source("docs/r.csv", recorded))],
        convergence=source("docs/c.csv", pd.DataFrame({"alpha": [0.4], "slope": -0.8, "low": -0.9, "high": -0.7})),
        coverage=source("docs/v.csv", coverage.assign(nets=9, covered=0.56, nominal=0.9)),
    )
    return dataclasses.replace(run, **changes)


def test_parity_at_the_alpha_that_is_shown_is_next_to_the_papers_and_the_theorys():
    own, theory = parity_comparison.exponents(parity())
    assert own.quantity == "sparse parity, α_N at α = 0.4" and own.paper == "0.41"
    assert own.verdict == ("", "not compared: fewer tasks") and own.key == "exponents[alpha=0.4; resource=parameters]"
    assert (theory.paper, theory.ours, theory.key) == ("0.40", "no value", f"{own.key}.theory_finite")
    assert parity_comparison.exponents(parity(alpha=0.9)) == []
    assert parity_comparison.exponents(parity(differ=""))[0].verdict[0] == "inconclusive"
    assert parity_comparison.convergence(parity())[0].verdict == ("", "not compared: fewer tasks")
    assert parity_comparison.convergence(parity(differ=""))[0].verdict == ("disagrees", "more than 0.05 apart")


def test_a_recorded_run_is_shown_over_its_alphas_and_not_judged():
    (row,) = parity_comparison.recorded_exponents(parity(), *parity().recorded[0])
    assert row.paper == "0.20, 0.41, ?" and row.ours == "0.90, 0.42, none"
    assert row.verdict == ("", "not compared: a smaller problem: docs/parity.md")
    assert "(a larger run, recorded)" in row.quantity


def test_parity_rows_are_of_the_files_they_name():
    found = by_quantity(parity_comparison.rows(parity()))
    assert found["QDG on parity: adjusted Rand against true tasks, base"].ours == "0.700"
    assert found["QDG on parity: slope of the envelope (true: -1.40)"].verdict == ("", "not compared: fewer tasks")
    calibrated = found["QDG on parity, as language models: the simulator's α (true: 0.4), 90 % interval"]
    assert calibrated.ours == "0.40 [0.30, 0.50], like the simulations" and "seed=1; condition=base" in calibrated.key
    assert {row.file for row in found.values()} == {
        "parity/fits.json", "parity/scores.csv", "parity/envelopes.csv", "docs/r.csv", "docs/c.csv", "docs/v.csv",
        "parity/calibration/estimates.csv",
    }  # fmt: skip
    assert parity_comparison.recorded_convergence(parity(alpha=0.9)) == []


def test_a_value_is_written_with_its_interval_if_it_has_one():
    assert value_with_interval({"value": -0.0834, "interval": [-0.09, 1]}) == "-0.083 [-0.090, 1.000]"
    assert value_with_interval({"value": 1.0, "interval": None}, 2) == "1.00"
    assert value_with_interval({"value": None}) == "no value"
