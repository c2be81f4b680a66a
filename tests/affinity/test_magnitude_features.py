"""Standardised magnitudes of a model's gradients: two passes are the whole, sketches err as the fold says, shards alter nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradients.test_gradients import DOCUMENTS, POSITIONS, build, documents
from quanta.affinity import magnitude_features, magnitudes
from quanta.errors import QuantaError
from quanta.gradients.parameter_sets import parameter_set
from quanta.gradients.token_gradients import token_gradients
from quanta.known_skills import affinities
from quanta.known_skills.evidence import View
from quanta.losses import batching

TOKENS = documents()
RNG = np.random.default_rng(0)
MANY = RNG.integers(0, 4, size=300)
PLACES = np.array([RNG.integers(1, len(TOKENS[d])) for d in MANY])


def exact(model: Any, where: Any = DOCUMENTS, at: Any = POSITIONS) -> np.ndarray:
    """By the matrix of all gradients."""
    found, _ = token_gradients(model, TOKENS, where, at, features=None, parameters="all")
    return magnitudes.standardised(found)


def two_passes(model: Any, where: Any = DOCUMENTS, at: Any = POSITIONS, **settings: Any) -> np.ndarray:
    over = magnitude_features.statistics(model, TOKENS, where, at, parameters="all")
    settings = {"features": None, "parameters": "all"} | settings
    return magnitude_features.magnitude_features(model, TOKENS, where, at, over, **settings)[0]


def cosines(rows: np.ndarray) -> np.ndarray:
    unit = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return unit @ unit.T


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    off = np.linalg.norm(found.astype(np.float64) - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert off.max() < tolerance


@pytest.mark.parametrize(
    "name", ["neox", "neox sequential", "neox of one block", "gpt2", "llama with biases", "gemma3"]
)
def test_two_passes_are_the_whole(name: str) -> None:
    model = build(name)
    assert_close(two_passes(model), exact(model), 1e-5)


@pytest.mark.parametrize("name", ["neox", "neox without biases"])
@pytest.mark.parametrize("features", [None, 999])
def test_hooks_are_the_own_backward(name: str, features: int | None) -> None:
    """Rounding of the key biases' gradients, which are zero, would be a fifth of the rows."""
    model = build(name)
    assert_close(two_passes(model, features=features, by_hooks=True), two_passes(model, features=features), 1e-5)


def test_a_layer_that_is_used_twice_has_one_gradient() -> None:
    """The magnitude of a sum of two products is not the sum of their magnitudes."""
    model = build("llama with biases")
    model.model.layers[1].mlp = model.model.layers[0].mlp
    assert_close(two_passes(model), exact(model), 1e-5)


def sketches(model: Any, number: int, features: int, where: Any, at: Any) -> list[np.ndarray]:
    """Cosines of sketches of several seeds."""
    over = magnitude_features.statistics(model, TOKENS, where, at)
    return [
        cosines(magnitude_features.magnitude_features(model, TOKENS, where, at, over, features=features, seed=seed)[0])
        for seed in range(number)
    ]


def test_the_sketch_errs_as_the_fold_says() -> None:
    """RMSE of the cosine of 1/√k at most, and none on average: the deviation of a mean over seeds is that of independent ones."""
    model, k = build("neox"), 1999
    rows, _ = token_gradients(model, TOKENS, MANY[:60], PLACES[:60], features=None)
    truth = cosines(magnitudes.standardised(rows))
    off = ~np.eye(len(truth), dtype=bool)
    errors = [(found - truth)[off] for found in sketches(model, 8, k, MANY[:60], PLACES[:60])]
    single = np.sqrt(np.mean(np.square(errors)))
    assert 0.3 < single * k**0.5 < 1.1
    assert np.sqrt(np.mean(np.mean(errors, axis=0) ** 2)) < 1.5 * single / 8**0.5


def test_narrow_sketches_wrap_wide_layers() -> None:
    """With fewer features than a layer has columns."""
    model = build("neox")
    rows, _ = token_gradients(model, TOKENS, DOCUMENTS, POSITIONS, features=None)
    found = np.mean(sketches(model, 60, 13, DOCUMENTS, POSITIONS), axis=0)
    assert np.corrcoef(found.ravel(), cosines(magnitudes.standardised(rows)).ravel())[0, 1] > 0.95


@pytest.mark.parametrize("number", [1, 2, 3])
def test_shards_alter_no_byte(number: int) -> None:
    model = build("neox")
    over = magnitude_features.statistics(model, TOKENS, MANY, PLACES)
    whole, _ = magnitude_features.magnitude_features(model, TOKENS, MANY, PLACES, over, features=999)
    rows = [batching.shard(len(MANY), i, number) for i in range(number)]
    parts = [
        magnitude_features.magnitude_features(model, TOKENS, MANY[r], PLACES[r], over, features=999)[0]
        for r in (slice(r.start, r.stop) for r in rows)
    ]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_statistics_are_over_an_even_part(tmp_path: Path) -> None:
    model = build("neox")
    chosen = np.linspace(0, len(MANY) - 1, 50).round().astype(int)
    found = magnitude_features.statistics(model, TOKENS, MANY, PLACES, samples=50)
    again = magnitude_features.statistics(model, TOKENS, MANY[chosen], PLACES[chosen])
    assert found.mean.tobytes() == again.mean.tobytes() and found.inverse.tobytes() == again.inverse.tobytes()
    found.write(tmp_path / "statistics.npy")
    read = magnitude_features.Statistics.read(tmp_path / "statistics.npy")
    assert read.mean.tobytes() == found.mean.tobytes() and read.inverse.tobytes() == found.inverse.tobytes()


