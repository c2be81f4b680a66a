"""Interventions: a planted unit is taken alone, unrelated tokens take nothing, and whatever is moved is put back."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import planted
import pytest
import torch
from architectures import tiny
from hypothesis import given
from hypothesis import strategies as st
from quanta import arrays
from quanta.errors import QuantaError
from quanta.gradients import neox, parameter_sets
from quanta.gradients.token_gradients import token_gradients
from quanta.interventions import contexts, direction, groups, halves, insertion, moving, removal, scores, transfer
from quanta.models.training import LadderSize, new_model
from support import random_tokens


@pytest.fixture(scope="module")
def bench():
    return planted.bench()


@pytest.fixture(scope="module")
def removed(bench):
    """Cases, their tables and rows: every planted skill taken away, by documents and without common bigrams."""
    made, skill = bench
    cases = [*planted.cases(made, skill), *planted.cases(made, skill, halves.NO_BIGRAM)]
    panel = removal.Panel.of(made, made.document, made.position, 40)
    found = removal.as_tables([removal.remove(made, case, panel, **planted.HOW) for case in cases])
    return cases, *found


def scored(made, cases, tables):
    named = {(c.group.grouping, c.group.number, c.halving): c for c in cases}
    return scores.table(*tables, named, made.target, made.bigram, {}, seed=0)


# ------------------------------------------------------------------------------------------------- planted skills


def test_a_planted_unit_is_taken_alone_also_without_common_bigrams(bench, removed):
    made, _ = bench
    cases, *tables = removed
    table = scored(made, cases, tables)
    assert len(table) == 2 * planted.SKILLS and table["reached"].all()
    assert np.allclose(table["nats"], 2, rtol=0.05)
    assert (table["other"] > 0.5).all() and (table["else"].abs() < 0.05).all()
    assert table["alone"].map(bool).all()
    counts = scores.counts(table)
    assert [(one["halving"], one["alone"], one["groups"]) for one in counts] == [
        (halves.DOCUMENTS, 4, 4),
        (halves.NO_BIGRAM, 4, 4),
    ]
    assert scores.headline(counts).startswith("4 of 4 clusters can be removed alone")


def test_half_of_unrelated_tokens_takes_nothing_from_the_others(bench):
    """Skills 0 and 1 in the first half, 2 and 3 in the second: no skill is shared."""
    made, skill = bench
    first, second = (np.flatnonzero(np.isin(skill, some))[:6] for some in ((0, 1), (2, 3)))
    group = groups.Group(groups.RANDOM, 0, np.sort(np.concatenate([first, second])))
    case = groups.Case(group, halves.DOCUMENTS, first, second)
    panel = removal.Panel.of(made, made.document[:4], made.position[:4], 8)
    table = scored(made, [case], removal.as_tables([removal.remove(made, case, panel, **planted.HOW)]))
    assert table["reached"].all() and abs(table["other"].iloc[0]) < 0.05 and not table["alone"].iloc[0]


@pytest.fixture(scope="module")
def usage(bench):
    made, _ = bench
    return direction.Usage.of(made.model, made.tokens, made.chosen, made.document, made.position, batch_tokens=64)


NOISE = planted.HOW | {
    "draws": 16,
    "seed": 0,
}  # a planted unit has few weights, so that a single noise hits one cue or another


def test_noise_takes_a_planted_unit_alone_and_half_of_unrelated_tokens_takes_nothing(bench, usage):
    made, skill = bench
    first, second = (np.flatnonzero(np.isin(skill, some))[:6] for some in ((0, 1), (2, 3)))
    mixed = groups.Case(
        groups.Group(groups.RANDOM, 0, np.sort(np.concatenate([first, second]))), "documents", first, second
    )
    cases = [*planted.cases(made, skill), mixed]
    panel = removal.Panel.of(made, made.document, made.position, 40)
    tables = removal.as_tables([removal.disturb(made, case, panel, usage, **NOISE) for case in cases])
    table = scored(made, cases, tables)
    assert set(table["kind"]) == {groups.NOISE} and table["reached"].all()
    units = table[table["grouping"] == groups.CLUSTERS]
    assert (units["other"] > 0.8).all() and (
        units["score"] > 0.3
    ).all()  # the opposite of a noise may help, and then breaks more
    alone = int(units["alone"].sum())
    assert alone >= 3 and table["score"].iloc[-1] < 0.05 and not table["alone"].iloc[-1]
    assert f"By noise on the weights that a cluster uses, {alone} of 4 can." in scores.headline(
        scores.counts(table) + scores.counts(table.assign(kind=groups.REMOVAL))
    )
    by_noise = scores.of_clusters(pd.concat([table.assign(kind=groups.REMOVAL), table]))
    np.testing.assert_array_equal(by_noise["removed_by_noise"], by_noise["removed_alone"])


def test_noise_is_as_large_as_the_weights_where_a_half_uses_them_more_and_the_signs_are_drawn(bench, usage):
    made, skill = bench
    first = np.flatnonzero(skill == 1)[:5]
    rows, _ = token_gradients(made.model, made.tokens, made.document, made.position, features=None, parameters="clean")
    root = np.sqrt(np.abs(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(float))
    deviation = root.std(axis=0)
    more = np.divide(
        root[first].mean(axis=0) - root.mean(axis=0), deviation, out=np.zeros(root.shape[1]), where=deviation > 1e-6
    )
    more = np.maximum(more, 0) ** 2
    own = direction.parameters_of(made.model, made.chosen)
    size = more / np.sqrt(np.mean(more**2)) * torch.cat([p.abs().flatten() for p in own]).numpy()
    found = usage.noise(
        made.model, made.tokens, made.chosen, made.document[first], made.position[first], batch_tokens=64
    )
    np.testing.assert_allclose(torch.cat([part.flatten() for part in found]), size, rtol=0.02, atol=0.02 * size.max())
    assert not any(
        part.any() for m, part in zip(made.chosen.members, found, strict=True) if "query_key_value" in m.name
    )
    drawn = [direction.signed(found, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    for one, same, other in zip(*drawn, strict=True):
        assert torch.equal(one, same) and torch.equal(one.abs(), other.abs())
    assert any(not torch.equal(one, other) for one, _, other in zip(*drawn, strict=True))


def test_disjoint_skills_are_two_units_and_the_transfer_is_block_diagonal(bench, removed):
    """Clusters 0 and 4 share skill 0, clusters 1 to 3 have a skill each."""
    made, skill = bench
    labels = skill.copy()
    labels[np.flatnonzero(skill == 0)[::2]] = 4
    cases = [
        groups.Case(groups.Group(groups.CLUSTERS, k, own), halves.DOCUMENTS, own[::2], own[1::2])
        for k in range(5)
        for own in [np.flatnonzero(labels == k)]
    ]
    panel = removal.Panel.of(made, made.document, made.position, 8)
    table, rows = removal.as_tables([removal.remove(made, case, panel, **planted.HOW) for case in cases])
    nats = {(groups.CLUSTERS, int(k)): float(x) for k, x in zip(table["group"], table["nats"], strict=True)}
    between = np.eye(5)
    matrix = transfer.matrix(rows, nats, {groups.CLUSTERS: labels}, {groups.CLUSTERS: between})
    shares = transfer.wide(matrix).to_numpy()
    same = np.eye(5, dtype=bool)
    same[[0, 4], [4, 0]] = True
    assert (shares[same] > 0.5).all() and (np.abs(shares[~same]) < 0.05).all()
    assert transfer.units(matrix)["unit"].tolist() == [0, 1, 2, 3, 0]
    moved = transfer.moves(rows, nats, {groups.CLUSTERS: labels})
    joins = moved[moved["moves"] == "joins"]
    assert set(zip(joins["group"], joins["of"], strict=True)) == {(0, 4), (4, 0)} and "leaves" not in set(
        moved["moves"]
    )


def test_clusters_that_take_next_to_nothing_from_their_own_half_are_no_unit():
    """Clusters 0 and 1 take 1 % from each other and from themselves, clusters 2 and 3 half as much as from themselves."""
    shares = {
        (0, 0): 0.01,
        (0, 1): 0.01,
        (1, 0): 0.01,
        (1, 1): 0.01,
        (2, 2): 0.8,
        (2, 3): 0.4,
        (3, 2): 0.4,
        (3, 3): 0.8,
    }
    rows = [("clusters", i, j, shares.get((i, j), 0.0), 2, 0.1) for i in range(4) for j in range(4)]
    found = transfer.units(pd.DataFrame(rows, columns=pd.Index(transfer.MATRIX)))
    assert found["unit"].tolist() == [0, 1, 2, 2]


def test_what_is_put_in_is_gained_by_the_other_half_alone(bench):
    """At weights that lack skill 1."""
    made, skill = bench
    net = planted.model()
    net.gpt_neox.layers[0].mlp.dense_4h_to_h.weight[:, 1] = 0.0
    there = replace(made, model=net, chosen=parameter_sets.parameter_set(net, "clean"))
    case = next(case for case in planted.cases(made, skill) if case.group.number == 1)
    panel = removal.Panel.of(there, made.document, made.position, 8)
    found = insertion.insert(there, case, panel, **planted.INSERT)
    table = scored(made, [case], removal.as_tables([found]))
    assert table["reached"].all() and table["other"].iloc[0] > 0.6 and abs(table["else"].iloc[0]) < 0.1


def test_a_group_is_inserted_where_it_was_last_unlearned():
    final, group = np.zeros(4), np.array([0, 1])
    earlier = [np.array([5.0, 5, 0, 0]), np.array([3.0, 3, 9, 9]), np.array([1.0, 1, 9, 9])]
    earlier = [np.append(losses, 0.0) for losses in earlier]
    final = np.append(final, 0.0)
    assert groups.checkpoint(group, final, earlier, 2.0) == 1
    assert groups.checkpoint(group, final, earlier[2:], 2.0) is None


def test_no_group_is_inserted_where_a_checkpoint_predicts_next_to_nothing():
    """At the second checkpoint a fifth of the tokens has a loss below one nat, at the first a tenth has."""
    final, group = np.zeros(10), np.array([0, 1])
    barely, enough = np.full(10, 3.0), np.full(10, 3.0)
    barely[9], enough[8:] = 0.9, 0.9
    assert groups.checkpoint(group, final, [barely], 2.0) is None
    assert groups.checkpoint(group, final, [barely, enough], 2.0) == 1
    assert groups.checkpoint(group, final, [enough, barely], 2.0) is None


# --------------------------------------------------------------------------------------------------------- directions


@pytest.mark.parametrize(("kind", "by_autograd"), [("neox", False), ("neox", True), ("gpt2", False), ("gemma2", False)])
@pytest.mark.parametrize("parameters", ["clean", "all"])
def test_the_direction_is_the_average_of_unit_gradients(kind, by_autograd, parameters):
    net = new_model(LadderSize("a", 16, 2, 2), vocabulary=61, context=32, seed=1) if kind == "neox" else tiny(kind)
    net = net.eval().requires_grad_(False)
    vocabulary = min(net.config.vocab_size, 61)
    tokens = random_tokens([9, 14, 20, 5], vocabulary)
    document, position = np.array([0, 1, 2, 2, 3]), np.array([4, 13, 7, 19, 2])
    single, losses = token_gradients(net, tokens, document, position, features=None, parameters=parameters)
    norms = np.linalg.norm(single.astype(float), axis=1)
    expected = (single / norms[:, None]).mean(axis=0)
    chosen = parameter_sets.parameter_set(net, parameters)
    found, nats = direction.summed(
        net, tokens, chosen, document, position, 1 / norms / 5, batch_tokens=48, by_autograd=by_autograd
    )
    flat = torch.cat([part.flatten() for part in found]).numpy()
    assert np.abs(flat - expected).max() < 1e-5 * np.abs(expected).max() + 1e-7
    assert np.allclose(nats, losses, atol=1e-5)
    assert direction.length(found) == pytest.approx(np.linalg.norm(expected), rel=1e-4)
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_noise_and_its_opposite_are_one(bench, usage, monkeypatch):
    """A logit that falls under a noise rises under the opposite one: what one sign alone takes is not taken for a unit."""
    made, skill = bench
    case, panel = planted.cases(made, skill)[0], removal.Panel.of(made, made.document, made.position, 8)
    plain = removal.as_tables([removal.disturb(made, case, panel, usage, **NOISE | {"draws": 2})])
    signed = direction.signed
    monkeypatch.setattr(direction, "signed", lambda sizes, rng: [-part for part in signed(sizes, rng)])
    turned = removal.as_tables([removal.disturb(made, case, panel, usage, **NOISE | {"draws": 2})])
    assert plain[0]["evaluations"].equals(turned[0]["evaluations"]) and plain[0]["evaluations"].item() >= 4
    np.testing.assert_allclose(plain[1]["change_nats"], turned[1]["change_nats"], rtol=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mixtral"])
def test_noise_of_any_architecture_is_larger_where_its_own_gradients_are(kind):
    """Layers that store their weights the other way round, and experts in one tensor, are no exception."""
    net = tiny(kind).eval().requires_grad_(False)
    tokens = random_tokens([9, 14, 20, 5, 12, 7], min(net.config.vocab_size, 61))
    document, position = np.arange(6), np.array([4, 13, 7, 3, 9, 5])
    chosen, where = parameter_sets.parameter_set(net), {"batch_tokens": 48}
    usage = direction.Usage.of(net, tokens, chosen, document, position, **where)
    found = usage.noise(net, tokens, chosen, document[:3], position[:3], **where)
    rows, _ = token_gradients(net, tokens, document, position, features=None)
    root = np.sqrt(np.abs(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(float))
    own = direction.parameters_of(net, chosen)
    assert [part.shape for part in found] == [parameter.shape for parameter in own]
    for member, part, parameter in zip(chosen.members, found, own, strict=True):
        mine = root[:, member.begin : member.begin + member.size]
        more = torch.from_numpy(mine[:3].mean(axis=0) - mine.mean(axis=0)).view_as(parameter)
        assert not part[more < -1e-4].any(), member.name
        assert (part[(more > 1e-3) & (parameter.abs() > 1e-3)] > 0).all(), member.name


def test_losses_of_shared_rows_are_those_of_each_token_alone():
    net = new_model(LadderSize("a", 16, 2, 2), vocabulary=61, context=32, seed=1).eval().requires_grad_(False)
    tokens = random_tokens([9, 14, 20, 5], 61)
    document, position = np.array([2, 0, 2, 1, 3, 2]), np.array([19, 3, 4, 13, 1, 12])
    _, expected = token_gradients(net, tokens, document, position, features=5)
    for batch_tokens in (1, 30, 1000):
        own = contexts.Contexts(tokens, document, position, batch_tokens=batch_tokens)
        assert np.allclose(own.losses(net), expected, atol=1e-5)
    assert len(own.batches[0].ids) < len(document)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("parallel", [True, False])
def test_states_by_hand_are_those_of_the_model(layers, parallel):
    net = new_model(LadderSize("a", 16, layers, 2), vocabulary=61, context=32, seed=1).eval().requires_grad_(False)
    net.config.use_parallel_residual = parallel
    for layer in net.gpt_neox.layers:
        layer.use_parallel_residual = parallel
    ids = torch.randint(0, 61, (3, 12), generator=torch.Generator().manual_seed(0))
    rows, last = torch.tensor([2, 0, 2, 1, 2]), torch.tensor([11, 4, 0, 7, 5])
    found = neox.Neox(net, torch.float32).states(ids, rows, last)
    expected = net(input_ids=ids, output_hidden_states=True).hidden_states[-1][rows, last]
    assert torch.allclose(found, expected, atol=1e-5)


# --------------------------------------------------------------------------------------------------------- step and weights


@given(st.floats(0.01, 100), st.floats(0.3, 3), st.floats(0.2, 5))
def test_a_step_is_found_for_any_rise_that_grows(scale, power, wanted):
    calls = []

    def rise(step):
        calls.append(step)
        return (scale * step) ** power

    found = moving.find_step(rise, wanted, expected=lambda step: step, tolerance=0.05, evaluations=30)
    assert found.reached and abs(found.nats - wanted) <= 0.05 * wanted + 1e-12
    assert found.evaluations == len(calls) and found.nats == pytest.approx((scale * found.step) ** power)


@pytest.mark.parametrize("rise", [lambda s: 0.0, lambda s: min(s, 1.0), lambda s: np.nan, lambda s: -s, lambda s: 9.0])
def test_a_step_that_never_reaches_its_loss_is_said_after_a_bounded_number_of_evaluations(rise):
    calls = []
    found = moving.find_step(
        lambda step: calls.append(step) or rise(step), 2.0, expected=lambda step: step, evaluations=12
    )
    assert not found.reached and len(calls) == found.evaluations == 12
    assert all(np.isfinite(calls)) and min(calls) > 0


def test_the_table_says_what_was_not_reached(bench):
    made, skill = bench
    case = planted.cases(made, skill)[0]
    panel = removal.Panel.of(made, made.document[:4], made.position[:4], 8)
    tables = removal.as_tables([removal.remove(made, case, panel, **planted.HOW | {"nats": 1e6, "evaluations": 3})])
    assert tables[0]["why"].tolist() == ["no step of 3 took 1e+06 nats"]
    table = scored(made, [case], tables)
    assert not table["reached"].any() and table["alone"].isna().all()
    assert scores.counts(table)[0]["alone"] == 0 and scores.counts(table)[0]["groups"] == 1


def test_a_gain_that_is_out_of_reach_is_said_after_a_bounded_number_of_tries(bench):
    made, skill = bench
    case = next(case for case in planted.cases(made, skill) if case.group.number == 1)
    panel = removal.Panel.of(made, made.document[:4], made.position[:4], 8)
    cases, rows = removal.as_tables([insertion.insert(made, case, panel, **planted.INSERT | {"nats": 50.0})])
    assert not cases["reached"].any() and cases["why"].iloc[0].endswith("of 50 nats")
    assert 0 < cases["evaluations"].iloc[0] <= 3 * planted.INSERT["steps"] and len(rows)


def test_what_no_parameter_reaches_is_neither_taken_nor_put_in_and_is_said():
    """An unembedding of zeros: every loss is constant, so every gradient is zero."""
    net = planted.model()
    net.lm_head.weight.zero_()
    made, skill = planted.bench(net)
    assert not made.norms.any()
    case = planted.cases(made, skill)[0]
    panel = removal.Panel.of(made, made.document[:4], made.position[:4], 8)
    cases, _ = removal.as_tables(
        [removal.remove(made, case, panel, **planted.HOW), insertion.insert(made, case, panel, **planted.INSERT)]
    )
    assert not cases["reached"].any() and (cases["why"].str.len() > 0).all()
    assert cases["evaluations"].tolist() == [planted.HOW["evaluations"], 0]
    assert scored(made, [case], (cases, removal.as_tables([])[1]))["alone"].isna().all()


def test_a_parameter_that_never_varies_is_not_moved(bench):
    """Attention of the planted net writes nothing whatever it reads: its queries, keys and values have no gradient."""
    made, skill = bench
    first = planted.cases(made, skill)[0].first
    way, _ = direction.summed(
        made.model, made.tokens, made.chosen, made.document[first], made.position[first], 1 / made.norms[first] / len(first),
        batch_tokens=64,
    )  # fmt: skip
    names = [member.name for member in made.chosen.members]
    still = [name for name, part in zip(names, way, strict=True) if not part.any()]
    assert {name for name in names if "query_key_value" in name} <= set(still) and len(still) < len(names)
    own = direction.parameters_of(made.model, made.chosen)
    before = [parameter.clone() for parameter in own]
    with moving.moving(own) as weights:
        weights.move(way, 1e3)
        same = [name for name, a, b in zip(names, own, before, strict=True) if torch.equal(a, b)]
    assert same == still


def test_weights_are_put_back_to_the_byte_whatever_happens(bench, removed):
    made, _ = bench
    fresh = planted.model().state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in made.model.state_dict().items())
    own = direction.parameters_of(made.model, made.chosen)
    with pytest.raises(RuntimeError, match="inside"), moving.moving(own) as weights:
        weights.move([torch.rand_like(p) for p in own], 0.1)
        weights.add([torch.rand_like(p) for p in own], 0.1)
        assert not torch.equal(own[0], fresh[made.chosen.members[0].name])
        raise RuntimeError("inside")
    assert all(torch.equal(value, fresh[name]) for name, value in made.model.state_dict().items())


# ---------------------------------------------------------------------------------------------------------------- halves


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), min_size=8, max_size=40), st.integers(0, 5))
def test_halves_share_no_document_and_where_asked_no_bigram(places, seed):
    document, bigram = (np.array(column) for column in zip(*places, strict=True))
    group = np.arange(len(places))
    for halving in halves.HALVINGS:
        pair = halves.HOW[halving](group, document, bigram, seed=seed, index=(1, 2))
        if pair is None:
            continue
        first, second = pair
        assert min(len(first), len(second)) >= halves.LEAST and set(first) <= set(group) and set(second) <= set(group)
        assert not set(document[first]) & set(document[second])
        if halving == halves.NO_BIGRAM:
            assert not set(bigram[first]) & set(bigram[second])


def test_a_half_is_cut_to_the_less_context_of_twice_as_many_tokens():
    position = np.random.default_rng(0).permutation(100)
    tokens = np.arange(0, 100, 2)
    chosen = groups.shorter(tokens, position, 5)
    spread = tokens[arrays.evenly(50, 10)]
    assert chosen.tolist() == sorted(spread[np.argsort(position[spread])[:5]].tolist())
    assert groups.shorter(tokens[:4], position, 5).tolist() == tokens[:4].tolist()


def test_tokens_outside_are_of_least_context_and_of_one_role_each(bench):
    made, skill = bench
    case = planted.cases(made, skill)[0]
    found = removal.looked_at(made, case, 2)
    assert found["other"].tolist() == case.second.tolist()
    labels = np.where(np.isin(np.arange(len(skill)), case.group.tokens[:8]), 0, -1)
    case = next(c for c in planted.cases(made, labels) if c.group.number == 0)
    found = removal.looked_at(made, case, 2)
    for role in ("target", "bigram"):
        every = removal.looked_at(made, case, 100)[role]
        assert not set(every) & set(case.group.tokens) and len(found[role]) == min(2, len(every))
        assert sorted(made.position[found[role]]) == sorted(made.position[every])[:2]
    assert not set(found["target"]) & set(found["bigram"]) and len(found["bigram"])


def test_a_cluster_of_one_document_has_no_halves_and_is_said(bench):
    made, _ = bench
    labels = np.repeat([0, 1], [10, len(made.document) - 10])
    document = np.where(labels == 0, 7, made.document + 100)
    table = groups.table(
        groups.of_labels(groups.CLUSTERS, labels, least=8),
        document,
        made.position,
        made.bigram,
        half_tokens=6,
        no_bigram=[],
        seed=0,
    )
    assert table.loc[table["group"] == 0, "token"].tolist() == [-1]
    case = groups.cases(table, {(groups.CLUSTERS, k): np.flatnonzero(labels == k) for k in (0, 1)})[0]
    panel = removal.Panel.of(made, made.document[:4], made.position[:4], 8)
    cases, rows = removal.as_tables([removal.remove(made, case, panel, **planted.HOW)])
    assert cases["why"].tolist() == [removal.NO_HALVES] and not len(rows)
    cases, rows = removal.as_tables([insertion.insert(made, case, panel, **planted.INSERT)])
    assert cases["why"].tolist() == [removal.NO_HALVES] and not len(rows)


def test_parts_hold_every_case_once_and_whole():
    groups_table = pd.DataFrame(
        [("clusters", g, 9, h, half, t, False, "") for g in range(7) for h in halves.HALVINGS for half in (0, 1) for t in range(3)],
        columns=groups.COLUMNS,
    )  # fmt: skip
    for part in (groups.part(groups_table, i, 2) for i in range(2)):  # no job gets one halving alone
        counts = part.drop_duplicates(["group", "halving"])["halving"].value_counts()
        assert set(counts.index) == set(halves.HALVINGS) and counts.max() - counts.min() <= 1
    for number in (1, 2, 5, 20):
        parts = [groups.part(groups_table, i, number) for i in range(number)]
        assert sorted(i for part in parts for i in part.index) == list(groups_table.index)
        names = [set(zip(part["group"], part["halving"], strict=True)) for part in parts]
        assert sum(map(len, names)) == 14


def test_the_panel_holds_what_was_asked_of_each_cluster():
    rng = np.random.default_rng(0)
    document, position, label = rng.integers(0, 40, 300), rng.integers(1, 60, 300), rng.integers(-1, 12, 300)
    chosen, until = groups.panel(document, position, label, each=2, seed=0)
    ends = np.zeros(40, dtype=int)
    ends[chosen] = until
    counts = np.bincount(label[(position <= ends[document]) & (label >= 0)], minlength=12)
    assert len(set(chosen)) == len(chosen) < 40
    assert (counts >= np.minimum(2, np.bincount(label[label >= 0], minlength=12))).all()
    last = np.array([np.isin(p, position[(document == d) & (label >= 0)]) for d, p in zip(chosen, until, strict=True)])
    assert last.all() and ends.sum() < 0.3 * np.bincount(document, minlength=40).clip(max=1) @ np.full(40, 59)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=7), st.integers(1, 900))
def test_no_other_batches_of_contexts_cost_less(lengths, batch_tokens):
    lengths = np.sort(np.array(lengths))[::-1]
    n = len(lengths)

    def cost(cuts):
        padded = [int(lengths[begin]) * (end - begin) for begin, end in itertools.pairwise(cuts)]
        fits = all(
            p <= batch_tokens or end - begin == 1
            for p, (begin, end) in zip(padded, itertools.pairwise(cuts), strict=True)
        )
        return sum(padded) + contexts.A_BATCH * len(padded) if fits else np.inf

    every = ([0, *middle, n] for size in range(n) for middle in itertools.combinations(range(1, n), size))
    assert cost(contexts.cheapest(lengths, batch_tokens)) == min(map(cost, every)) < np.inf


def test_random_groups_have_the_clusters_sizes():
    found = groups.of_labels(groups.CLUSTERS, np.repeat([0, 1, 2, -1], [9, 20, 3, 40]), least=8)
    assert [len(g.tokens) for g in found] == [9, 20]
    random = groups.random_like(found, 72, seed=0)
    assert [len(set(g.tokens)) for g in random] == [9, 20] and all(g.grouping == groups.RANDOM for g in random)


def test_a_clustering_without_the_number_that_is_shown_is_refused():
    table = pd.DataFrame({"n_clusters": [4, 8], "token": [0, 0], "label": [0, 0]})
    with pytest.raises(QuantaError, match=r"labels of second: clusterings of 4, 8 clusters"):
        groups.check_labels("second", table, 16)


# ---------------------------------------------------------------------------------------------------------------- scores


def test_shares_are_of_what_the_first_half_lost_and_intervals_hold_them():
    rng = np.random.default_rng(0)
    change = {"first": rng.normal(2, 0.2, 8), "other": rng.normal(1, 0.2, 8), "else": rng.normal(0, 0.1, 30)}
    found = scores.shares(change, seed=0, index=(1, 2))
    assert found["other"] == pytest.approx(change["other"].mean() / change["first"].mean())
    assert found["other_low"] < found["other"] < found["other_high"] and found["other_n"] == 8
    assert np.isnan(found["target"]) and found["target_n"] == 0
    assert found["score"] == pytest.approx(found["other"] - found["else"])
    with_target = scores.shares(change | {"target": change["other"]}, seed=0, index=(1, 2))
    assert with_target["score"] == pytest.approx(0)


def test_what_is_of_the_group_or_shares_its_targets_is_not_all_else():
    target, bigram = np.array([1, 1, 1, 2, 3, 3]), np.arange(6)
    case = groups.Case(groups.Group("clusters", 0, np.array([0, 1])), "documents", np.array([0]), np.array([1]))
    rows = pd.DataFrame({"role": ["first", "other", "panel", "panel", "panel", "panel", "plain"],
                         "token": [0, 1, 1, 2, 3, 4, -1]})  # fmt: skip
    near = np.array([False, False, False, False, True, True])
    found = scores.roles(rows, case, target, bigram, near)
    assert found.tolist() == ["first", "other", "", "", "else", "near", "plain"]


def test_where_no_step_was_reached_every_table_has_its_columns():
    """A tiny model may lose too little whatever the step: the run then says so and goes on."""
    case = dict.fromkeys(groups.CASES, "") | {
        "kind": groups.REMOVAL, "grouping": groups.CLUSTERS, "group": 0, "halving": halves.DOCUMENTS, "reached": False, "first": 4,
    }  # fmt: skip
    for cases in (pd.DataFrame([case]), pd.DataFrame(columns=list(groups.CASES))):
        rows = pd.DataFrame(columns=list(groups.ROWS))
        table = scores.table(cases, rows, {}, np.array([]), np.array([]), {}, seed=0)
        assert list(table.columns) == [*cases.columns, *scores.COLUMNS] and table["score"].isna().all()
        assert len(scores.of_clusters(table)) == len(cases) and not len(scores.medians(table, {}, seed=0))
        assert scores.headline(scores.counts(table)).startswith("0 of 1 clusters" if len(cases) else "No cluster")


def test_transfer_joins_units_moves_tokens_and_leaves_out_what_is_not_alone():
    label = np.array([0, 0, 0, 1, 1, 2, 2, 3, 3, 4])
    units = pd.DataFrame({"group": [0, 1, 2, 3], "unit": [0, 1, 1, 3]})
    columns = ("token", "group", "moves", "share")
    rows = [
        (0, 0, "leaves", 0.0),
        (9, 3, "joins", 0.6),
        (9, 2, "joins", 0.7),
        (8, 0, "joins", 0.9),
        (8, 3, "leaves", 0.0),
    ]
    moves = pd.DataFrame([dict(zip(columns, row, strict=True)) for row in rows])
    found = transfer.settled(label, units, moves, alone=[2, 3])
    assert {step: labels.tolist() for step, labels in found.items()} == {
        transfer.FOUND: [0, 0, 0, 1, 1, 2, 2, 3, 3, -1],
        transfer.ONE_UNIT: [0, 0, 0, 1, 1, 1, 1, 3, 3, -1],
        transfer.MOVED: [-1, 0, 0, 1, 1, 1, 1, 3, 0, 1],
        transfer.REMOVED_ALONE: [-1, -1, -1, 1, 1, 1, 1, 3, -1, 1],
    }
