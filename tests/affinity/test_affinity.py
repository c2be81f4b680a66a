"""Cosines: symmetric to the bit, of unit diagonal, the same for any shards and blocks; exact ones by any way."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from quanta.affinity import cosine, exact, under_model
from quanta.corpus.encoding import as_tokens
from quanta.errors import QuantaError
from quanta.gradients.parameter_sets import parameter_set
from quanta.gradients.token_gradients import token_gradients
from quanta.models.training import LadderSize, new_model
from quanta.storage import files


def features(n: int = 150, k: int = 300, seed: int = 0) -> np.ndarray:
    """Rows of very different lengths, some nearly parallel."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, k)) + 3 * rng.normal(size=(10, k))[rng.integers(0, 10, size=n)]
    return (rows * np.exp(rng.normal(scale=6, size=(n, 1)))).astype(np.float32)


def cosine_of(shards: list[np.ndarray], **settings: Any) -> np.ndarray:
    n = sum(map(len, shards))
    out = np.full((n, n), np.nan, dtype=np.float32)
    cosine.cosine(shards, out, **settings)
    return out


def assert_is_cosine(matrix: np.ndarray) -> None:
    assert matrix.dtype == np.float32
    assert (matrix == matrix.T).all()
    assert (np.diagonal(matrix) == 1).all()
    assert (np.abs(matrix) <= 1).all()


def test_cosine_is_that_of_float64() -> None:
    rows = features()
    unit = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    for block in (None, 16, 37, 150):
        found = cosine_of([rows], block=block)
        assert_is_cosine(found)
        np.testing.assert_allclose(found, unit @ unit.T, atol=1e-6)


def test_shards_do_not_alter_bytes() -> None:
    rows = features()
    whole = cosine_of([rows], block=64)
    assert cosine_of([rows[:1], rows[1:1], rows[1:77], rows[77:]], block=64).tobytes() == whole.tobytes()


def test_scale_of_a_row_alters_nothing() -> None:
    """By powers of two, which float32 takes without rounding: cosines stay the same to the last bit but one."""
    rows = features()
    scaled = rows * 2.0 ** np.random.default_rng(1).integers(-20, 20, size=(len(rows), 1))
    np.testing.assert_allclose(cosine_of([scaled.astype(np.float32)]), cosine_of([rows]), atol=2e-7)


def test_norms_of_long_gradients_give_a_unit_diagonal() -> None:
    """A float32 sum over millions of elements is off by 0.1 %; the diagonal must be 1 within 1e-6 before it is set."""
    rows = np.random.default_rng(0).standard_normal((2, 3_000_000), dtype=np.float32)
    rows[1] += 100  # large equal terms, the hardest to sum
    unit = cosine.unit_rows(rows)
    np.testing.assert_allclose(np.einsum("ij,ij->i", unit, unit, dtype=np.float64), 1, atol=1e-6)


def test_norms_in_the_cosine_are_summed_in_float64() -> None:
    """A million squares, each too small for a float32 sum that holds the large ones: together 0.1 % of it."""
    rows = np.full((2, 2**20), 3e-5, dtype=np.float32)
    rows[:, :512] = 1 / np.sqrt(512)
    rows[1, 512:] = 0  # the product has the large ones alone
    wanted = rows[0].astype(np.float64) @ rows[1] / np.prod(np.linalg.norm(rows.astype(np.float64), axis=1))
    assert wanted < 0.9997
    np.testing.assert_allclose(cosine_of([rows])[0, 1], wanted, atol=3e-6)


def test_memory_map_and_small_budget(tmp_path: Path) -> None:
    rows = features()
    with files.new_array(tmp_path / "affinity.npy", (150, 150), "float32") as out:
        cosine.cosine([rows], out, memory_bytes=1)
    assert_is_cosine(cosine.read_affinity(str(tmp_path / "affinity.npy")))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_gradient_without_direction_is_refused(value: float) -> None:
    rows = features()
    rows[37] = value
    with pytest.raises(QuantaError, match="token 37"):
        cosine_of([rows])


def test_angular_similarity() -> None:
    found = cosine.angular(np.array([[1, 0], [-1, 1.0000001]], dtype=np.float32))
    np.testing.assert_allclose(found, [[1, 0.5], [0, 1]], atol=1e-12)


# ------------------------------------------------------------------------------------------ exact


