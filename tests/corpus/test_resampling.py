import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quanta.corpus import resampling
from quanta.errors import QuantaError
from quanta.storage import files

GROUPS = st.lists(st.integers(0, 6), min_size=2, max_size=60)


def test_documents_of_one_source_are_one_text_in_the_corpus_order(tmp_path):
    table = pd.DataFrame({"document": range(5), "source": ["z", "z", "a", "z", "b"]})
    files.write_table(tmp_path / "documents.parquet", table)
    assert resampling.texts_of_documents(tmp_path / "documents.parquet", 5).tolist() == [0, 0, 1, 0, 2]
    with pytest.raises(QuantaError, match="5 documents") as caught:
        resampling.texts_of_documents(tmp_path / "documents.parquet", 6)
    assert "6, as the offsets say" in caught.value.expected


def test_groups_that_are_not_one_an_item_are_refused():
    assert resampling.numbered(np.array([7, 3, 7]), 3).tolist() == [0, 1, 0]
    assert resampling.numbered(None, 3).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="2 groups of 3 items"):
        resampling.numbered(np.array([0, 1]), 3)


@given(groups=GROUPS, seed=st.integers(0, 99))
def test_a_half_is_made_of_whole_groups_and_is_as_near_to_a_half_as_its_order_allows(groups, seed):
    own = resampling.numbered(np.array(groups), len(groups))
    chosen = resampling.half(own, np.random.default_rng(seed))
    inside = np.zeros(len(own), dtype=bool)
    inside[chosen] = True
    assert len(chosen) and (np.diff(chosen) > 0).all()
    assert all(inside[own == group].all() or not inside[own == group].any() for group in own)
    assert abs(len(chosen) - len(own) // 2) <= np.bincount(own).max()


def test_a_half_of_single_tokens_is_exactly_half_of_them():
    for n in (2, 7, 100):
        assert len(resampling.half(np.arange(n), np.random.default_rng(n))) == n // 2


def test_without_groups_the_error_of_a_mean_is_the_usual_one():
    values = np.random.default_rng(0).exponential(size=50)
    assert resampling.deviation_of_mean(values) == pytest.approx(values.std(ddof=1) / np.sqrt(50))
    assert np.isnan(resampling.deviation_of_mean(values, np.zeros(50)))


def test_each_draw_takes_as_many_groups_as_there_are():
    drawn = resampling.weights(9, 400, np.random.default_rng(0))
    assert (drawn.sum(axis=1) == 9).all() and abs(drawn.mean(axis=0) - 1).max() < 0.2
    assert drawn.var() == pytest.approx(8 / 9, rel=0.1)
