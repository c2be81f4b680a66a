import functools
import itertools
from importlib import metadata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quanta.corpus import near_duplicates, readers, splitting
from support import close_labels

SHARE = 0.3
LINES = st.sampled_from([f"{'    ' * (i % 3)}line {'x' * i}" for i in range(12)] + ["", "  "])
ANY_TEXTS = st.lists(st.lists(LINES, max_size=8).map("\n".join), max_size=12)


@functools.cache
def lines(text):
    return {line.strip() for line in text.splitlines()} - {""}


def near(one, other, containment, common=frozenset()):
    """Whether two documents are near duplicates, from the definition."""
    one, other = lines(one), lines(other)
    shared = sum(map(len, (one & other) - common))
    shorter = min(sum(map(len, one - common)), sum(map(len, other - common)))
    return one == other or (shared > 0 and shared >= containment * shorter)


def joined(texts, containment):
    """Groups by the definition alone."""
    label = list(range(len(texts)))
    for i, j in itertools.combinations(range(len(texts)), 2):
        if near(texts[i], texts[j], containment):
            label = [label[i] if old == label[j] else old for old in label]
    return label


@given(texts=ANY_TEXTS, containment=st.sampled_from([0.25, 0.5, 0.9, 1.0]))
def test_groups_are_the_components_of_all_near_pairs(texts, containment):
    assert close_labels(near_duplicates.groups(texts, containment), joined(texts, containment))


@given(texts=ANY_TEXTS, data=st.data())
def test_the_order_of_the_documents_changes_no_split(texts, data):
    documents = [splitting.Document(f"a/{i}.py", text) for i, text in enumerate(texts)]
    documents += [splitting.Document(f"unlike/{i}", f"unlike {i}") for i in range(60)]  # some for each split
    other = data.draw(st.permutations(documents))

    def splits(found):
        return splitting.documents_table(found, SHARE, 0.5).set_index("source")["split"].to_dict()

    assert splits(documents) == splits(other)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    texts = ["\n".join(f"line {i}" for i in rng.integers(0, 200, 12)) for _ in range(100)]
    whole = near_duplicates.groups(texts, 0.3)
    assert 1 < len(set(whole)) < len(texts)
    monkeypatch.setattr(near_duplicates, "BLOCK", 7)
    np.testing.assert_array_equal(near_duplicates.groups(texts, 0.3), whole)


def function(name, n=12):
    return "\n".join(f"    {name}_{i} = compute_{name}({i})" for i in range(n))


@pytest.mark.parametrize("change", [lambda t: "# moved here\n" + t, lambda t: t.replace("_3 = ", "_3: int = "),
                                    lambda t: t.replace("    ", ""), lambda t: t + "\n" + function("more", 40)])  # fmt: skip
def test_a_changed_copy_is_on_the_side_of_its_original(change):
    documents = [splitting.Document(f"package/{i}.py", function(f"f{i}")) for i in range(40)]
    for i, document in enumerate(documents):  # one at a time, lest the added lines be those of all copies
        copied = splitting.Document(f"vendored/{i}.py", change(document.text))
        split = splitting.documents_table([*documents, copied], SHARE, 0.5).set_index("source")["split"]
        assert split[copied.source] == split[document.source] == splitting.split_of(document.source, SHARE)
    alone = [
        splitting.split_of(f"vendored/{i}.py", SHARE) != splitting.split_of(f"package/{i}.py", SHARE) for i in range(40)
    ]
    assert any(alone), "some of the copies would have crossed the split by their own hash"


def test_documents_without_a_near_copy_keep_the_split_of_their_own_source():
    licence = "\n".join(f"# line {i} of a licence that all share" for i in range(9))
    documents = [
        splitting.Document(f"p/{i}.py", f"{licence}\n{function(f'f{i}')}") for i in range(near_duplicates.COMMON + 1)
    ]
    split = splitting.documents_table(documents, SHARE, 0.5)["split"]
    assert split.tolist() == [splitting.split_of(document.source, SHARE) for document in documents]


def test_equal_documents_are_one_group_however_many_they_are():
    texts = [function("f")] * (near_duplicates.COMMON + 10)
    assert len(set(near_duplicates.groups([*texts, function("g")], 0.5))) == 2


def test_no_near_pair_crosses_the_split_of_a_real_corpus():
    documents = list(splitting.distinct(readers.python_sources([metadata.distribution("networkx")]), 500))
    texts = [document.text for document in documents]
    having: dict[str, int] = {}
    for line in itertools.chain.from_iterable(map(lines, texts)):
        having[line] = having.get(line, 0) + 1
    common = frozenset(line for line, number in having.items() if number > near_duplicates.COMMON)
    pairs = [(i, j) for i, j in itertools.combinations(range(len(texts)), 2) if near(texts[i], texts[j], 0.5, common)]
    assert len(pairs) > 10

    def crossing(table):
        split = table["split"].tolist()
        return [pair for pair in pairs if split[pair[0]] != split[pair[1]]]

    assert crossing(splitting.documents_table(documents, SHARE))
    assert not crossing(splitting.documents_table(documents, SHARE, 0.5))
    sizes = np.unique(near_duplicates.groups(texts, 0.5), return_counts=True)[1]
    assert sizes.max() < len(texts) / 20, "near duplicates must not chain a package into one group"