@pytest.fixture(scope="module")
def model() -> Any:
    return new_model(LadderSize("tiny", 16, 2, 2), vocabulary=50, context=32, seed=0).eval()


DOCUMENTS = [[int(i) for i in np.random.default_rng(d).integers(0, 50, size=20)] for d in range(8)]
WHERE = [0, 1, 1, 2, 3, 4, 4, 4, 5, 6, 7, 7, 0]
POSITIONS = [3, 19, 5, 1, 12, 8, 7, 2, 15, 4, 9, 10, 18]


def test_exact_cosines_are_the_same_by_every_way(model: Any, tmp_path: Path) -> None:
    rows, nats = token_gradients(model, DOCUMENTS, WHERE, POSITIONS, features=None)
    unit = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    row = 4 * parameter_set(model).count
    for way, held in (("memory", 13), ("recompute", 5), ("recompute", 2), ("spill", 5), ("spill", 2)):
        out = np.empty((13, 13), dtype=np.float32)
        settings = {"memory_bytes": held * row, "way": way, "scratch": tmp_path}
        losses, taken = exact.exact_cosines(model, DOCUMENTS, WHERE, POSITIONS, out, **settings)
        assert taken.way == way
        assert_is_cosine(out)
        np.testing.assert_allclose(out, unit @ unit.T, atol=1e-6)
        np.testing.assert_allclose(losses, nats, atol=1e-5)
    assert not list(tmp_path.iterdir())  # scratch is left clean


def test_the_cheaper_way_is_chosen() -> None:
    """Pythia-70m, 10⁴ tokens: a fast disk beats computing again, a slow or a small one does not."""
    settings = {"memory_bytes": 16 * 2**30, "seconds_per_gradient": 0.25}
    large = {"scratch_bytes": 10**12}
    fast = exact.plan(10_000, 18_903_040, **settings, **large, scratch_bytes_per_second=1e9)
    slow = exact.plan(10_000, 18_903_040, **settings, **large, scratch_bytes_per_second=1e6)
    small = exact.plan(10_000, 18_903_040, **settings, scratch_bytes=10**11, scratch_bytes_per_second=1e9)
    assert (fast.way, slow.way, small.way) == ("spill", "recompute", "recompute")
    assert exact.plan(100, 18_903_040, **settings, scratch_bytes=0, scratch_bytes_per_second=0).way == "memory"
    # N (n + 1) / 2 gradients, n tiles
    tiles = 10_000 / (fast.rows * 7 / 8)
    assert fast.seconds["recompute"] == pytest.approx(0.25 * 10_000 * (tiles + 1) / 2, rel=0.02)
    with pytest.raises(QuantaError, match="memory for two gradients"):
        exact.plan(100, 18_903_040, **settings | {"memory_bytes": 10**8}, scratch_bytes=0, scratch_bytes_per_second=0)


def test_rounded_products_become_an_affinity() -> None:
    found = cosine.settled(np.array([[1.1, 0.4, -2.0], [0.2, 0.9, 0.0], [-2.0, 0.0, 1.0]]))
    assert found.dtype == np.float32 and (found == found.T).all() and (np.diagonal(found) == 1).all()
    assert found[0, 1] == np.float32(0.3) and found[0, 2] == -1


@pytest.mark.parametrize("memory_bytes", [None, 10**9])
def test_cosines_under_a_model_are_sketched_or_exact_as_the_memory_says(model: Any, memory_bytes: int | None) -> None:
    """Sketched without a memory for exact gradients; either way those of the two stages called one by one."""
    selection = pd.DataFrame({"document": WHERE, "position": POSITIONS})
    params = SimpleNamespace(
        parameters="paper",
        precision="float32",
        batch_tokens=512,
        features=64,
        seed=3,
        memory_bytes=memory_bytes,
        other=1,
    )
    making, n = under_model.Making.of(params), len(selection)
    out, expected = np.empty((n, n), dtype=np.float32), np.empty((n, n), dtype=np.float32)
    making.cosines(model, as_tokens(DOCUMENTS), selection, out)
    if memory_bytes is None:
        cosine.cosine([making.sketch(model, as_tokens(DOCUMENTS), selection)], expected)
    else:
        exact.exact_cosines(model, DOCUMENTS, WHERE, POSITIONS, expected, memory_bytes=memory_bytes)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    assert making.sketch(model, as_tokens(DOCUMENTS), selection).shape == (n, 64)
