"""Planted quanta of several cases: what is planted, and what their summaries see that those of language models do not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from quanta.calibration import cases, planted, simulations
from quanta.errors import QuantaError

PLAIN = planted.Settings(n_tokens=400, alpha=0.4, n_quanta=8, strength=0.5)
PARITY = cases.Settings(PLAIN, learned=8, cases=8, opposite=0.5, common=0.2, shared=0.05)


def planted_with(settings, seed=0):
    found = cases.draw(settings, np.random.default_rng(seed))
    return found, found.features @ found.features.T


def pairs(found, cosines):
    """Cosines of pairs of one case, of two cases of one quantum, and of two quanta."""
    quantum = found.quantum[:, None] == found.quantum
    case = quantum & (found.case[:, None] == found.case) & ~np.eye(len(cosines), dtype=bool)
    return cosines[case], cosines[quantum & (found.case[:, None] != found.case)], cosines[~quantum]


def test_cases_of_a_quantum_share_a_direction_and_some_have_it_the_other_way_round():
    one, another, other = pairs(*planted_with(PARITY))
    assert one.mean() > 0.4
    assert np.abs(other).mean() < 0.1
    assert (another < -0.1).mean() > 0.3 and (another > 0.1).mean() > 0.3
    _, alike, _ = pairs(*planted_with(replace(PARITY, opposite=0.0)))
    assert (alike > 0.1).mean() > 0.9


def test_what_is_not_learned_is_rare():
    settings = replace(PARITY, learned=3, unlearned=0.05)
    assert set(planted_with(replace(settings, unlearned=0.0))[0].quantum) == {0, 1, 2}
    rare = (planted_with(settings)[0].quantum > 2).mean()
    assert 0 < rare < 0.06
    # of those learned the law is the same
    counts = np.bincount(planted_with(settings)[0].quantum)[:3]
    expected = planted.frequencies(0.4, 3)
    assert np.abs(counts / counts.sum() - expected).max() < 0.08


def test_profiles_bring_opposite_cases_together_and_do_not_see_a_sign():
    found, cosines = planted_with(PARITY)
    _, another, other = pairs(found, cases.profiles(cosines)[1])
    assert another.mean() > other.mean() + 0.5
    signs = np.where(np.random.default_rng(1).random(len(cosines)) < 0.5, -1, 1)
    turned = cosines * signs[:, None] * signs
    np.testing.assert_allclose(cases.profiles(turned)[1], cases.profiles(cosines)[1], atol=1e-6)
    # groups are as large as quanta, not as their cases, which have an eighth
    summaries = cases.summaries(np.clip(cosines, -1, 1))
    sizes = np.sort(np.bincount(found.quantum))[::-1]
    for rank in (1, 2, 3):
        assert summaries[f"group_1_0.7_{rank}"] == pytest.approx(np.log10(sizes[rank - 1] / 400), abs=0.2)


def test_summaries_do_not_see_a_sign_and_take_no_name_of_another_prior():
    _, cosines = planted_with(PARITY)
    ours, theirs = cases.summaries(cosines), simulations.summaries(cosines)
    assert not set(ours) & set(theirs) and np.isfinite(list(ours.values())).all()
    signs = np.where(np.random.default_rng(1).random(len(cosines)) < 0.5, -1, 1)
    assert cases.summaries(cosines * signs[:, None] * signs) == pytest.approx(ours, abs=1e-3)


def test_a_simulation_of_few_quanta_is_the_same_whoever_draws_it():
    whole = cases.simulate(range(6), 60, 24, seed=3)
    part = cases.simulate([4, 1], 60, 24, seed=3)
    pd.testing.assert_frame_equal(whole.iloc[[4, 1]].reset_index(drop=True), part)
    assert whole["planted_learned"].between(2, 24).all() and whole["planted_cases"].between(1, 16).all()
    assert whole["planted_alpha"].nunique() == 6 and (whole["planted_n_tokens"] == 60).all()
    assert not {name for name in simulations.summary_names(whole) if name.startswith("planted")}


def test_one_quantum_is_no_law():
    with pytest.raises(QuantaError, match="1 quanta"):
        cases.from_prior(60, 1, np.random.default_rng(0))
