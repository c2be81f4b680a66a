"""Automatic descriptions of clusters: the shallow rule over context that best tells a cluster's tokens from the other selected ones.

A rule is one to three conditions that must all hold: on the target, on one of the four tokens before it, on the line and on
the place in the document. It is found by beam search on F1; no language model is involved, and a rule says what the
tokens have in common, not what the model computes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.sparse import csc_matrix

from quanta.arrays import Array, Bool, Int
from quanta.clustering import membership
from quanta.corpus import resampling
from quanta.corpus.decoding import Texts
from quanta.corpus.encoding import Tokens
from quanta.progress import Progress

WINDOW = 256  # tokens before the target that conditions may look at
OFFSETS = (1, 2, 3, 4)
SUPPORT = 2  # tokens of the selection that a condition must hold for
CANDIDATES, BEAM = 48, 6
DEPTH = 3
GAIN = 0.02  # in F1, for one more condition: a longer rule must pay
_BRACKETS = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True)
class Conditions:
    """Which condition holds for which token."""

    names: list[str]
    holds: csc_matrix  # (token, condition), 0 and 1 in float32


def shown(text: str) -> str:
    """A token's text in a description: blanks and breaks made visible."""
    return "‘" + text.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣") + "’"


def conditions(selection: pd.DataFrame, tokens: Tokens, texts: Texts) -> Conditions:
    """All conditions that hold for at least two of the selected tokens (columns document, position)."""
    found: dict[str, list[int]] = {}
    cache: dict[int, str] = {}

    def of(token: int) -> str:
        if token not in cache:
            cache[token] = texts.of(token)
        return cache[token]

    places = zip(selection["document"].tolist(), selection["position"].tolist(), strict=True)
    for row, (document, position) in enumerate(places):
        ids = tokens.document(document)[max(position - WINDOW, 0) : position + 1].tolist()
        for name in _of_token([of(i) for i in ids], ids, position):
            found.setdefault(name, []).append(row)
    kept = sorted(name for name, rows in found.items() if len(rows) >= SUPPORT)
    columns = np.repeat(np.arange(len(kept)), [len(found[name]) for name in kept])
    rows = np.concatenate([np.asarray(found[name]) for name in kept]) if kept else np.empty(0, dtype=int)
    holds = csc_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(len(selection), len(kept)))
    return Conditions(kept, holds)


def _of_token(window: Sequence[str], ids: Sequence[int], position: int) -> set[str]:
    """Conditions of one prediction: the window's last token is the target."""
    target, before = window[-1], window[:-1]
    names = {f"the target is {shown(target)}"}
    names.update(f"the target is {kind}" for kind in _kinds(target))
    for offset in OFFSETS:
        if offset <= len(before):
            names.add(f"{_ORDINAL[offset]} before it is {shown(before[-offset])}")
    if before:
        names.update(f"the token before it is {kind}" for kind in _kinds(before[-1]))
    text = "".join(before)
    line = text[text.rfind("\n") + 1 :]
    if "\n" in text or position < WINDOW:
        words = line.split()
        if words:
            names.add(f"its line begins with {shown(words[0][:24])}")
        names.add(f"its line is indented by {len(line) - len(line.lstrip(' '))} blanks")
        if not line.strip():
            names.add("it is the first of its line")
        names.update(
            f"it stands {limit} characters or more into its line" for limit in (40, 60, 72) if len(line) >= limit
        )
    names.add(_bracket(text))
    if position < 32:
        names.add("it is among the first 32 tokens of its text")
    if ids[-1] in ids[:-1]:
        names.add("the target occurred in the 256 tokens before")
    if len(ids) > 2 and any(a == ids[-2] and b == ids[-1] for a, b in pairwise(ids[:-1])):
        names.add("the pair of the token before and the target occurred in the 256 tokens before")
    return names


_ORDINAL = {1: "the token", 2: "the second token", 3: "the third token", 4: "the fourth token"}


def _kinds(text: str) -> list[str]:
    core = text.strip()
    kinds = []
    if not core:
        kinds.append("white space with a line break" if "\n" in text else "white space")
    elif core.isdigit():
        kinds.append("a number")
    elif core.isalpha():
        kinds.append("a word" if core.islower() else "a word with capitals")
    elif not any(c.isalnum() for c in core):
        kinds.append("punctuation")
    if core and text[:1] == " ":
        kinds.append("one with a leading blank")
    return kinds


def _bracket(text: str) -> str:
    """The innermost bracket that is open at the end of the text, by counting alone (strings and comments are not parsed)."""
    depth = dict.fromkeys("([{", 0)
    for character in reversed(text):
        if character in _BRACKETS:
            depth[_BRACKETS[character]] += 1
        elif character in depth:
            if depth[character] == 0:
                return f"it is inside of ‘{character}’"
            depth[character] -= 1
    return "it is inside of no bracket"


