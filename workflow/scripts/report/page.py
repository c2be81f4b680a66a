"""The explorer: one file that holds the run's figures, numbers, clusters and tokens, and opens without a network.

Makes: `report/index.html`. Tables of null models, stability, calibration and the order of learning are shown where the run has them.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from quanta.affinity import cosine, kinds, pairs
from quanta.catalogue import naming
from quanta.clustering import membership
from quanta.corpus import decoding, encoding, vocabulary
from quanta.gradients import selection
from quanta.jobs.job import run
from quanta.losses import stored
from quanta.models.family import FAMILY_COLUMNS, in_order
from quanta.report import page_data, rendering
from quanta.report.drawing import ANSWERS
from quanta.storage import files, writing


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    labels = membership.read_labels(inputs.labels, len(chosen))
    family = files.read_table(inputs.family, FAMILY_COLUMNS)
    given = [tuple(member) for member in json.loads(params.members)]
    members = in_order(given, family)
    paths = dict(zip(given, inputs.losses, strict=True))
    described, names, lost = naming.read_described(inputs.described, inputs.names)
    found = [*(files.read_table(path) for path in inputs.scores)]
    axes: list[dict[str, str]] = []
    if inputs.learned:
        when, axes = page_data.learned(files.read_table(inputs.learned))
        found.append(when)
    layout = files.read_table(inputs.layout, ("token", "x", "y"))
    cosines = cosine.read_affinity(inputs.affinity[0]) if inputs.affinity else None
    if inputs.features:
        cosines = pairs.Pairs(files.read_array(inputs.features[0], dtype="float32", shape=(len(chosen), None)))
    scaling, second, of_second = files.read_json(inputs.scaling), None, None
    if params.second:
        second, of_second = _second(inputs, params.second, chosen, scaling)
    chunks = page_data.pack(
        selection=chosen,
        labels=labels,
        table=page_data.joined(described, found),
        documents=files.read_table(inputs.documents, ("document", "source")),
        tokens=tokens,
        texts=decoding.Texts(vocabulary.load_tokenizer(Path(inputs.tokenizer).parent)),
        all_losses=[stored.read_losses(paths[member], tokens) for member in members],
        cosines=cosines,
        places=layout[["x", "y"]].to_numpy(),
        second=second,
    )
    summary = files.read_json(inputs.summary)
    table = files.read_table(inputs.table).astype(object).fillna("")
    nulls = files.read_table(inputs.nulls[0]) if inputs.nulls else None
    page = rendering.html(
        Path(inputs.template).read_text(encoding="utf-8"),
        scripts=[Path(path).read_text(encoding="utf-8") for path in inputs.code],
        styles=[Path(path).read_text(encoding="utf-8") for path in inputs.styles],
        meta={
            **page_data.family(members, family, params.show, params.qdg_model, params.final_step, params.dynamics),
            **page_data.law(
                files.read_table(inputs.rank_frequency, ("n_clusters", "rank", "size")),
                files.read_json(inputs.fits),
                scaling,
                chosen,
                files.read_table(inputs.null_curves[0]) if inputs.null_curves else None,
                files.read_json(inputs.calibration[0]) if inputs.calibration else None,
                nulls,
            ),
            "second": of_second,
            "learned": axes,
            "run": params.run,
            "fingerprint": naming.fingerprint(chosen["document"], chosen["position"]),
            "names": {f"{k}:{label}": name for (k, label), name in names.items()},
            "names_lost": lost,
            "figures": [
                {
                    "name": name,
                    "caption": Path(path).read_text(encoding="utf-8").strip(),
                    "facts": page_data.facts(summary, name, params.qdg_model, len(chosen), params.show),
                    "answers": ANSWERS.get(name, ""),
                    "files": [end for end in ("png", "pdf", "csv") if Path(figure).with_suffix(f".{end}").is_file()],
                }
                for name, path, figure in zip(params.names, inputs.captions, inputs.figures, strict=True)
            ],
        },
        chunks=chunks,
        pictures={name: rendering.picture(path) for name, path in zip(params.names, inputs.figures, strict=True)},
        run=params.run,
        summary=summary,
        table=page_data.shown(table),
        table_columns=list(table.columns),
        nulls=page_data.shown(nulls) if nulls is not None else [],
        n_clusters=params.show,
        n_clusterings=labels["n_clusters"].nunique(),
        model=params.qdg_model,
        second=params.second or "",
    )
    with writing.atomic(outputs.page) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _second(inputs: Any, kind: str, chosen: pd.DataFrame, scaling: Any) -> tuple[page_data.Clustering, dict[str, Any]]:
    """The second clustering, and what the page knows of it at once."""
    described = files.read_table(inputs.second_described[0], ("n_clusters", "label", "fingerprint", "rule"))
    found = [files.read_table(inputs.second_scores[0])]
    if inputs.second_learned:
        found.append(page_data.learned(files.read_table(inputs.second_learned[0]))[0])
    clustering = page_data.Clustering(
        membership.read_labels(inputs.second_labels[0], len(chosen)),
        page_data.joined(described, found),
        cosine.read_affinity(inputs.second_affinity[0]),
        files.read_table(inputs.second_layout[0], ("token", "x", "y"))[["x", "y"]].to_numpy(),
    )
    ranks = files.read_table(inputs.second_rank_frequency[0], ("n_clusters", "rank", "size"))
    curves, slopes = (
        files.read_table(path[0]) if path else None for path in (inputs.second_null_curves, inputs.second_nulls)
    )
    law = page_data.law(ranks, files.read_json(inputs.second_fits[0]), scaling, chosen, curves, None, slopes)
    agreement = files.read_table(inputs.second_agreement[0], ("n_clusters", "adjusted_rand"))
    return clustering, page_data.second(kind, kinds.kind(kind).meaning, agreement, law)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
