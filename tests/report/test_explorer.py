import base64
import dataclasses
import hashlib
import html.parser
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hostile import MARKUP, MEMBERS, SHOW, write
from hypothesis import given
from hypothesis import strategies as st
from quanta.catalogue import context_rules, naming, order_of_learning, token_map
from quanta.clustering import membership
from quanta.corpus.encoding import Tokens
from quanta.errors import QuantaError
from quanta.rank_frequency import zipf
from quanta.report import page_data, rendering
from quanta.validation import null_models
from scipy.sparse import csc_matrix
from support import ROOT, tokens_of

OURS = sorted((ROOT / "workflow/report/explorer").glob("*.js"))
BROWSER = ROOT / "tests/browser"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write(tmp_path_factory.mktemp("hostile"))


class Page(html.parser.HTMLParser):
    """Elements with their attributes, the text of scripts, and the text that a reader sees without any script."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.scripts, self.seen, self._open = [], [], "", None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self._open = tag
            self.scripts.append((tag, dict(attributes), ""))

    def handle_endtag(self, tag):
        if tag == self._open:
            self._open = None

    def handle_data(self, data):
        if self._open:
            self.scripts[-1] = (*self.scripts[-1][:2], self.scripts[-1][2] + data)
        else:
            self.seen += data

    def chunks(self):
        index = json.loads(next(text for _, a, text in self.scripts if a.get("id") == "meta"))["chunks"]
        found = {a["id"].removeprefix("chunk-"): t for _, a, t in self.scripts if a.get("id", "").startswith("chunk-")}
        assert set(found) == set(index)
        return {
            n: rendering.unpack(rendering.Chunk(n, index[n]["kind"], index[n]["shape"], t)) for n, t in found.items()
        }


@pytest.fixture(scope="module")
def page(run):
    return Page(run / "report/index.html")


# ---------------------------------------------------------------------------------------------------------- hostile text


def test_no_markup_of_the_corpus_becomes_an_element(page):
    """The template's own elements and none more: 8 kinds of markup stand in texts, sources, tables, captions and names."""
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"img", "svg", "iframe", "object", "embed", "form", "textarea"}
    own = Page.__new__(Page)
    html.parser.HTMLParser.__init__(own)
    own.elements, own.scripts, own.seen, own._open = [], [], "", None
    own.feed((ROOT / "workflow/report/page.html").read_text(encoding="utf-8"))
    code = [a for tag, a in page.elements if tag == "script" and "type" not in a]
    assert len(code) == 8 and not any(a for a in code)
    assert not any(name.startswith("on") for _, a in page.elements for name in a)
    assert [a for _, a in page.elements if "src" in a] == []
    assert tags <= {tag for tag, _ in own.elements}


def test_markup_reaches_the_reader_as_text(page):
    """Escaped once and only once: what the table holds is what is read."""
    for text in (MARKUP[0], MARKUP[1], MARKUP[4]):
        assert text in page.seen


def test_the_policy_allows_the_pages_own_code_and_nothing_else(page):
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    rules = {part.split()[0]: part.split()[1:] for part in policy.split("; ")}
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        texts = [text for t, a, text in page.scripts if t == tag and "type" not in a]
        hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in texts]
        assert rules[directive] == hashes and len(texts) > 1
    assert rules["default-src"] == rules["connect-src"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert rules["img-src"] == rules["worker-src"] == ["blob:"]


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_our_code_makes_no_markup_and_runs_no_text(path):
    found = re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|createContextualFragment|srcdoc|"
        r"setTimeout\(\s*[\"'`]|https?://(?!www\.w3\.org/2000/svg)",
        path.read_text(encoding="utf-8"),
    )
    assert found == []


