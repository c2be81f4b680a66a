"""A small run whose corpus, sources and names are made of markup, script and control characters, as files in the results tree."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from quanta.corpus import vocabulary
from quanta.corpus.encoding import Tokens
from quanta.rank_frequency import zipf
from quanta.storage import files
from support import ROOT, names, script

MARKUP = [
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=2>",
    "<!-- --><svg onload=window.hacked=3>",
    "']);window.hacked=4;//",
    "{{ 7*7 }} &amp; &lt;b&gt;",
    "=cmd|'/c calc'!A1",
    "\u202egnp.exe\u2066 \u2028 \x07 $x^2$ \\frac{",
    "]]></textarea></style>",
]
MEMBERS = [("small", 1), ("small", 2), ("small", 4), ("middle", 4), ("large", 4)]
SHOW, GROUPS, SIZES = 4, 4, (36, 28, 20, 12)
REPORT = ROOT / "workflow/report"
CODE = ["data", "lists", "charts", "pictures", "cluster", "gallery", "main"]


def write(folder: Path) -> Path:
    """Write the run. The selection has four planted groups, each with a loss of its own."""
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.permutation(MARKUP * 3)) + f" the end of {i}\n    return x" for i in range(24)]
    tokenizer = vocabulary.train_tokenizer(texts, 400)
    vocabulary.save_tokenizer(tokenizer, folder / "corpus/tokenizer")
    ids = [np.asarray(tokenizer.encode(text).ids, dtype=np.uint16) for text in texts]
    tokens = Tokens(np.concatenate(ids), np.concatenate([[0], np.cumsum([len(one) for one in ids])]).astype(np.int64))
    files.write_array(folder / "corpus/tokens.npy", tokens.ids)
    files.write_array(folder / "corpus/offsets.npy", tokens.offsets)
    documents = pd.DataFrame(
        {"document": range(24), "source": [MARKUP[i % 8] for i in range(24)], "n_tokens": tokens.lengths}
    )
    files.write_table(folder / "corpus/documents.parquet", documents)

    flat = np.sort(rng.choice(np.flatnonzero(tokens.predicted()), 96, replace=False))
    document, position = tokens.place(flat)
    group = rng.permutation(np.repeat(np.arange(GROUPS), SIZES))
    family = pd.DataFrame(MEMBERS, columns=["model", "step"])
    family["non_embedding_parameters"] = family["model"].map({"small": 1000, "middle": 20_000, "large": 400_000})
    files.write_table(folder / "models/family.csv", family.assign(revision="r", sha256=[f"{i}" for i in range(5)]))
    for i, (model, step) in enumerate(MEMBERS):
        losses = rng.uniform(0.2, 9, len(tokens.ids)).astype(np.float32)
        losses[flat] = np.where(group < i, 0.05, 4 + group) + rng.uniform(0, 0.04, 96)
        losses[~tokens.predicted()] = np.nan
        files.write_array(folder / f"losses/{model}/step{step}.npy", losses)
    selection = pd.DataFrame(
        {"token": range(96), "document": document, "position": position, "token_id": tokens.ids[flat].astype(np.int64)}
    )
    files.write_table(folder / "qdg/tokens.parquet", selection.assign(loss_nats=losses[flat]))

    centres = np.linalg.qr(rng.normal(size=(64, GROUPS)))[0].T
    unit = centres[group] + 0.08 * rng.normal(size=(96, 64))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = (unit @ unit.T).astype(np.float32)
    np.fill_diagonal(cosines, 1)
    files.write_array(folder / "qdg/affinity.npy", cosines)
    vectors = np.linalg.eigh(np.maximum(cosines, 0).astype(float))[1][:, ::-1][:, :8]
    files.write_array(folder / "qdg/embedding.npy", np.hstack([np.full((96, 1), 0.1), vectors]))
    by_k = {2: group // 2, 4: group, 8: group + GROUPS * (np.arange(96) >= 48)}
    labels = [pd.DataFrame({"n_clusters": k, "token": range(96), "label": own}) for k, own in by_k.items()]
    files.write_table(folder / "qdg/labels.parquet", pd.concat(labels))
    curves = {k: zipf.sizes(own) for k, own in by_k.items()} | {
        0: zipf.envelope([zipf.sizes(o) for o in by_k.values()])
    }
    ranks = [
        pd.DataFrame({"n_clusters": k, "rank": range(1, len(s) + 1), "size": s}) for k, s in sorted(curves.items())
    ]
    files.write_table(folder / "qdg/rank_frequency.csv", pd.concat(ranks))
    _write_second(folder, by_k)
    slope = {"value": -0.5, "interval": [-0.6, -0.4], "ranks": [2, 8], "interval_method": MARKUP[0]}
    files.write_json(folder / "qdg/fits.json", {"envelope_slope": slope})
    files.write_json(folder / "scaling/fits.json", {"alpha_n": {"value": 0.3}})
    summary = {"run": MARKUP[1], "paper": "arXiv 2303.13506", "headline": [MARKUP[0], "α = 0.3"]}
    members = [
        {
            "model": "large",
            "step": 4,
            "non_embedding_parameters": 400_000,
            "mean_loss_nats": 3.14159,
            "n_predictions": 1234,
        }
    ]
    files.write_json(folder / "report/summary.json", summary | {"family": members})
    rows = pd.DataFrame(
        {"quantity": MARKUP, "paper": "0.083", "ours": "1", "verdict": "", "why": MARKUP, "file": "f", "key": "k"}
    )
    files.write_table(folder / "report/paper_against_ours.csv", rows)
    base = {
        "selection": folder / "qdg/tokens.parquet",
        "labels": folder / "qdg/labels.parquet",
        "tokens": folder / "corpus/tokens.npy",
        "offsets": folder / "corpus/offsets.npy",
        "documents": folder / "corpus/documents.parquet",
        "tokenizer": folder / "corpus/tokenizer/tokenizer.json",
        "described": folder / "qdg/descriptions.parquet",
        "family": folder / "models/family.csv",
        "losses": [str(folder / f"losses/{model}/step{step}.npy") for model, step in MEMBERS],
    }
    script("catalogue/describe")(names(**base), names(table=folder / "qdg/descriptions.parquet"), names())
    script("catalogue/layout")(
        names(embedding=folder / "qdg/embedding.npy"), names(layout=folder / "qdg/layout.parquet"), names(seed=0)
    )
    described = pd.read_parquet(folder / "qdg/descriptions.parquet")
    row = described[described["n_clusters"] == SHOW].iloc[1]
    given = pd.DataFrame([{"n_clusters": SHOW, "label": 3, "fingerprint": row["fingerprint"], "name": MARKUP[0]}])
    files.write_table(folder / "labels.csv", given)
    look = json.dumps({"width_inches": 6.5, "dpi": 60})
    common = {"show": SHOW, "members": json.dumps(MEMBERS), "final_step": 4, "dynamics": "small"}
    common["sizes"] = json.dumps([member for member in MEMBERS if member[1] == 4])
    for name in ("clusters", "emergence"):
        target = folder / f"report/figures/{name}"
        out = names(**{end: target.with_suffix(f".{end}") for end in ("png", "pdf", "csv")})
        script(f"catalogue/figure_{name}")(
            names(**base, names=[str(folder / "labels.csv")]), out, names(look=look, **common)
        )
    axes = [["step of small", MEMBERS[:3]], ["size", [member for member in MEMBERS if member[1] == 4]]]
    script("catalogue/learned")(
        names(**base),
        names(table=folder / "qdg/learned.csv", order=folder / "qdg/learned.json"),
        names(axes=json.dumps(axes), members=json.dumps(MEMBERS), show=SHOW, least=1, draws=20, seed=0),
    )
    caption = folder / "caption.rst"
    caption.write_text(MARKUP[2], encoding="utf-8")
    script("report/page")(
        names(
            **base,
            figures=[str(folder / f"report/figures/{name}.png") for name in ("clusters", "emergence")],
            captions=[str(caption)] * 2,
            template=REPORT / "page.html",
            code=[str(REPORT / "vendor/uPlot.iife.min.js"), *(str(REPORT / f"explorer/{name}.js") for name in CODE)],
            styles=[str(REPORT / "vendor/uPlot.min.css"), str(REPORT / "explorer/explorer.css")],
            summary=folder / "report/summary.json",
            table=folder / "report/paper_against_ours.csv",
            layout=folder / "qdg/layout.parquet",
            affinity=[str(folder / "qdg/affinity.npy")],
            features=[],
            rank_frequency=folder / "qdg/rank_frequency.csv",
            fits=folder / "qdg/fits.json",
            scaling=folder / "scaling/fits.json",
            names=[str(folder / "labels.csv")],
            scores=[],
            learned=folder / "qdg/learned.csv",
            nulls=[],
            null_curves=[],
            calibration=[],
            **_second_of(folder, base),
        ),
        names(page=folder / "report/index.html"),
        names(names=["clusters", "emergence"], run=MARKUP[1], qdg_model="large", second="standardised", **common),
    )
    return folder


def _write_second(folder: Path, by_k: dict[int, np.ndarray]) -> None:
    """Another clustering of the same tokens: each label stands for what three places later has the first's."""
    labels = [pd.DataFrame({"n_clusters": k, "token": range(96), "label": np.roll(own, 3)}) for k, own in by_k.items()]
    files.write_table(folder / "qdg/second/labels.parquet", pd.concat(labels))
    agreement = pd.DataFrame({"n_clusters": list(by_k), "adjusted_rand": [0.125] * len(by_k)})
    files.write_table(folder / "qdg/second/agreement.csv", agreement)


def _second_of(folder: Path, base: dict[str, object]) -> dict[str, list[str]]:
    """What the page takes of the second clustering; described by the script that describes the first."""
    own = folder / "qdg/second"
    table = own / "descriptions.parquet"
    script("catalogue/describe")(names(**base | {"labels": own / "labels.parquet"}), names(table=table), names())
    scores = pd.read_parquet(table)[["n_clusters", "label"]].assign(stability_seeds=0.25)
    files.write_table(own / "clusters.parquet", scores)
    found = {
        "labels": own / "labels.parquet",
        "described": table,
        "scores": own / "clusters.parquet",
        "affinity": folder / "qdg/affinity.npy",
        "layout": folder / "qdg/layout.parquet",
        "rank_frequency": folder / "qdg/rank_frequency.csv",
        "fits": folder / "qdg/fits.json",
        "agreement": own / "agreement.csv",
    }
    none = {"second_nulls": [], "second_null_curves": [], "second_learned": []}
    return none | {f"second_{name}": [str(path)] for name, path in found.items()}
