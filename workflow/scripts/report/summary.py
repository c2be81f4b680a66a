"""The run's main numbers next to the paper's, each with the file that it comes from.

Makes: `report/summary.json` (headline, numbers, corpus, family), `report/paper_against_ours.csv` with agreement and reason, and
`report/paper_checks.csv`: every number of the paper's language models, the tolerance, this run's, and whether they agree.
"""

import json
from pathlib import Path
from typing import Any

from quanta.jobs.job import run
from quanta.report import comparison, paper, parity_comparison
from quanta.report.parity_comparison import Source
from quanta.storage.files import read_json, read_table, write_json, write_table


def main(inputs: Any, outputs: Any, params: Any) -> None:
    extent = json.loads(params.parity) if params.parity else None
    found = comparison.Run(
        mean_loss=read_table(
            inputs.mean_loss, ("model", "step", "non_embedding_parameters", "mean_loss_nats", "n_predictions")
        ),
        scaling=read_json(inputs.scaling),
        curves={axis: read_json(path) for axis, path in zip(params.axes, inputs.curves, strict=True)},
        selection=read_json(inputs.selection),
        qdg=read_json(inputs.qdg),
        order=read_json(inputs.learned) if params.learning else {},
        learning=params.learning,
        draws=read_table(inputs.stability, ("kind", "slope")),
        nulls=read_table(inputs.nulls, ("model", "slope", "distinguishable", "words")),
        on_nets=read_table(inputs.on_nets, ("condition", "estimator", "nets", "covered", "nominal")),
        seeds=read_json(inputs.seeds[0]) if inputs.seeds else None,
        published=read_json(inputs.theory)["published"],
        settings=json.loads(params.settings),
        documents=len(read_table(inputs.documents, ("document",))),
        final_step=params.final_step,
        threshold=params.threshold,
        model=params.qdg_model,
        alone=read_json(inputs.alone[0]) if inputs.alone else None,
        second_order=read_json(inputs.second_order[0]) if inputs.second_order else None,
        second_nulls=read_table(inputs.second_nulls[0], ("model", "slope", "words", "agreement_target"))
        if inputs.second_nulls
        else None,
    )
    rows = comparison.rows(found)
    if extent is not None:
        rows += parity_comparison.rows(_parity(inputs, params.parity_alpha, paper.parity_differences(extent)))
    write_table(outputs.table, comparison.table(rows))
    write_table(outputs.checks, paper.checks(found.ours))
    content = {"run": params.run, "paper": comparison.PAPER, "headline": comparison.headline(found)}
    chat = read_json(inputs.compared[0])["chat"] if inputs.compared else []
    content |= {"left_out": params.left_out, "models": chat}
    content |= {"numbers": comparison.numbers(found, extent), "corpus": read_json(inputs.sources)}
    write_json(outputs.summary, content | {"family": found.family.to_dict(orient="records")})


def _parity(inputs: Any, alpha: float, differ: str) -> parity_comparison.Parity:
    folder = Path(inputs.parity).parent.parent

    def source(path: str, *columns: str, of_run: bool = False) -> Source:
        return Source(str(Path(path).relative_to(folder)) if of_run else str(path), read_table(path, columns))

    recorded = [source(path, "alpha", "resource", "exponent", "low", "high") for path in inputs.recorded_parity]
    return parity_comparison.Parity(
        alpha=alpha,
        differ=differ,
        fits=read_json(inputs.parity),
        paper=read_table(inputs.paper_parity, ("alpha", "resource", "exponent")),
        scores=source(inputs.parity_scores, "name", "adjusted_rand", of_run=True),
        envelopes=source(inputs.parity_envelopes, "condition", "true_slope", "envelope_slope", of_run=True),
        estimates=read_table(inputs.parity_estimates, ("alpha", "seed", "condition", "estimator", "value")),
        recorded=list(zip((parity_comparison.LARGER, parity_comparison.PAPERS_TASKS), recorded, strict=True)),
        convergence=source(inputs.recorded_convergence, "alpha", "slope", "low", "high"),
        coverage=source(inputs.on_nets, "condition", "estimator", "nets", "covered"),
    )


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