@given(st.recursive(st.text() | st.integers() | st.none(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_json_in_the_page_says_the_same_and_cannot_end_its_element(content):
    text = str(rendering.safe_json(content))
    assert json.loads(text) == content
    assert not re.search("[<>&\u2028\u2029]", text)


def test_code_that_would_end_its_element_is_refused():
    for text in ("a='</script>'", "a='</SCRIPT '", "<!-- a"):
        with pytest.raises(ValueError, match="would end"):
            rendering.own_code(text, "script")


# ------------------------------------------------------------------------------------------------------------- the data


@pytest.mark.parametrize("dtype", rendering._DTYPES)
def test_arrays_come_back_from_their_chunks(dtype):
    array = np.random.default_rng(1).integers(0, 100, (3, 70)).astype(dtype)
    back = rendering.unpack(rendering.chunk("x", array))
    assert back.dtype == array.dtype and np.array_equal(back, array)


@given(st.dictionaries(st.text(), st.lists(st.text() | st.floats(allow_nan=False, allow_infinity=False))))
def test_plain_data_come_back_from_their_chunks(content):
    assert rendering.unpack(rendering.chunk("x", content)) == content


def test_what_a_browser_has_no_array_for_is_refused():
    with pytest.raises(ValueError, match="float64"):
        rendering.chunk("x", np.zeros(3))


def test_the_page_holds_the_tables_of_the_run(run, page):
    """Contexts, losses (to 0.0005 nats), labels and descriptions are those of the files."""
    chunks = page.chunks()
    selection = pd.read_parquet(run / "qdg/tokens.parquet")
    offsets = np.load(run / "corpus/offsets.npy")
    flat = offsets[selection["document"]] + selection["position"]
    for row, (model, step) in zip(chunks["losses"].reshape(5, 96), MEMBERS, strict=True):
        assert np.abs(row / 1000 - np.load(run / f"losses/{model}/step{step}.npy")[flat]).max() < 5.01e-4
    labels = pd.read_parquet(run / "qdg/labels.parquet")
    for row, k in zip(chunks["labels"].reshape(3, 96), (2, 4, 8), strict=True):
        assert np.array_equal(row, membership.at(labels, k))
    assert chunks["tokens"]["position"] == selection["position"].tolist()
    text = "".join(chunks["tokens"]["before"])
    assert "</script><script>" in text and "\u202e" in text
    described = pd.read_parquet(run / "qdg/descriptions.parquet")
    for k, part in described.groupby("n_clusters"):
        assert chunks["clusters"][str(k)]["size"] == part["size"].tolist()
        assert chunks["clusters"][str(k)]["rule"] == [json.loads(rule) for rule in part["rule"]]


def test_a_page_without_figures_has_all_else(run, page, tmp_path):
    path = tmp_path / "small.html"
    path.write_text(
        rendering.without_figures((run / "report/index.html").read_text(encoding="utf-8")), encoding="utf-8"
    )
    bare = Page(path)

    def meta(of):
        return json.loads(next(text for _, a, text in of.scripts if a.get("id") == "meta"))

    assert meta(page)["figures"] and meta(bare) == meta(page) | {"figures": []}
    assert not [a for _, a, _ in bare.scripts if a.get("id", "").startswith("picture-")]
    assert bare.seen.split() == page.seen.split()
    for name, found in bare.chunks().items():
        assert np.array_equal(found, page.chunks()[name]), name


def test_the_page_holds_the_second_clustering_beside_the_first(run, page):
    chunks, meta = page.chunks(), json.loads(next(text for _, a, text in page.scripts if a.get("id") == "meta"))
    labels = pd.read_parquet(run / "qdg/second/labels.parquet")
    described = pd.read_parquet(run / "qdg/second/descriptions.parquet")
    rows, firsts = (chunks[name].reshape(3, 96) for name in ("second_labels", "labels"))
    for row, first, k in zip(rows, firsts, (2, 4, 8), strict=True):
        assert np.array_equal(row, membership.at(labels, k)) and not np.array_equal(row, first)
    for k, part in described.groupby("n_clusters"):
        own = chunks["second_clusters"][str(k)]
        assert own["fingerprint"] == part["fingerprint"].tolist() != chunks["clusters"][str(k)]["fingerprint"]
        assert own["stability_seeds"] == [0.25] * len(part)
    assert meta["second"]["agreement"] == {"2": 0.125, "4": 0.125, "8": 0.125}
    assert meta["second"]["kind"] == "standardised" and meta["second"]["fit"]["value"] == -0.5
    ends = {name.removeprefix("second_") for name in chunks if name.startswith("second_")}
    assert ends == set(chunks) - {name for name in chunks if name.startswith("second_")} - {"tokens", "losses"}


def test_losses_beyond_the_scale_stop_at_its_end(run):
    tokens = Tokens(np.zeros(3, np.uint16), np.array([0, 3]))
    chosen = pd.DataFrame({"document": [0, 0], "position": [1, 2]})
    found = page_data.losses([np.array([np.nan, 0.0125, 99.0])], tokens, chosen)
    assert found.tolist() == [[12, 65535]]


def test_similarity_of_clusters_is_the_mean_over_their_pairs(run):
    cosines = np.load(run / "qdg/affinity.npy")
    label = np.arange(96) % 5
    label[0] = 5  # a cluster of one
    found = page_data.similarity(cosines, label)
    for a in range(6):
        for b in range(6):
            rows, columns = np.flatnonzero(label == a), np.flatnonzero(label == b)
            pairs = [cosines[i, j] for i in rows for j in columns if i != j]
            assert np.isnan(found[a, b]) if not pairs else found[a, b] == pytest.approx(np.mean(pairs), abs=1e-6)


def test_pairs_within_a_cluster_are_kept_to_a_hundredth_in_the_order_the_page_reads(run):
    cosines = np.load(run / "qdg/affinity.npy")
    label = np.where(np.arange(96) < 90, 0, 1)
    tokens, values = page_data.within(cosines, label)
    assert [len(one) for one in tokens] == [page_data.HEAT_WITHIN, 6]
    at = 0
    for own in tokens:
        for i in range(len(own)):
            for j in range(i):
                assert abs(values[at] / 100 - cosines[own[i], own[j]]) <= 0.0051
                at += 1
    assert at == len(values)


def test_neighbours_on_the_map_share_their_cluster(run):
    """And the map is the same every time, for a seed."""
    layout = pd.read_parquet(run / "qdg/layout.parquet")[["x", "y"]].to_numpy()
    distance = np.linalg.norm(layout[:, None] - layout[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    group = membership.at(pd.read_parquet(run / "qdg/labels.parquet"), 4)
    assert (group[distance.argmin(axis=1)] == group).mean() > 0.95
    again = token_map.layout(np.load(run / "qdg/embedding.npy"), seed=0)
    assert np.array_equal(again, layout)
    with pytest.raises(QuantaError, match="at least four"):
        token_map.layout(np.ones((3, 2)), seed=0)


def test_seeds_of_one_size_are_no_steps_of_size():
    """A size has one model on the axis, that of the first seed; the others are told apart, and none is lost."""
    members = [("a", 1), ("a", 9), ("a-seed1", 9), ("b", 9), ("b-seed1", 9), ("c", 9)]
    table = pd.DataFrame(members, columns=["model", "step"])
    table["non_embedding_parameters"] = [10, 10, 10, 200, 200, 3000]
    table["seed"] = [0, 0, 1, 0, 1, 0]
    found = page_data.family(members, table, 5, "b", 9, "a")
    sizes = [found["members"][i]["parameters"] for i in found["by_size"]]
    assert sizes == sorted(set(sizes)) == [10, 200, 3000]
    assert found["by_size"] == [1, 3, 5] and found["other_seeds"] == [2, 4]
    assert found["members"][found["clustered"]]["model"] == "b" and found["by_step"] == [0, 1]
    without = page_data.family(members, table.drop(columns="seed"), 5, "b", 9, "a")
    assert without["by_size"] == [1, 2, 3, 4, 5] and without["other_seeds"] == []


def test_other_stages_tables_are_shown_where_they_exist(run):
    described = pd.read_parquet(run / "qdg/descriptions.parquet")
    scores = described[["n_clusters", "label", "size"]].assign(stability_halves=0.5, skill=np.nan)
    both = page_data.joined(described, [scores])
    assert (both["stability_halves"] == 0.5).all() and both["rule"].equals(described["rule"])
    assert page_data.plain(both)["skill"][0] is None
    curves = pd.DataFrame({"model": ["the data", "shuffled", "shuffled"], "rank": [1, 2, 1], "size": [9, 1, 3]})
    fits = json.loads((run / "qdg/fits.json").read_text())
    law = page_data.law(
        pd.read_csv(run / "qdg/rank_frequency.csv"),
        fits,
        {"alpha_n": {"value": 0.3}},
        pd.read_parquet(run / "qdg/tokens.parquet"),
        curves,
        {"alpha": {"value": 0.2, "interval": [0.1, 0.3]}},
    )
    assert law["theory_slope"] == -1.3 and law["ks"] == [2, 4, 8]
    assert law["nulls"][1]["name"] == "shuffled" and law["nulls"][1]["sizes"] == [3, 1] and len(law["nulls"]) == 2
    assert sum(law["nulls"][0]["sizes"]) == 96 == sum(law["rank"][4])
    assert "0.200 [0.100, 0.300]" in law["notes"][-1] and "Below zero" not in law["notes"][-1]


@pytest.mark.parametrize("as_text", [False, True])
def test_a_null_model_stands_with_its_slope_and_whether_the_data_are_told_from_it(run, as_text):
    """The column may come back from CSV as text, and the text False is no truth."""
    told = [np.nan, True, False, np.nan]
    slopes = pd.DataFrame({"model": ["the data", "a", "b", "c"], "slope": [-1.0, -2.0, -3.0, np.nan]})
    slopes["distinguishable"] = [x if x != x else str(x) for x in told] if as_text else told
    curves = pd.DataFrame({"model": ["a", "b", "c", "d"], "rank": 1, "size": 5})
    fits = {"envelope_slope": {"value": -1.0, "ranks": [2, 8]}, "identity_slope": {"value": -0.9}}
    table, selection = pd.read_csv(run / "qdg/rank_frequency.csv"), pd.read_parquet(run / "qdg/tokens.parquet")
    found = page_data.law(table, fits, {"alpha_n": {"value": 0.3}}, selection, curves, None, slopes)["nulls"]
    assert [(one["slope"], one["different"]) for one in found] == [
        (-0.9, None),
        (-2.0, True),
        (-3.0, False),
        (None, None),
        (None, None),
    ]


def test_the_page_explains_every_null_model_and_every_way_to_say_learned():
    cosines = np.eye(8, dtype=np.float32) * 0.5 + 0.5
    group = np.arange(8) % 3
    data = null_models.Data(cosines, np.eye(8, dtype=np.float32), cosines, group, group, dimension=16, seed=0)
    made = null_models.make(data)
    assert list(made) == [model.name for model in null_models.MODELS]
    assert all(page_data.meaning(name) for name in (zipf.IDENTITY, *made)) and page_data.meaning("other") == ""
    assert len({page_data.meaning(name) for name in (zipf.IDENTITY, *made)}) == len(made) + 1
    assert all(order_of_learning.main_reference(axis).meaning for axis in ("size", "step of x"))
    absent = null_models.make(dataclasses.replace(data, features=None, untrained=None))
    assert set(made) - set(absent) == {"untrained model, same tokens", "shuffled features"}


def test_when_a_cluster_is_learned_is_that_of_the_axis_and_its_main_reference(run, page):
    table = pd.read_csv(run / "qdg/learned.csv")
    wide, axes = page_data.learned(table)
    assert [one["axis"] for one in axes] == ["step of small", "size"] and len(wide) == 2 + 4 + 8
    for one, reference in zip(axes, ("untrained", "one half"), strict=True):
        part = table[(table["axis"] == one["axis"]) & (table["reference"] == reference)]
        both = wide.merge(part, on=["n_clusters", "label"], validate="1:1")
        assert len(both) == len(wide)
        for name, column in (("learned", ""), ("low", "_low"), ("high", "_high")):
            assert both[name].equals(both[one["column"] + column])
        shown = page.chunks()["clusters"][str(SHOW)][one["column"]]
        wanted = both[both["n_clusters"] == SHOW].sort_values("label")["learned"]
        assert shown == [None if np.isnan(x) or np.isinf(x) else x for x in wanted]
    empty, none = page_data.learned(table[:0])
    assert len(empty) == 0 and none == []


# ------------------------------------------------------------------------------------------------------- the reader's names


def test_a_name_follows_its_tokens_to_another_label(run, page):
    """labels.csv of the fixture says label 3, but the fingerprint is that of cluster 1."""
    described = pd.read_parquet(run / "qdg/descriptions.parquet")
    assert naming.read_names(run / "labels.csv", described) == ({(SHOW, 1): MARKUP[0]}, 0)
    meta = json.loads(next(text for _, a, text in page.scripts if a.get("id") == "meta"))
    assert meta["names"] == {f"{SHOW}:1": MARKUP[0]}
    assert MARKUP[0] in pd.read_csv(run / "report/figures/clusters.csv")["title"].to_numpy()


def test_names_of_clusters_that_are_gone_are_counted_and_double_ones_refused(run, tmp_path):
    described = pd.read_parquet(run / "qdg/descriptions.parquet")
    row = described.iloc[0]
    path = tmp_path / "labels.csv"
    head = "n_clusters,label,fingerprint,name\n"
    path.write_text(head + '2,0,"000000000000","gone"\n')
    assert naming.read_names(path, described) == ({}, 1)
    path.write_text(head + "".join(f'2,{i},"{row.fingerprint}","name {i}"\n' for i in range(2)))
    with pytest.raises(QuantaError, match=r"two names .*'name 0' and 'name 1'"):
        naming.read_names(path, described)
    path.write_text("n_clusters,name\n2,x\n")
    with pytest.raises(QuantaError, match="lacks the columns"):
        naming.read_names(path, described)


def test_a_fingerprint_is_that_of_the_set_of_tokens():
    assert naming.fingerprint([1, 2], [3, 4]) == naming.fingerprint([2, 1], [4, 3])
    assert naming.fingerprint([1, 2], [3, 4]) != naming.fingerprint([1, 2], [4, 3])
    assert naming.fingerprint([1], [3]) != naming.fingerprint([1, 2], [3, 4])


# --------------------------------------------------------------------------------------------------------- descriptions


def test_a_rule_is_counted_on_any_predictions_as_on_those_that_it_was_made_from():
    rng = np.random.default_rng(0)
    tokens = tokens_of([rng.integers(0, 5, 40) for _ in range(12)])
    texts = SimpleNamespace(of=lambda token: ["a", " b", "(", "\n", "7"][token])
    flat = np.flatnonzero(tokens.predicted())[::3]
    document, position = tokens.place(flat)
    found = context_rules.conditions(pd.DataFrame({"document": document, "position": position}), tokens, texts)
    held = np.asarray(found.holds.sum(axis=0)).ravel().astype(int)
    assert len(found.names) > 30
    assert (context_rules.occurrences([[name] for name in found.names], flat, tokens, texts) == held).all()
    pair = found.names[:2]
    both = context_rules.occurrences([pair, []], flat, tokens, texts)
    assert both.tolist() == [int(found.holds[:, [0, 1]].toarray().all(axis=1).sum()), 0]


def test_the_rule_that_made_a_cluster_is_found():
    """A cluster defined as A and B among random conditions: precision and recall are one, on other documents too."""
    rng = np.random.default_rng(2)
    holds = (rng.random((400, 30)) < 0.35).astype(np.float32)
    member = (holds[:, 4] > 0) & (holds[:, 17] > 0)
    rule, f1 = context_rules.best_rule(csc_matrix(holds), member)
    assert sorted(rule) == [4, 17] and f1 == 1
    labels = pd.DataFrame({"n_clusters": 2, "token": range(400), "label": np.where(member, 0, 1)})
    found = context_rules.Conditions([f"condition {i}" for i in range(30)], csc_matrix(holds))
    table = context_rules.best_rules(labels, pd.DataFrame({"document": np.arange(400) // 10}), found)
    assert sorted(json.loads(table.loc[0, "rule"])) == ["condition 17", "condition 4"]
    assert (table.loc[0, ["precision", "recall", "precision_held_out", "recall_held_out"]] == 1).all()


def test_held_out_scores_tell_chance_from_structure():
    """For a random cluster a rule always fits something; on documents that it was not found on it does not."""
    rng = np.random.default_rng(3)
    holds = csc_matrix((rng.random((300, 200)) < 0.05).astype(np.float32))
    labels = pd.DataFrame({"n_clusters": 20, "token": range(300), "label": rng.integers(0, 20, 300)})
    found = context_rules.Conditions([str(i) for i in range(200)], holds)
    table = context_rules.best_rules(labels, pd.DataFrame({"document": np.arange(300)}), found)

    def f1(kind):
        p, r = table[f"precision{kind}"].fillna(0), table[f"recall{kind}"].fillna(0)
        return (2 * p * r / (p + r).clip(lower=1e-9)).mean()

    assert f1("_held_out") < 0.12 < 0.25 < f1("")


def test_pieces_of_one_text_lie_on_one_side_of_the_held_out_split():
    """Each text has names of its own: by piece a rule knows them from the other side, by text it does not."""
    rng = np.random.default_rng(4)
    text = np.repeat(np.arange(20), 20)
    document = np.arange(400) // 5  # four pieces a text
    own_name = np.zeros((400, 20))
    own_name[np.arange(400), text] = 1
    holds = csc_matrix(np.hstack([own_name, rng.random((400, 10)) < 0.1]).astype(np.float32))
    labels = pd.DataFrame({"n_clusters": 20, "token": range(400), "label": text})
    found = context_rules.Conditions([str(i) for i in range(30)], holds)
    selection = pd.DataFrame({"document": document})
    by_piece, by_text = (context_rules.best_rules(labels, selection, found, groups) for groups in (None, text))
    assert (by_piece["recall_held_out"] == 1).all()
    assert by_text["recall_held_out"].isna().all(), "a cluster of one text has no other side"
    two = labels.assign(label=text // 2, n_clusters=10)
    assert (context_rules.best_rules(two, selection, found, text)["recall_held_out"] < 0.5).all()
    alone = context_rules.best_rules(two, selection, found, np.zeros(400, dtype=int))
    assert alone["recall_held_out"].isna().all() and alone["recall"].notna().all(), "one text has no halves"


@given(st.integers(0, 10_000))
def test_no_single_condition_beats_the_rule(seed):
    rng = np.random.default_rng(seed)
    holds, member = rng.random((40, 12)) < 0.4, rng.random(40) < 0.3
    rule, f1 = context_rules.best_rule(csc_matrix(holds.astype(np.float32)), member)
    single = [2 * (holds[:, i] & member).sum() / max(holds[:, i].sum() + member.sum(), 1) for i in range(12)]
    assert f1 >= max(single) - 1e-6 and len(rule) <= context_rules.DEPTH
    if rule:
        predicted = context_rules.matches(csc_matrix(holds.astype(np.float32)), rule)
        assert f1 == pytest.approx(2 * (predicted & member).sum() / (predicted.sum() + member.sum()))


def test_a_cluster_without_a_shared_condition_has_no_rule():
    rule, f1 = context_rules.best_rule(csc_matrix(np.zeros((4, 3), np.float32)), np.array([True, True, False, False]))
    assert rule == [] and f1 == 0
    assert not context_rules.matches(csc_matrix(np.ones((4, 3), np.float32)), []).any()


@pytest.mark.parametrize(
    ("text", "inside"),
    [("f(a[1], ", "‘(’"), ("x = [(1)", "‘[’"), ("}", "no bracket"), ("{ a: (b)", "‘{’"), ("", "no bracket")],
)
def test_open_brackets_are_counted(text, inside):
    assert context_rules._bracket(text) == f"it is inside of {inside}"


def test_conditions_say_what_the_text_is():
    window = ["\n", "    ", "def", " test", "(", "12"]
    names = context_rules._of_token(window, [0, 1, 2, 3, 4, 5], 5)
    assert {
        "the target is ‘12’",
        "the target is a number",
        "the token before it is ‘(’",
        "the second token before it is ‘␣test’",
        "the third token before it is ‘def’",
        "its line begins with ‘def’",
        "its line is indented by 4 blanks",
        "it is inside of ‘(’",
        "it is among the first 32 tokens of its text",
    } <= names
    assert "the target occurred in the 256 tokens before" not in names
    assert "the target occurred in the 256 tokens before" in context_rules._of_token(["a", "b", "a"], [7, 8, 7], 300)


# ------------------------------------------------------------------------------------------------------------ the browser


def _browser():
    """(folder of node modules, Chromium), or the reason why there is none."""
    modules = Path(os.environ.get("QUANTA_BROWSER_MODULES", BROWSER / "node_modules"))
    chromium = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
    if not (modules / "playwright-core").is_dir() or not (modules / "axe-core").is_dir():
        return (
            f"no playwright-core and axe-core in {modules}: run npm ci in tests/browser or set QUANTA_BROWSER_MODULES"
        )
    if chromium is None or shutil.which("node") is None:
        return "no Chromium or no node on this machine"
    return str(modules), chromium


@pytest.fixture(scope="module")
def used(run):
    """What a reader's browser saw when every control was used."""
    found = _browser()
    if isinstance(found, str):
        assert os.environ.get("QUANTA_BROWSER") != "required", found
        pytest.skip(found)
    arguments = ["node", str(BROWSER / "explorer.mjs"), *found, str(run / "report/index.html")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.strip("\n").split("\n")[-1])
    print("timings:", seen["timings"])
    return seen


def test_in_a_browser_nothing_fails_and_nothing_leaves_the_page(used, run):
    assert used["errors"] == [] and used["dialogs"] == 0
    assert set(used["requests"]) == {f"file://{run / 'report/index.html'}"}
    assert used["checks"]["hacked"] is None


def test_in_a_browser_axe_finds_no_violation_at_three_widths(used):
    assert used["axe"] == [] and used["overflow"] == []


def test_in_a_browser_every_control_does_what_it_says(used):
    checks = used["checks"]
    for name in ("slider", "reverse", "sort_top", "list_keys", "key_j", "key_bracket", "key_slash", "named", "lineage",
                 "back", "nearest", "within", "found", "pictures", "escape", "next", "skip", "about", "heat_scale"):  # fmt: skip
        assert checks[name] is True, name
    told = re.match(r"(\d+) clusters, rank (\d+): (\d+) tokens", checks["law_click"]["told"])
    assert checks["law_click"]["opened"]["k"] == told[1]
    assert int(checks["law_click"]["opened"]["cluster"]) == int(told[2]) - 1
    assert f"cluster {checks['map_click']['state']['cluster']}:" in checks["map_click"]["hit"]
    for heat in ("heat_click", "heat_keys"):
        assert checks[heat]["said"].startswith(f"cluster {checks[heat]['state']['cluster']}:")
        assert "token" in checks[heat]["state"]
    assert checks["title"] == f"Cluster 1 of {SHOW} · Quanta {MARKUP[1]}" and checks["trained"] == ["small"]
    assert checks["themes"] == 2 and checks["address"] == "e"
    cards = checks["cards"]
    assert 1 <= len(cards["cards"]) <= 12 and cards["view"] == "cluster"
    assert all(card["title"] and card["samples"] >= 1 and "tokens" in card["sure"] for card in cards["cards"]), cards
    slow = checks["slow"]
    assert slow["marked"] == "true" and "stopped it after a second" in slow["status"] and slow["after"], slow
    assert checks["invalid"]["marked"] == "true" and "Not a regular expression" in checks["invalid"]["status"]
    assert checks["invalid"]["list"] == "No token." and "Invalid regular" not in checks["invalid"]["status"]
    assert checks["mixed"] == 1
    assert checks["none_filtered"] == "No cluster has this text in its name, description or target."
    assert checks["figures"] == ["figure-clusters", "figure-emergence"]
    assert checks["rows"] >= 10 and checks["blocks"] >= 2


def test_in_a_browser_the_numbers_are_those_of_the_tables(used, run):
    checks = used["checks"]
    described = pd.read_parquet(run / "qdg/descriptions.parquet")
    row = described[(described["n_clusters"] == SHOW) & (described["label"] == 0)].iloc[0]
    facts = checks["facts"]
    assert (facts["tokens"], facts["sources"], facts["fingerprint"]) == (
        str(row["size"]),
        str(row.n_sources),
        row.fingerprint,
    )
    assert facts["purity"] == f"{row.purity:.3f}"
    assert checks["rule"].removeprefix("loosely: ").split(", and ")[0] == json.loads(row["rule"])[0]
    selection = pd.read_parquet(run / "qdg/tokens.parquet")
    flat = np.load(run / "corpus/offsets.npy")[selection["document"]] + selection["position"]
    losses = {member: np.load(run / f"losses/{member[0]}/step{member[1]}.npy")[flat] for member in MEMBERS}
    inside = membership.at(pd.read_parquet(run / "qdg/labels.parquet"), SHOW) == 0
    for model, mean in checks["means"]:
        assert abs(float(mean) - losses[model, 4][inside].mean()) <= 0.0011
    cosines = np.load(run / "qdg/affinity.npy")
    assert float(checks["similar"]) == pytest.approx(page_data.similarity(cosines, ~inside * 1)[0, 0], abs=6e-4)
    document, position = map(int, checks["token"]["state"]["token"].split("."))
    token = selection[(selection["document"] == document) & (selection["position"] == position)]["token"].iloc[0]
    assert len(checks["token"]["losses"]) == 5
    for model, step, loss in checks["token"]["losses"]:
        assert abs(float(loss) - losses[model, int(step)][token]) <= 0.00051
    table = pd.read_csv(run / "report/paper_against_ours.csv", dtype=str, keep_default_na=False)
    assert checks["table"] == table.to_numpy().tolist()


def test_in_a_browser_every_fact_is_explained_and_the_order_of_learning_is_that_of_the_table(used, run):
    checks = used["checks"]
    assert checks["meanings"] == []
    table, _ = page_data.learned(pd.read_csv(run / "qdg/learned.csv"))
    steps = table[table["n_clusters"] == SHOW].set_index("label")["learned_0"]
    seen = [np.nan if x is None else x for x in checks["learned"]["order"]]
    assert seen == pytest.approx(sorted(steps, key=lambda x: (np.isnan(x), x)), nan_ok=True)
    # step 1 is the first point of the axis
    assert re.search(r"· (≤ )?\d+ steps$|· –$", checks["learned"]["said"])


def test_in_a_browser_the_lineage_says_where_a_cluster_splits(used, run):
    """Cluster 0 of 4 is half of a cluster of 2, and is cut in two at 8."""
    labels = pd.read_parquet(run / "qdg/labels.parquet")
    own = {k: membership.at(labels, k) for k in (2, 4, 8)}
    inside = own[4] == 0
    assert len(set(own[2][inside])) == 1 and len(set(own[8][inside])) > 1
    words = used["checks"]["lineage_words"]
    assert words.startswith("These tokens are a cluster at no other number; part of a larger one at 2; split at 8.")


def test_in_a_browser_the_slider_there_and_back_finds_the_cluster_again(used, run):
    followed = used["checks"]["followed"]
    labels = pd.read_parquet(run / "qdg/labels.parquet")
    few, own = membership.at(labels, 2), membership.at(labels, SHOW)
    assert followed["state"]["k"] == "2" and int(followed["state"]["cluster"]) == few[own == 3][0]
    # the smaller half of what it went through: by its own tokens alone it would have come back as cluster 2
    assert np.bincount(own[few == few[own == 3][0]]).argmax() != 3
    n = (own == 3).sum()
    assert followed["told"] == f"Followed from cluster 3 of {SHOW}: it has {n} of the {n} tokens of that one."
    assert followed["back"] == "3" and followed["gone"]


def test_in_a_browser_the_second_clustering_is_shown_and_left_by_keyboard(used, run):
    seen = used["checks"]["second"]
    labels, second = (
        membership.at(pd.read_parquet(run / f"qdg/{name}labels.parquet"), SHOW) for name in ("", "second/")
    )
    assert seen["paper"]["labels"] == seen["back"]["labels"] == labels.tolist()
    assert seen["other"]["labels"] == second.tolist()
    assert (seen["paper"]["of"], seen["other"]["of"], seen["back"]["of"]) == (None, "second", None)
    assert (seen["paper"]["pressed"], seen["other"]["pressed"], seen["back"]["pressed"]) == ("first", "second", "first")
    assert (
        "adjusted Rand index 0.13" in seen["paper"]["said"] and "standardised over the tokens" in seen["other"]["said"]
    )
    # the open cluster is followed to the one that holds most of its tokens
    most = np.bincount(second[labels == 1]).argmax()
    assert seen["other"]["heading"] == seen["shared"] == f"Cluster {most} of {SHOW}, second affinity"
    assert f"{np.bincount(second[labels == 1]).max()} of the {(labels == 1).sum()} tokens" in seen["other"]["followed"]
    assert seen["back"]["heading"].startswith(f"Cluster 1 of {SHOW}")
    assert seen["file"] == "standardised" and seen["name"].startswith("second-cluster-")


def test_in_a_browser_null_models_are_told_and_one_is_drawn_strongly(used):
    rows = used["checks"]["nulls"]["rows"]
    assert [row[0] for row in rows] == ["the data", zipf.IDENTITY] and rows[0][1] == "-0.500"
    assert rows[1][2] == "not tested" and rows[1][3] == page_data.meaning(zipf.IDENTITY)
    assert used["checks"]["nulls"]["strong"] == 1


def test_in_a_browser_an_address_that_the_run_cannot_answer_is_told_and_mended(used):
    lost = used["checks"]["lost_link"]
    for asked in ("“3”", "“99”", "“9.9999”"):
        assert asked in lost["told"]
    assert lost["state"] == {"view": "cluster", "k": str(SHOW), "cluster": "0"} and lost["hidden"]


def test_in_a_browser_a_phone_shows_the_chosen_token_and_breaks_long_sources(used):
    assert used["checks"]["phone"] == {"seen": True, "wide": False} and used["checks"]["phone_link"] is True


def test_in_a_browser_search_finds_what_a_regular_expression_finds(used, page):
    tokens = page.chunks()["tokens"]
    for pattern, found in used["checks"]["searches"].items():
        texts = [b + t for b, t in zip(tokens["before"], tokens["target"], strict=True)]
        # the end is that of the target, not of any line (Python's $ forgives a break); \w is without Unicode letters
        end = pattern.replace("$", r"\Z")
        number = sum(bool(re.search(end, t, re.IGNORECASE | re.ASCII)) for t in texts)
        assert found["status"].startswith(f"{number} of 96 tokens"), pattern


def test_in_a_browser_links_labels_and_files_carry_what_they_should(used, run):
    checks, downloads = used["checks"], used["downloads"]
    label = 'mine, "quoted" <b>'
    assert checks["kept_label"] == label
    described = pd.read_parquet(run / "qdg/descriptions.parquet")
    path = run / "downloaded.csv"
    path.write_text(downloads["labels"]["text"], encoding="utf-8")
    assert naming.read_names(path, described) == ({(SHOW, 0): label, (SHOW, 1): MARKUP[0]}, 0)
    assert checks["deep_link"]["token"].startswith("Token 3: ")
    labels = pd.read_parquet(run / "qdg/labels.parquet")
    assert checks["deep_link"]["title"].startswith(f"Cluster {membership.at(labels, SHOW)[3]} of {SHOW}")
    exported = json.loads(downloads["json"]["text"])
    assert [row["token"] for row in exported["tokens"]] == np.flatnonzero(membership.at(labels, SHOW) == 0).tolist()
    path.write_text(downloads["csv"]["text"], encoding="utf-8")
    table = pd.read_csv(path)
    assert [json.loads(text) for text in table["before"]] == [row["before"] for row in exported["tokens"]]
    assert not any(str(text)[:1] in "=+-@" for text in table["target"])
