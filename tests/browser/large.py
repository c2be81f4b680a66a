"""Write the page of a finished run anew with 10,000 tokens and the paper's list of n_clusters, to time it.

    PYTHONPATH=workflow python tests/browser/large.py results/mini large.html

Contexts, losses, models and figures are those of the run; tokens are drawn from its corpus, clusters are planted by a Zipf
law and nested in nothing, rules are dealt out from the run's own. What it shows means nothing; how much it is does.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import quanta
import yaml
from quanta.affinity.pairs import Pairs
from quanta.catalogue import naming
from quanta.corpus import decoding, encoding, vocabulary
from quanta.losses import stored
from quanta.rank_frequency import zipf
from quanta.report import page_data, rendering

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hostile import CODE, REPORT
from support import ROOT

N = 10_000


def main(folder: Path, target: Path) -> None:
    run, rng = quanta.load(folder), np.random.default_rng(0)
    ks = yaml.safe_load((ROOT / "config/pythia.yaml").read_text(encoding="utf-8"))["qdg"]["n_clusters"]
    tokens = encoding.load_tokens(folder / "corpus/tokens.npy", folder / "corpus/offsets.npy")
    flat = np.sort(rng.choice(np.flatnonzero(tokens.predicted()), N, replace=False))
    document, position = tokens.place(flat)
    selection = pd.DataFrame({"document": document, "position": position, "token_id": tokens.ids[flat].astype(int)})

    own, labels, table = run.descriptions, [], []
    for k in ks:
        share = np.arange(1, k + 1) ** -1.083
        drawn = np.concatenate([np.arange(k), rng.choice(k, N - k, p=share / share.sum())])
        order = np.argsort(-np.bincount(drawn, minlength=k), kind="stable")
        label = rng.permutation(np.argsort(order)[drawn])
        rules = own.iloc[rng.integers(0, len(own), k)].reset_index(drop=True)
        prints = [naming.fingerprint([k], [c]) for c in range(k)]
        table.append(rules.assign(n_clusters=k, label=range(k), size=np.bincount(label), fingerprint=prints))
        labels.append(pd.DataFrame({"n_clusters": k, "token": range(N), "label": label}))
    curves = {k: zipf.sizes(one["label"].to_numpy()) for k, one in zip(ks, labels, strict=True)}

    page = (folder / "report/index.html").read_text(encoding="utf-8")
    meta = json.loads(re.search(r'id="meta">(.*?)</script>', page, re.DOTALL)[1])
    pictures = dict(re.findall(r'id="picture-([^"]+)">(.*?)</script>', page, re.DOTALL))
    meta |= {
        "ks": ks,
        "rank": {int(k): sizes.tolist() for k, sizes in curves.items()} | {0: zipf.envelope(list(curves.values())).tolist()},
        "show": 400,
        "names": {},
        "fingerprint": "large",
    }  # fmt: skip
    features = rng.normal(size=(N, 64)).astype(np.float32)
    chunks = page_data.pack(
        selection=selection,
        labels=pd.concat(labels),
        table=pd.concat(table),
        documents=run.documents,
        tokens=tokens,
        texts=decoding.Texts(vocabulary.load_tokenizer(folder / "corpus/tokenizer")),
        all_losses=[
            stored.read_losses(folder / f"losses/{m['model']}/step{m['step']}.npy", tokens) for m in meta["members"]
        ],
        cosines=Pairs(features),
        places=rng.normal(size=(N, 2)),
    )
    paper = run.paper_against_ours.astype(object).fillna("")
    text = rendering.html(
        (REPORT / "page.html").read_text(encoding="utf-8"),
        scripts=[(REPORT / "vendor/uPlot.iife.min.js").read_text("utf-8")]
        + [(REPORT / f"explorer/{name}.js").read_text("utf-8") for name in CODE],
        styles=[(REPORT / name).read_text("utf-8") for name in ("vendor/uPlot.min.css", "explorer/explorer.css")],
        meta={name: value for name, value in meta.items() if name != "chunks"},
        chunks=chunks,
        pictures=pictures,
        run="large",
        summary=run.summary,
        table=page_data.shown(paper),
        table_columns=list(paper.columns),
        nulls=[],
        n_clusters=400,
        n_clusterings=len(ks),
        model="neox-1m",
        second="",
    )
    target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
