"""Evidence of nets: parity with its tasks, the made language, and a net of two disjoint skills."""

import dataclasses

import numpy as np
import pytest
from quanta.errors import QuantaError
from quanta.known_skills import affinities, benchmark, language_set, parity_set
from quanta.known_skills.language import VOCABULARY, Language
from quanta.models import training
from quanta.parity.sparse_parity import ParityProblem

SETTINGS = {"nets": 2, "steps": 1500, "batch_size": 200, "learning_rate": 0.02}
BEST = {"affinities": ["√|g|, attention, all nets"], "assignments": ["average linkage"]}


@pytest.fixture(scope="module")
def two_skills():
    """Two tasks on bits of their own, k = 2 of 4: the seed gives {0, 1} and {2, 3} or the like."""
    seed = next(
        s for s in range(50) if not set.intersection(*map(set, ParityProblem(2, 4, 2, 0.4, s).subsets.tolist()))
    )
    return parity_set.train(ParityProblem(2, 4, 2, 0.4, seed), width=24, **SETTINGS)


def test_a_net_with_two_disjoint_skills_gives_two_units(two_skills):
    found = parity_set.evidence(two_skills, 20)
    scores = benchmark.table(found, **BEST)
    best = scores[(scores["truth"] == "skill") & (scores["assignment"] == "average linkage")]
    assert best["n_clusters"].item() == 2
    assert best["adjusted_rand"].item() > 0.95
    surface = scores[(scores["truth"] == "skill") & (scores["assignment"] == benchmark.SURFACE)]
    assert surface["adjusted_rand"].max() < 0.2


def test_parity_without_the_code_has_no_gradient_of_it(two_skills):
    whole = parity_set.evidence(two_skills, 10)
    bare = parity_set.without_code(whole)
    n_tasks, width = 2, 24
    removed = n_tasks * width
    np.testing.assert_array_equal(bare.views[0].gradients, whole.views[0].gradients[:, removed:])
    assert sum(w.stop - w.start for w in bare.views[0].blocks.values()) == bare.views[0].gradients.shape[1] - 2
    assert bare.context.shape[1] == 4


def test_checkpoints_are_the_first_net_at_its_earlier_steps(two_skills):
    found = parity_set.evidence(two_skills, 10, checkpoints=True)
    assert len(found.earlier) == len(two_skills.earlier) - 1 == found.curves.shape[1] - 1
    assert parity_set.evidence(two_skills, 10).earlier == ()
    bare = parity_set.without_code(found)
    assert {view.gradients.shape for view in (*bare.earlier, *bare.views[:1])} == {bare.views[0].gradients.shape}
    assert set(bare.views[0].weights) == {"bits", "output"}


def test_activation_times_gradient_of_parity_is_that_of_its_units(two_skills):
    """Units feed two logits alone: h·∂h is e·u·h, and the same from what the units read, but for the bias."""
    found = parity_set.evidence(two_skills, 10)
    (view, *_), net = found.views, two_skills.nets[0]
    width = len(net["bias"])
    bits, output = (affinities.contributions(dataclasses.replace(view, weights={n: view.weights[n]})) for n in ("bits", "output"))  # fmt: skip
    code = affinities.contributions(dataclasses.replace(view, weights={"code": view.weights["code"]}))
    biases = view.gradients[:, view.blocks["bias"]] * net["bias"]
    np.testing.assert_allclose(bits[:, 4:] + code[:, :width] + biases, output[:, :width], atol=1e-6)


def test_nets_that_have_learned_nothing_are_refused():
    with pytest.raises(QuantaError, match="all 2 nets have learned"):
        parity_set.train(ParityProblem(4, 10, 3, 0.4, 0), width=8, **SETTINGS | {"steps": 2})


@pytest.fixture(scope="module")
def small_nets():
    """Two small nets, trained for a moment: few skills, enough for the shapes."""
    recipe = dataclasses.replace(language_set.RECIPE, steps=60, batch=8)
    return {seed: language_set.train(Language(3), seed, recipe, steps=(20,)) for seed in (0, 1)}


def test_nets_are_read_as_they_were_written(small_nets, tmp_path):
    language_set.write(tmp_path / "nets.npz", small_nets)
    found = language_set.read(tmp_path / "nets.npz")
    assert {seed: sorted(steps) for seed, steps in found.items()} == {0: [20, 60], 1: [20, 60]}
    name = "gpt_neox.layers.0.mlp.dense_h_to_4h.weight"
    np.testing.assert_allclose(found[1][60][name], small_nets[1][60][name].numpy(), atol=1e-3)
    first, second = (language_set.net(found[0][60], seed) for seed in (0, 1))
    ids = Language(3).texts(2, 64, part=1).ids
    np.testing.assert_array_equal(language_set.losses(first, ids)[0], language_set.losses(second, ids)[0])


def test_gradients_of_a_language_have_the_shapes_of_its_matrices(small_nets):
    """Activation × gradient of a matrix sums to the same over what it reads and over what it writes."""
    language = Language(3)
    chosen = language_set.Sampled(language.texts(4, 64, part=1), np.array([0, 1, 3]), np.array([9, 20, 40]), np.ones(1, dtype=bool))  # fmt: skip
    view = language_set._view(language_set.net(small_nets[0][60], 0), chosen)
    assert set(view.weights) == set(view.blocks) and len(view.weights) == 8
    for name, weight in view.weights.items():
        one = affinities.contributions(dataclasses.replace(view, weights={name: weight}))
        columns = weight.shape[1]
        np.testing.assert_allclose(one[:, :columns].sum(axis=1), one[:, columns:].sum(axis=1), rtol=1e-3, atol=1e-4)


def test_losses_and_states_of_samples_are_those_of_all_texts(small_nets):
    language, model = Language(3), language_set.net(small_nets[0][60], 0)
    chosen = language_set.Sampled(language.texts(130, 64, part=1), np.array([129, 3, 3]), np.array([9, 20, 40]), np.ones(1, dtype=bool))  # fmt: skip
    whole = language_set.losses(model, chosen.texts.ids)
    for found, every in zip(language_set._at(model, chosen), whole, strict=True):
        np.testing.assert_allclose(found, every[chosen.documents, chosen.positions - 1], rtol=1e-4, atol=1e-5)


def test_a_file_that_holds_no_nets_is_named(tmp_path):
    (tmp_path / "nets.npz").write_bytes(b"no zip")
    with pytest.raises(QuantaError, match=r"nets\.npz"):
        language_set.read(tmp_path / "nets.npz")


def test_an_untrained_net_predicts_no_skill():
    with pytest.raises(QuantaError, match="0 skills with 5 samples"):
        language_set.sample(Language(3), [language_set.net(None, 0)], 5, documents=20)


def test_training_is_the_same_for_a_seed():
    recipe = dataclasses.replace(language_set.RECIPE, steps=3, batch=4)
    size = training.LadderSize("tiny", 16, 1, 2)
    one, two = (language_set.train(Language(3), 0, recipe, size)[3] for _ in range(2))
    assert all((one[name] == two[name]).all() for name in one)
    assert one["gpt_neox.embed_in.weight"].shape == (VOCABULARY, 16)
