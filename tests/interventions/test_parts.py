"""The stage's scripts on a net whose skills are planted: any number of parts makes the same bytes, and units are found."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import planted
import pytest
from quanta.affinity import cosine
from quanta.clustering import membership
from quanta.config.plan import Plan
from quanta.gradients.token_gradients import token_gradients
from quanta.interventions import transfer
from quanta.losses import forward
from quanta.storage import files
from support import script, settled

MOVES = pd.DataFrame(columns=transfer.MOVES)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Inputs of the three scripts, in one folder."""
    folder = tmp_path_factory.mktemp("run")
    net = planted.model()
    net.save_pretrained(folder / "model")
    blank = planted.model()
    blank.gpt_neox.layers[0].mlp.dense_4h_to_h.weight[:, 1] = 0.0
    blank.save_pretrained(folder / "earlier")
    tokens, document, position, skill = planted.corpus()
    np.save(folder / "tokens.npy", tokens.ids)
    np.save(folder / "offsets.npy", tokens.offsets)
    files.write_json(folder / "beginning.json", {"ids": []})
    for name, model in (("losses", net), ("earlier", blank)):
        found = forward.token_losses(model, tokens, range(tokens.n_documents), batch_tokens=64)
        files.write_array(folder / f"{name}.npy", found)
    features, nats = token_gradients(net, tokens, document, position, features=None, parameters="clean")
    files.write_array(folder / "features.npy", features)
    with files.new_array(folder / "affinity.npy", (len(features),) * 2, "float32") as out:
        cosine.cosine([features], out)
    ids = tokens.ids[tokens.flat(document, position)].astype(np.int64)
    columns = {"token": np.arange(len(ids)), "document": document, "position": position, "token_id": ids}
    files.write_table(folder / "selection.parquet", pd.DataFrame(columns | {"loss_nats": nats}))
    sources = [f"text {number}" for number in range(tokens.n_documents)]
    files.write_table(folder / "documents.parquet", pd.DataFrame({"document": range(len(sources)), "source": sources}))
    files.write_table(folder / "labels.parquet", membership.as_table({4: membership.by_size(skill)}))
    return folder


def made(run: Path, folder: Path, parts: int, features: list[str], **settings: int) -> Path:
    """All three scripts with so many parts; lengths of gradients from features, or where there are none made anew."""
    folder.mkdir()
    own = {"controls": 2, "half_tokens": 5, "curves": 2, "insertions": 2, "plain_tokens": 16, "least_tokens": 8}
    plan = Plan(settled(interventions=own | {"unlearned_nats": 1.0} | settings))
    own = {name: str(run / f"{name}.npy") for name in ("tokens", "offsets")}
    own |= {"beginning": str(run / "beginning.json"), "selection": str(run / "selection.parquet")}
    own |= {"labels": [str(run / "labels.parquet")] * 2}
    fixed = {"clusterings": ["clusters", "second"], "show": 4, "seed": 0, "earlier": ["net/step1"]}
    groups = {name: str(folder / name) for name in ("groups.parquet", "halves.parquet", "panel.csv")}
    groups = {Path(name).stem: path for name, path in groups.items()}
    clustering = {"method": "kmeans", "rows": "degree", "restarts": 1}
    script("interventions/halves")(
        SimpleNamespace(**own, untrained=str(run / "affinity.npy"), earlier=[str(run / "earlier.npy")]),
        SimpleNamespace(**groups),
        SimpleNamespace(**plan.interventions_of("halves") | clustering | fixed),
    )
    tables = {"cases": [], "rows": []}
    for part in range(parts):
        paths = {name: str(folder / f"{name}.part{part}of{parts}.parquet") for name in tables}
        script("interventions/interventions")(
            SimpleNamespace(**own, **groups, model=str(run / "model"), earlier=[str(run / "earlier")],
                            losses=[str(run / "losses.npy")], features=features),
            SimpleNamespace(**paths),
            SimpleNamespace(**plan.interventions_of("interventions") | fixed, features=None, parameters="clean", batch_tokens=64),
        )  # fmt: skip
        for name, path in paths.items():
            tables[name].append(path)
    outputs = {name: str(folder / Path(path).name) for name, path in plan.interventions_tables().items()}
    script("interventions/alone")(
        SimpleNamespace(
            **own, **groups, **tables, affinity=str(run / "affinity.npy"), documents=str(run / "documents.parquet")
        ),
        SimpleNamespace(**outputs),
        SimpleNamespace(**fixed),
    )
    return folder