def best_rule(
    holds: csc_matrix, member: Bool[Array, " token"], scores: tuple[Array, Array] | None = None
) -> tuple[list[int], float]:
    """Conditions (at most three) that together have the highest F1 for `member`, and that F1; no rule where nothing is shared.

    `scores` are (tokens of the cluster, all tokens) for each condition, if they are known already.
    """
    size = int(member.sum())
    if scores is None:
        scores = np.asarray(member @ holds).ravel(), np.asarray(holds.sum(axis=0)).ravel()
    inside, every = scores
    f1 = 2 * inside / (every + size)
    candidates = np.argsort(-f1, kind="stable")[:CANDIDATES]
    candidates = candidates[inside[candidates] > 0]
    if not len(candidates) or not size:
        return [], 0.0
    dense = holds[:, candidates].toarray() > 0
    best: tuple[list[int], float] = ([0], float(f1[candidates[0]]))
    beam = [([i], dense[:, i]) for i in range(min(BEAM, len(candidates)))]
    for _ in range(DEPTH - 1):
        longer: list[tuple[float, list[int]]] = []
        for chosen, rows in beam:
            sub = dense[rows]
            hits = sub[member[rows]].sum(axis=0)
            gained = 2 * hits / (sub.sum(axis=0) + size)
            gained[chosen] = 0
            top = np.argsort(-gained, kind="stable")[:BEAM]
            longer.extend((float(gained[i]), sorted([*chosen, int(i)])) for i in top if gained[i] > 0)
        longer.sort(key=lambda one: (-one[0], one[1]))
        unique = list(dict.fromkeys((f, tuple(chosen)) for f, chosen in longer))[:BEAM]
        if not unique or unique[0][0] < best[1] + GAIN:
            break
        best = (list(unique[0][1]), unique[0][0])
        beam = [(list(chosen), dense[:, list(chosen)].all(axis=1)) for _, chosen in unique]
    return [int(candidates[i]) for i in best[0]], best[1]


def matches(holds: csc_matrix, rule: Sequence[int]) -> Bool[Array, " token"]:
    """Tokens for which all conditions of a rule hold; none for an empty rule."""
    if not rule:
        return np.zeros(holds.shape[0], dtype=bool)
    return np.asarray(holds[:, list(rule)].toarray().all(axis=1))


def occurrences(
    rules: Sequence[Sequence[str]], flat: Int[Array, " n"], tokens: Tokens, texts: Texts
) -> Int[Array, " rule"]:
    """Predictions among those given (flat indices) for which all conditions of a rule hold; none for an empty rule."""
    wanted = [frozenset(rule) for rule in rules]
    known = frozenset().union(*wanted)
    cache: dict[int, str] = {}
    found = np.zeros(len(wanted), dtype=np.int64)
    documents, positions = tokens.place(flat)
    for document, position in zip(documents.tolist(), positions.tolist(), strict=True):
        ids = tokens.document(document)[max(position - WINDOW, 0) : position + 1].tolist()
        for token in ids:
            if token not in cache:
                cache[token] = texts.of(token)
        holds = known & _of_token([cache[token] for token in ids], ids, position)
        found += [bool(rule) and rule <= holds for rule in wanted]
    return found


def best_rules(
    labels: pd.DataFrame, selection: pd.DataFrame, found: Conditions, groups: Int[Array, " token"] | None = None
) -> pd.DataFrame:
    """The best rule of every cluster at every k.

    `groups` are the texts that the tokens are of (`resampling`), else their documents.

    Returns:
        columns n_clusters, label, rule (JSON list of conditions in words), precision and recall among the selected tokens,
        and precision_held_out, recall_held_out by two-fold cross-validation: the rule is found on every other text
        and scored on the rest, both ways: pieces of one text lie on one side. Held-out scores are NaN where no rule matches or a half has no token of the cluster.
    """
    own = resampling.numbered(selection["document"].to_numpy() if groups is None else groups, len(selection))
    folds = [own % 2 == 0, own % 2 == 1]
    halves = [(fold, found.holds[np.flatnonzero(fold)]) for fold in folds]
    ks = [int(k) for k in np.unique(labels["n_clusters"])]
    progress = Progress("descriptions", sum(ks), "clusters")
    rows = []
    for k in ks:
        label = labels[labels["n_clusters"] == k].sort_values("token")["label"].to_numpy()
        whole = _scores(found.holds, label)
        parts = [
            (fold, holds.tocsc(), _scores(holds.tocsc(), label[fold], int(label.max()) + 1)) for fold, holds in halves
        ]
        for cluster in range(int(label.max()) + 1):
            member = label == cluster
            rule, _ = best_rule(found.holds, member, (whole[0][cluster], whole[1]))
            precision, recall = _quality([(matches(found.holds, rule), member)])
            held_out = []
            for i, (fold, holds, (inside, every)) in enumerate(parts):
                other, other_holds = parts[1 - i][:2]
                if member[fold].any():
                    learned, _ = best_rule(holds, member[fold], (inside[cluster], every))
                    held_out.append((matches(other_holds, learned), member[other]))
            enough = member[folds[0]].any() and member[folds[1]].any()
            out = _quality(held_out) if enough else (np.nan, np.nan)
            rows.append(
                (k, cluster, json.dumps([found.names[i] for i in rule], ensure_ascii=False), precision, recall, *out)
            )
        progress.advance(k, f"at {k}")
    progress.done()
    columns = ["n_clusters", "label", "rule", "precision", "recall", "precision_held_out", "recall_held_out"]
    return pd.DataFrame(rows, columns=columns).astype({"n_clusters": "int32", "label": "int32"})


def _scores(holds: csc_matrix, label: Int[Array, " token"], n: int | None = None) -> tuple[Array, Array]:
    """(cluster, condition) counts, and those over all tokens."""
    one = membership.one_hot(label, n, np.float32)
    return np.asarray((one @ holds).toarray()), np.asarray(holds.sum(axis=0)).ravel()


def _quality(pairs: Sequence[tuple[Array, Array]]) -> tuple[float, float]:
    """Precision and recall over (predicted, true) pairs."""
    hits = sum(int((predicted & true).sum()) for predicted, true in pairs)
    predicted = sum(int(p.sum()) for p, _ in pairs)
    true = sum(int(t.sum()) for _, t in pairs)
    return (hits / predicted if predicted else np.nan), (hits / true if true else np.nan)
