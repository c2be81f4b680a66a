import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quanta.errors import QuantaError
from quanta.gradients import selection
from quanta.storage import files
from support import tokens_of

DOCUMENTS = st.lists(st.lists(st.integers(0, 2), max_size=25), min_size=1, max_size=6)


def closes_an_earlier_trigram(document, position):
    """The definition: the trigram that ends here ended already at an earlier position."""
    trigram = document[position - 2 : position + 1]
    return position >= 2 and any(document[s - 2 : s + 1] == trigram for s in range(2, position))


def without_copies(places, documents):
    """The first of all (document, position) that have the same tokens up to and with their own."""
    seen, kept = set(), []
    for place in places:
        beginning = tuple(documents[place[0]][: place[1] + 1])
        if beginning not in seen:
            seen.add(beginning)
            kept.append(place)
    return kept


@given(document=st.lists(st.integers(0, 2), max_size=60))
def test_induction_is_its_definition(document):
    expected = [closes_an_earlier_trigram(document, t) for t in range(len(document))]
    assert selection.induction(np.array(document, dtype=np.uint16)).tolist() == expected


@given(document=st.lists(st.sampled_from([0, 1, 2**16 - 1, 2**16, 2**21 - 1]), max_size=40))
def test_induction_tells_large_token_ids_apart(document):
    expected = [closes_an_earlier_trigram(document, t) for t in range(len(document))]
    assert selection.induction(np.array(document, dtype=np.uint32)).tolist() == expected


def test_every_bit_of_all_three_ids_tells_trigrams_apart():
    """The first and last bits of each, where ids that are packed too close would meet."""
    trigrams = list(itertools.product([0, 1, 2**20, 2**21 - 1], repeat=3))
    for one, other in itertools.product(trigrams, repeat=2):
        closes = selection.induction(np.array([*one, 7, 9, *other], dtype=np.uint32))
        assert closes[-1] == (one == other), (one, other)


def test_induction_refuses_ids_that_it_would_mix_up():
    with pytest.raises(ValueError, match="21 bits"):
        selection.induction(np.array([1, 2, 3, 2**21], dtype=np.uint32))


@settings(max_examples=200)
@given(documents=DOCUMENTS, seed=st.integers(0, 2**32 - 1), keep=st.booleans())
def test_selection_against_brute_force(documents, seed, keep):
    tokens = tokens_of(documents)
    losses = np.random.default_rng(seed).exponential(0.1, len(tokens.ids)).astype(np.float32)
    losses[~tokens.predicted()] = np.nan
    expected, copied, flat = [], 0, 0
    for d, document in enumerate(documents):
        for position in range(len(document)):
            if position > 0 and losses[flat] < 0.1:
                again = closes_an_earlier_trigram(document, position)
                copied += again
                if keep or not again:
                    expected.append((d, position, document[position], losses[flat]))
            flat += 1
    candidates = len(expected)
    kept = set(without_copies([place[:2] for place in expected], documents))
    expected = [place for place in expected if place[:2] in kept]
    table, counts = selection.select(losses, tokens, threshold=0.1, limit=10**6, keep_induction=keep)
    columns = ["document", "position", "token_id", "loss_nats"]
    assert list(table[columns].itertuples(index=False, name=None)) == expected
    assert table["token"].tolist() == list(range(len(expected)))
    assert counts["by_induction"] == copied
    assert counts["repeated"] == candidates - len(expected)
    assert counts["predictions"] == sum(max(len(d) - 1, 0) for d in documents)
    assert counts["selected"] == counts["candidates"] == len(expected)


@given(documents=DOCUMENTS)
def test_document_and_position_survive_empty_documents(documents):
    tokens = tokens_of(documents)
    document, position = tokens.place(np.arange(len(tokens.ids)))
    there = [(d, p) for d, ids in enumerate(documents) for p in range(len(ids))]
    assert list(zip(document.tolist(), position.tolist(), strict=True)) == there
    assert (position < tokens.lengths[document]).all()
    assert np.flatnonzero(~tokens.predicted()).tolist() == np.flatnonzero(position == 0).tolist()