def test_without_statistics_they_are_raw_magnitudes() -> None:
    model = build("gpt2")
    rows, _ = token_gradients(model, TOKENS, DOCUMENTS, POSITIONS, features=None)
    over = magnitude_features.Statistics.none(rows.shape[1])
    found, losses = magnitude_features.magnitude_features(model, TOKENS, DOCUMENTS, POSITIONS, over, features=None)
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    assert_close(found, magnitudes.raw(rows) / lengths, 1e-5)
    np.testing.assert_allclose(losses, token_gradients(model, TOKENS, DOCUMENTS, POSITIONS, features=9)[1])


def test_statistics_of_another_model_are_refused() -> None:
    over = magnitude_features.Statistics.none(17)
    with pytest.raises(QuantaError, match="17 parameters"):
        magnitude_features.magnitude_features(build("neox"), TOKENS, DOCUMENTS, POSITIONS, over)


# ------------------------------------------------------------------------- the first attention layer alone

ALIKE = ["neox", "neox sequential", "neox of one block", "gpt2", "llama with biases", "gemma3"]
LAYER = {"neox": ".0.attention.", "gpt2": ".0.attn.", "llama with biases": ".0.self_attn.", "gemma3": ".0.self_attn."}


def of_the_layer(model: Any, where: Any = DOCUMENTS, at: Any = POSITIONS) -> list[np.ndarray]:
    """√|g| of unit gradients of each weight and bias of the layer, standardised, rows of length 1: from all gradients."""
    rows, _ = token_gradients(model, TOKENS, where, at, features=None, parameters="clean")
    rows, found, places = rows.astype(np.float64), [], parameter_set(model, "clean").places()
    names = {name for name in places if any(layer in name for layer in LAYER.values())}
    layer = np.concatenate([rows[:, place] for name, place in places.items() if name in names], axis=1)
    for name in (name for name in places if name in names):
        part = np.abs(rows[:, places[name]])
        length = np.linalg.norm(part, axis=1, keepdims=True)
        if (
            np.mean((length / np.linalg.norm(layer, axis=1, keepdims=True)) ** 2)
            < 1e-10 * part.shape[1] / layer.shape[1]
        ):
            continue
        block = np.sqrt(part / np.maximum(length, 1e-30))  # nothing is chosen where a context has one token
        mean, power = block.mean(axis=0), (block**2).mean(axis=0)
        kept = power > 1e-5 * power.mean()
        block = (block - mean)[:, kept] / block.std(axis=0)[kept]
        found.append(block / np.linalg.norm(block, axis=1, keepdims=True))
    return found


def attention(model: Any, where: Any = DOCUMENTS, at: Any = POSITIONS, **settings: Any) -> np.ndarray:
    over = magnitude_features.statistics(model, TOKENS, where, at, kind="attention")
    settings = {"features": None, "kind": "attention"} | settings
    return magnitude_features.magnitude_features(model, TOKENS, where, at, over, **settings)[0]


@pytest.mark.parametrize("name", ALIKE)
def test_two_passes_over_the_first_attention_are_the_mean_of_its_blocks(name: str) -> None:
    """Blocks of rounding, as the biases of keys are, weigh nothing."""
    model = build(name)
    blocks = of_the_layer(model)
    expected = np.mean([block @ block.T for block in blocks], axis=0)
    assert len(blocks) == (8 if name == "llama with biases" else 4)
    np.testing.assert_allclose(cosines(attention(model)), expected, atol=2e-4)
    np.testing.assert_allclose(cosines(attention(model, by_hooks=True)), expected, atol=2e-4)


def test_it_is_the_affinity_of_the_benchmark() -> None:
    model = build("neox without biases")
    rows, _ = token_gradients(model, TOKENS, DOCUMENTS, POSITIONS, features=None)
    view = View(rows, rows, parameter_set(model, "paper").places())
    np.testing.assert_allclose(cosines(attention(model)), affinities.first_attention(view), atol=1e-4)


def test_a_sketch_of_the_first_attention_errs_little() -> None:
    model, where, at = build("neox"), MANY[:60], PLACES[:60]
    over = magnitude_features.statistics(model, TOKENS, where, at, kind="attention")
    exact_one = cosines(attention(model, where, at))
    off = ~np.eye(60, dtype=bool)
    for features, bound in ((10**6, 1e-6), (999, 0.04)):
        settings = {"kind": "attention", "features": features}
        found, _ = magnitude_features.magnitude_features(model, TOKENS, where, at, over, **settings)
        assert found.shape[1] <= max(features, 0) and np.abs((cosines(found) - exact_one)[off]).std() < bound


def test_features_are_shared_out_between_blocks() -> None:
    assert magnitude_features.shares([4, 100, 40, 400], None) == [None] * 4
    assert magnitude_features.shares([4, 100, 40, 400], 544) == [None] * 4
    assert magnitude_features.shares([4, 100, 40, 400], 300) == [None, None, None, 155]
    assert magnitude_features.shares([400, 4, 300], 104) == [49, None, 49]


def test_shards_of_the_first_attention_alter_no_byte() -> None:
    model = build("neox")
    over = magnitude_features.statistics(model, TOKENS, MANY, PLACES, kind="attention")
    settings = {"kind": "attention", "features": 99}
    whole, losses = magnitude_features.magnitude_features(model, TOKENS, MANY, PLACES, over, **settings)
    parts = [batching.shard(len(MANY), i, 2) for i in range(2)]
    found = [
        magnitude_features.magnitude_features(
            model, TOKENS, MANY[r.start : r.stop], PLACES[r.start : r.stop], over, **settings
        )
        for r in parts
    ]
    assert np.concatenate([rows for rows, _ in found]).tobytes() == whole.tobytes()
    assert np.concatenate([nats for _, nats in found]).tobytes() == losses.tobytes()