@pytest.mark.parametrize("sketched", [True, False])
def test_any_number_of_parts_makes_the_same_bytes_and_units_are_found(run, tmp_path, sketched):
    features = [str(run / "features.npy")] if sketched else []
    one, three = (made(run, tmp_path / str(parts), parts, features) for parts in (1, 3))
    names = sorted(path.name for path in one.iterdir() if ".part" not in path.name)
    assert len(names) == 13
    for name in names:
        assert (one / name).read_bytes() == (three / name).read_bytes(), name
    alone = json.loads((one / "alone.json").read_text(encoding="utf-8"))
    assert alone["headline"].startswith("4 of 4 clusters can be removed alone, and 0 of 2 random groups.")
    by = {(c["kind"], c["grouping"], c["halving"]): (c["alone"], c["groups"]) for c in alone["counts"]}
    assert by["removal", "second", "documents"] == (4, 4) and by["insertion", "clusters", "documents"] == (1, 1)
    clusters = pd.read_csv(one / "clusters.csv")
    assert clusters["label"].tolist() == [0, 1, 2, 3] and (clusters["removed"] > 0.5).all()
    assert (clusters["removed_low"] <= clusters["removed"]).all() and clusters["removed_alone"].notna().all()
    law = [one for one in alone["law"] if one["grouping"] == "clusters"]
    assert [one["step"] for one in law] == list(transfer.settled([], pd.DataFrame(columns=transfer.UNITS), MOVES, []))
    assert all(one["clusters"] == 4 and one["interval"][0] <= one["value"] <= one["interval"][1] for one in law)
    units = pd.read_csv(one / "units.csv")
    assert units.loc[units["grouping"] == "clusters", "unit"].tolist() == [0, 1, 2, 3]
    curves = pd.read_csv(one / "curves.csv")
    assert set(curves["step_share"]) == {0.25, 0.5, 1.0, 2.0} and curves["group"].nunique() == 2
    first = curves[curves["role"] == "first"]
    assert all(part.sort_values("step_share")["nats"].is_monotonic_increasing for _, part in first.groupby("group"))


@pytest.mark.parametrize(
    ("settings", "panels"),
    [
        ({}, {"removal", "insertion", "noise", "both", "step", "transfer"}),
        ({"noise_draws": 0, "insertions": 0, "curves": 0}, {"removal", "transfer"}),
    ],
)
def test_the_figure_has_the_panels_that_there_is_something_for(run, tmp_path, settings, panels):
    folder = made(run, tmp_path / "run", 1, [str(run / "features.npy")], **settings)
    tables = {name: str(folder / f"{name}.csv") for name in ("shares", "medians", "curves", "transfer")}
    drawn = SimpleNamespace(**{kind: str(tmp_path / f"figure.{kind}") for kind in ("png", "pdf", "csv")})
    script("interventions/figure_interventions")(
        SimpleNamespace(**tables), drawn, SimpleNamespace(look=json.dumps(settled()["figures"]))
    )
    assert set(pd.read_csv(drawn.csv)["panel"]) == panels and Path(drawn.png).stat().st_size > 10_000
    clusters = pd.read_csv(folder / "clusters.csv")
    assert clusters["removed_by_noise"].notna().all() == ("noise" in panels)