def test_a_loss_at_the_threshold_is_not_below_it():
    tokens = tokens_of([range(5)])
    losses = np.array([np.nan, 0.25, 0.125, 0.5, 0.25], dtype=np.float32)
    table, counts = selection.select(losses, tokens, threshold=0.25, limit=9)
    assert table["position"].tolist() == [2] and counts["below_threshold"] == 1


def test_many_low_losses_are_selected_as_few_are():
    """More than a thousand candidates take another way through the table of documents."""
    rng = np.random.default_rng(0)
    documents = [rng.integers(0, 3, n).tolist() for n in rng.integers(0, 60, 80)]
    tokens = tokens_of(documents)
    losses = np.where(tokens.predicted(), 0.05, np.nan).astype(np.float32)
    table, counts = selection.select(losses, tokens, threshold=0.1, limit=10**6)
    assert counts["below_threshold"] > 1000
    expected = [
        (d, p)
        for d, document in enumerate(documents)
        for p in range(1, len(document))
        if not closes_an_earlier_trigram(document, p)
    ]
    assert list(zip(table["document"], table["position"], strict=True)) == without_copies(expected, documents)


def test_a_context_that_two_documents_begin_with_is_selected_once():
    """A licence at the head of two files: the same tokens before the same target have the same gradient."""
    licence = list(range(10, 30))
    documents = [[*licence, 1, 2], [5, *licence], [*licence, 3, 4], [], licence, [7]]
    tokens = tokens_of(documents)
    losses = np.where(tokens.predicted(), 0.05, np.nan).astype(np.float32)
    table, counts = selection.select(losses, tokens, threshold=0.1, limit=99)
    contexts = [tuple(documents[d][: p + 1]) for d, p in zip(table["document"], table["position"], strict=True)]
    assert len(set(contexts)) == len(contexts) == 21 + 20 + 2
    assert counts["repeated"] == 19 + 19
    assert set(table.loc[table["document"] == 2, "position"]) == {20, 21}, "what differs is kept"
    as_published = selection.select(losses, tokens, threshold=0.1, limit=99, as_published=True)[1]
    assert as_published["repeated"] == 0 and as_published["selected"] == 81, "the public code keeps them"


def test_beginnings_whose_hashes_clash_are_told_apart(monkeypatch):
    monkeypatch.setattr(selection, "_beginnings", lambda document: np.zeros(len(document), dtype=np.uint64))
    tokens = tokens_of([[1, 2, 3], [1, 2, 4], [5, 2, 3]])
    assert selection.repeated(np.flatnonzero(tokens.predicted()), tokens).tolist() == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]


def test_the_hash_of_a_beginning_knows_order_and_length():
    one = selection._beginnings(np.array([1, 2, 3, 3], dtype=np.uint16))
    other = selection._beginnings(np.array([2, 1, 3, 3], dtype=np.uint16))
    assert len({*one.tolist(), *other.tolist()}) == 8


@given(limit=st.integers(1, 60))
def test_a_limit_spreads_evenly_from_the_first_candidate_to_the_last(limit):
    tokens = tokens_of([range(60)])
    losses = np.where(tokens.predicted(), 0.01, np.nan).astype(np.float32)
    table, counts = selection.select(losses, tokens, threshold=0.1, limit=limit)
    position = table["position"].to_numpy()
    assert len(table) == min(limit, 59) == counts["selected"]
    assert position[0] == 1 and (limit == 1 or position[-1] == 59)
    gaps = np.diff(position)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1
    assert len(set(position)) == len(position)


def test_too_few_tokens_are_named_with_their_number_and_both_ways_out():
    with pytest.raises(QuantaError) as caught:
        selection.check_enough(57, 100, 0.1)
    error = caught.value
    assert "57 tokens" in error.found and "100" in error.expected
    assert "raise qdg.threshold" in error.mend and "n_clusters below 57" in error.mend
    with pytest.raises(QuantaError):
        selection.check_enough(100, 100, 0.1)
    selection.check_enough(101, 100, 0.1)
    with pytest.raises(QuantaError, match="at least 40") as caught:
        selection.check_enough(0, 100, 0.1)
    assert "n_clusters" not in caught.value.mend, "no number of clusters is below 0"
    with pytest.raises(QuantaError, match="at least 40"):
        selection.check_enough(39, 3, 0.1)


