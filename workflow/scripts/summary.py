"""The run's main numbers beside the paper's, each with the file that it comes from.

Makes: `report/summary.json` (headline, numbers, corpus, family) and `report/paper_against_ours.csv`.
"""

from typing import Any

import pandas as pd
from quanta import storage
from quanta.job import run

PAPER = "arXiv 2303.13506"


def main(inputs: Any, outputs: Any, params: Any) -> None:
    mean_loss = storage.read_table(inputs.mean_loss, ("model", "step", "non_embedding_parameters", "mean_loss_nats"))
    scaling, qdg = storage.read_json(inputs.scaling), storage.read_json(inputs.qdg)
    selection = storage.read_json(inputs.selection)
    curves = {axis: storage.read_json(path) for axis, path in zip(params.axes, inputs.curves, strict=True)}
    alpha, slope, null = scaling["alpha_n"], qdg["envelope_slope"], qdg["identity_slope"]
    low_share = selection["below_threshold"] / selection["predictions"]
    size = curves["size"]

    rows = [
        ("α_N, mean loss against non-embedding parameters", "0.083", alpha, "scaling/fits.json", "alpha_n"),
        ("slope of the rank-frequency envelope", "-1.24", slope, "qdg/fits.json", "envelope_slope"),
        ("the theory's slope, −(α_N + 1)", "-1.083", _theory(alpha), "scaling/fits.json", "alpha_n"),
        ("ranks of that fit", "100 to 1000", "{} to {}".format(*slope["ranks"]), "qdg/fits.json", "envelope_slope.ranks"),
        ("tokens clustered", "10000", str(slope["n_tokens"]), "qdg/fits.json", "envelope_slope.n_tokens"),
        ("null: slope of the target tokens' own frequencies", "", null, "qdg/fits.json", "identity_slope"),
        (
            f"share of tokens below {params.threshold:g} nats, {params.qdg_model}", "",
            f"{low_share:.4f}", "qdg/selection.json", "below_threshold",
        ),
        (
            "of these, by induction", "",
            f"{selection['by_induction'] / max(selection['below_threshold'], 1):.3f}", "qdg/selection.json", "by_induction",
        ),
        (
            "monogenic tokens, share of all predictions", "few",
            f"{size['monogenic'] / size['predictions']:.2e}", "scaling/tokens_by_size.json", "monogenic",
        ),
        (
            f"of tokens that fall by {size['fall_nats']:g} nats or more: 80 % of it in one step of size", "few",
            f"{size['sharp'] / max(size['fell'], 1):.3f}", "scaling/tokens_by_size.json", "sharp",
        ),
    ]  # fmt: skip
    table = pd.DataFrame([_row(*row) for row in rows])
    storage.write_table(outputs.table, table)
    family = mean_loss[mean_loss["step"] == params.final_step]
    storage.write_json(
        outputs.summary,
        {
            "run": params.run,
            "paper": PAPER,
            "headline": [
                f"α_N = {_shown(alpha)} over {len(family)} models (the paper's Pythia: 0.083)",
                f"envelope slope = {_shown(slope)}, ranks {slope['ranks'][0]} to {slope['ranks'][1]}, "
                f"{slope['n_tokens']} tokens (the paper: -1.24; theory: {-alpha['value'] - 1:.3f})",
                f"null, tokens grouped by identity: {_shown(null)}",
            ],
            "numbers": {
                "alpha_n": alpha,
                "alpha_n_with_irreducible_loss": scaling.get("alpha_n_with_irreducible_loss"),
                "envelope_slope": slope,
                "identity_slope": null,
                "selection": selection,
                "token_curves": curves,
            },
            "corpus": storage.read_json(inputs.sources),
            "family": family.to_dict(orient="records"),
        },
    )


def _theory(alpha: dict[str, Any]) -> dict[str, Any]:
    interval = [-alpha["interval"][1] - 1, -alpha["interval"][0] - 1] if alpha.get("interval") else None
    return {"value": -alpha["value"] - 1, "interval": interval}


def _shown(fit: dict[str, Any]) -> str:
    if fit["value"] is None:
        return "not to be had"
    interval = "" if not fit.get("interval") else " [{:.3f}, {:.3f}]".format(*fit["interval"])
    return f"{fit['value']:.3f}{interval}"


def _row(quantity: str, paper: str, ours: Any, file: str, key: str) -> dict[str, str]:
    return {
        "quantity": quantity,
        "paper": paper,
        "ours": ours if isinstance(ours, str) else _shown(ours),
        "file": file,
        "key": key,
    }


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