@pytest.mark.parametrize(
    ("column", "row", "value"),
    [("token_id", 1, 99), ("position", 0, 0), ("position", 2, 40), ("document", 1, 2), ("document", 1, -1)],
)
def test_a_selection_that_names_another_token_is_refused(tmp_path, column, row, value):
    tokens = tokens_of([range(20), range(20, 40)])
    losses = np.where(tokens.predicted(), 0.01, np.nan).astype(np.float32)
    table, _ = selection.select(losses, tokens, threshold=0.1, limit=10)
    path = tmp_path / "tokens.parquet"
    files.write_table(path, table)
    assert selection.read_selection(str(path), tokens).equals(table)
    table.loc[row, column] = value
    files.write_table(path, table)
    with pytest.raises(QuantaError, match=f"row {row} names document") as caught:
        selection.read_selection(str(path), tokens)
    assert caught.value.where == str(path)


def test_an_empty_selection_or_one_without_a_column_is_refused(tmp_path):
    tokens = tokens_of([range(20)])
    losses = np.where(tokens.predicted(), 0.01, np.nan).astype(np.float32)
    table, _ = selection.select(losses, tokens, threshold=0.1, limit=5)
    files.write_table(tmp_path / "tokens.parquet", table.iloc[:0])
    with pytest.raises(QuantaError, match="no rows"):
        selection.read_selection(str(tmp_path / "tokens.parquet"), tokens)
    files.write_table(tmp_path / "tokens.parquet", table.drop(columns="position"))
    with pytest.raises(QuantaError, match="position"):
        selection.read_selection(str(tmp_path / "tokens.parquet"), tokens)


def test_gradients_of_other_weights_than_the_selections_are_refused():
    tokens = tokens_of([range(20)])
    losses = np.where(tokens.predicted(), 0.01, np.nan).astype(np.float32)
    table, _ = selection.select(losses, tokens, threshold=0.1, limit=5)
    selection.check_same_losses(table, table["loss_nats"].to_numpy() + 0.01, "models/a")
    for bad in (0.05, np.nan):
        other = table["loss_nats"].to_numpy().copy()
        other[2] = bad
        row = table.iloc[2]
        with pytest.raises(QuantaError, match=f"document 0, position {int(row['position'])}"):
            selection.check_same_losses(table, other, "models/a")


def drops(documents, low, *, as_published):
    tokens = tokens_of(documents)
    losses = np.full(len(tokens.ids), 9.0, dtype=np.float32)
    losses[low] = 0.01
    table, counts = selection.select(losses, tokens, threshold=0.1, limit=99, as_published=as_published)
    kept = tokens.offsets[table["document"].to_numpy()] + table["position"].to_numpy()
    assert counts["candidates"] == len(kept)
    return sorted(set(low) - set(kept.tolist()))


REPEATS = [1, 2, 3, 1, 2, 3, 4, 5]  # position 5 closes a trigram that was there before


def test_the_papers_way_drops_the_token_after_for_every_short_document_before():
    """The defect of the public code that paper.md names; `exact` takes (document, position) instead."""
    for before, drift in (([], 0), ([[7]], 1), ([[]], 1), ([[7], [], [8]], 3), ([[7, 8, 9]], 0)):
        documents = [*before, REPEATS]
        first = sum(len(d) for d in before)
        low = [first + position for position in range(1, 8)]
        assert drops(documents, low, as_published=False) == [first + 5]
        assert drops(documents, low, as_published=True) == ([first + 5 + drift] if 5 + drift < 8 else [])


@given(documents=st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=25), min_size=1, max_size=6))
def test_without_short_documents_the_papers_way_is_exact(documents):
    documents = [[3 + i, *document] for i, document in enumerate(documents)]  # no two begin alike
    low = np.flatnonzero(tokens_of(documents).predicted()).tolist()
    assert drops(documents, low, as_published=True) == drops(documents, low, as_published=False)
