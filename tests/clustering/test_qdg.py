"""The QDG stages as the pipeline runs them: their scripts, on files."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from quanta.affinity import cosine
from quanta.corpus import encoding
from quanta.errors import QuantaError
from quanta.gradients import batching
from quanta.losses import batching as losses_batching
from quanta.losses import forward
from quanta.storage import files
from support import names, random_tokens, script
from torch import nn

VOCABULARY = 97
N_CLUSTERS = [2, 4, 7]


@pytest.fixture(scope="module")
def folder(model, model_folder, tmp_path_factory):
    """Corpus, losses and selection of a small model: what the stages of QDG read."""
    here = tmp_path_factory.mktemp("qdg")
    tokens = random_tokens([20, 0, 64, 1, 33, 12, 48, 5, 60, 31], VOCABULARY, seed=4)
    files.write_array(here / "tokens.npy", tokens.ids)
    files.write_array(here / "offsets.npy", tokens.offsets)
    values = forward.token_losses(model, tokens, range(tokens.n_documents), batch_tokens=256)
    files.write_array(here / "losses.npy", values)
    script("gradients/select")(
        names(losses=[str(here / "losses.npy")], tokens=here / "tokens.npy", offsets=here / "offsets.npy"),
        names(tokens=here / "tokens.parquet", counts=here / "selection.json"),
        names(threshold=float(np.nanmedian(values)), tokens=24, induction="drop", selection="exact"),
    )
    return here


def take_gradients(folder, model_folder, target, *, part=0, shards=1, features=None, batch_tokens=200):
    out = target / f"features.part{part}of{shards}.npy"
    script("gradients/gradients")(
        names(
            model=model_folder,
            selection=folder / "tokens.parquet",
            tokens=folder / "tokens.npy",
            offsets=folder / "offsets.npy",
            beginning=None,
        ),
        names(features=out, record=out.with_suffix(".json")),
        names(features=features, batch_tokens=batch_tokens, seed=0, parameters="clean", precision="float32"),
    )
    return np.load(out)


@pytest.fixture(scope="module")
def exact(folder, model_folder, tmp_path_factory):
    return take_gradients(folder, model_folder, tmp_path_factory.mktemp("exact"))


def plain_gradients(model, tokens, document, position):
    """Autograd of one token's loss with the whole document before it as one sequence: weights and biases by layer."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear) and m is not model.get_output_embeddings()]
    parameters = [p for layer in layers for p in (layer.weight, layer.bias)]
    for parameter in parameters:
        parameter.requires_grad_(True)
    ids = torch.from_numpy(tokens.document(document).astype(np.int64))[None]
    logits = model(input_ids=ids[:, :position]).logits[0, -1]
    loss = nn.functional.cross_entropy(logits, ids[0, position])
    found = torch.autograd.grad(loss, parameters)
    for parameter in parameters:
        parameter.requires_grad_(False)
    return torch.cat([g.flatten() for g in found]).numpy(), float(loss.detach())


def test_gradients_equal_plain_autograd_one_token_at_a_time(folder, model, exact):
    tokens = encoding.load_tokens(folder / "tokens.npy", folder / "offsets.npy")
    table = pd.read_parquet(folder / "tokens.parquet")
    assert len(table) == len(exact) == 24
    for row in table.itertuples():
        expected, loss = plain_gradients(model, tokens, row.document, row.position)
        assert abs(loss - row.loss_nats) < 1e-4
        found = exact[row.token]
        # by their inner products, so that neither the order of parameters nor another set's scale matters
        np.testing.assert_allclose(found @ found, expected @ expected, rtol=2e-5)
        other, _ = plain_gradients(model, tokens, table["document"].iloc[0], table["position"].iloc[0])
        scale = np.linalg.norm(expected) * np.linalg.norm(other)
        assert abs(found.astype(float) @ exact[0] - expected.astype(float) @ other) < 1e-5 * scale


def test_batches_and_parts_change_nothing(folder, model_folder, exact, tmp_path, monkeypatch):
    largest = np.abs(exact).max(axis=1, keepdims=True)
    for batch_tokens in (1, 10**6):
        found = take_gradients(folder, model_folder, tmp_path, batch_tokens=batch_tokens)
        assert (np.abs(found - exact) / largest).max() < 1e-5
    for module in (losses_batching, batching):  # parts are whole blocks, and there are few tokens here
        monkeypatch.setattr(module, "BLOCK", 8)
    whole = take_gradients(folder, model_folder, tmp_path, features=101)
    for part in range(3):
        take_gradients(folder, model_folder, tmp_path, part=part, shards=3, features=101)
    parts = [str(tmp_path / f"features.part{part}of3.npy") for part in range(3)]
    script("gradients/features")(
        names(parts=parts, selection=folder / "tokens.parquet"),
        names(features=tmp_path / "features.npy", record=tmp_path / "features.json"),
        names(),
    )
    said = files.read_json(tmp_path / "features.json")
    assert said["same"]["parameter_set"] == "clean" and said["same"]["features"] == 101
    assert np.load(tmp_path / "features.npy").tobytes() == whole.tobytes()


def test_other_weights_than_those_of_the_losses_are_refused(folder, model_folder, tmp_path):
    from quanta.models import training

    other = training.new_model(training.LadderSize("small", 16, 2, 2), vocabulary=VOCABULARY, context=64, seed=4)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(QuantaError, match=r"loss .* nats at document") as caught:
        take_gradients(folder, tmp_path / "other", tmp_path)
    assert "as in the selection" in caught.value.expected


# -------------------------------------------------------------------------------------------------- similarity


def cosines_of(features, folder, tmp_path):
    files.write_array(tmp_path / "features.npy", features)
    script("affinity/affinity")(
        names(features=[str(tmp_path / "features.npy")], selection=folder / "tokens.parquet"),
        names(affinity=tmp_path / "affinity.npy"),
        names(),
    )
    return cosine.read_affinity(str(tmp_path / "affinity.npy"))


def test_cosine_is_its_definition(folder, exact, tmp_path):
    found = cosines_of(exact, folder, tmp_path)
    for i in range(0, 24, 5):
        for j in range(24):
            a, b = exact[i].astype(np.float64), exact[j].astype(np.float64)
            assert abs(found[i, j] - a @ b / np.sqrt((a @ a) * (b @ b))) < 1e-6


def test_cosine_of_equal_and_opposite_gradients_is_clipped(folder, exact, tmp_path):
    """Rounding would take them past one, where arccos is not a number."""
    rows = exact.copy()
    rows[1], rows[2] = 1000 * rows[0], -3 * rows[0]
    found = cosines_of(rows, folder, tmp_path)
    assert np.abs(found).max() <= 1 and (np.diagonal(found) == 1).all() and (found == found.T).all()
    angles = cosine.angular(found)
    assert np.isfinite(angles).all() and angles.min() >= 0 and angles.max() <= 1
    assert angles[0, 1] > 0.999 and angles[0, 2] < 0.001


@given(st.lists(st.floats(-1.000001, 1.000001), min_size=1, max_size=30))
def test_angular_similarity_is_its_definition(cosines):
    found = cosine.angular(np.array([cosines]))
    expected = [1 - np.arccos(min(max(c, -1), 1)) / np.pi for c in cosines]
    np.testing.assert_allclose(found[0], expected, atol=1e-15)
    assert (found >= 0).all() and (found <= 1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.__setitem__((2, 5), a[2, 5] + 0.1), r"at \(2, 5\)"),
        (lambda a: (a.__setitem__((2, 5), np.nan), a.__setitem__((5, 2), np.nan)), r"nan at \(2, 5\)"),
        (lambda a: (a.__setitem__((2, 5), 1.5), a.__setitem__((5, 2), 1.5)), r"1\.5 at \(2, 5\)"),
        (lambda a: a.__setitem__((3, 3), 0.5), r"0\.5 at \(3, 3\)"),
    ],
)
def test_a_matrix_that_holds_no_cosines_is_refused_with_its_place(folder, exact, tmp_path, change, message):
    matrix = np.array(cosines_of(exact, folder, tmp_path))
    change(matrix)
    np.save(tmp_path / "affinity.npy", matrix)
    with pytest.raises(QuantaError, match=message) as caught:
        script("clustering/embedding")(
            names(affinity=tmp_path / "affinity.npy"),
            names(embedding=tmp_path / "embedding.npy", eigenvalues=tmp_path / "eigenvalues.npy"),
            names(largest=5),
        )
    assert caught.value.where.endswith("affinity.npy") and "symmetric" in caught.value.expected
    assert not (tmp_path / "embedding.npy").exists()


def test_features_that_are_not_one_row_a_token_are_refused(folder, exact, tmp_path):
    with pytest.raises(QuantaError, match="23 rows") as caught:
        cosines_of(exact[:-1], folder, tmp_path)
    assert "24 rows" in caught.value.expected and not (tmp_path / "affinity.npy").exists()


def test_exact_mode_gives_the_cosines_of_the_exact_gradients(folder, model_folder, exact, tmp_path):
    script("affinity/exact_affinity")(
        names(
            model=model_folder,
            selection=folder / "tokens.parquet",
            tokens=folder / "tokens.npy",
            offsets=folder / "offsets.npy",
            beginning=None,
        ),
        names(affinity=tmp_path / "exact.npy"),
        names(parameters="clean", precision="float32", memory_bytes=10**6, batch_tokens=200),
    )
    found = cosine.read_affinity(str(tmp_path / "exact.npy"))
    np.testing.assert_allclose(found, cosines_of(exact, folder, tmp_path), atol=1e-6)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_gradient_without_a_direction_is_refused(folder, exact, tmp_path, value):
    rows = exact.copy()
    rows[7] = value
    with pytest.raises(QuantaError, match="token 7"):
        cosines_of(rows, folder, tmp_path)


# ------------------------------------------------------------------------------------------ clustering and laws


def calibrated(here):
    """What the calibration hands on."""
    fit = {"value": 0.1, "interval": [0.0, 0.2]}
    files.write_json(here / "calibration.json", {"alpha": fit, "alpha_by_collisions": fit, "coverage": {"found": 0.9}})
    return here / "calibration.json"


@pytest.fixture(scope="module")
def clustered(folder, exact, tmp_path_factory):
    here = tmp_path_factory.mktemp("clustered")
    cosines_of(exact, folder, here)
    script("clustering/embedding")(
        names(affinity=here / "affinity.npy"),
        names(embedding=here / "embedding.npy", eigenvalues=here / "eigenvalues.npy"),
        names(largest=max(N_CLUSTERS)),
    )
    label(here)
    script("rank_frequency/rank_frequency")(
        names(
            labels=here / "labels.parquet",
            selection=folder / "tokens.parquet",
            calibration=calibrated(here),
            **further(here, folder),
        ),
        names(table=here / "rank_frequency.csv", fits=here / "fits.json"),
        names(rank_shares=[0.05, 0.3], draws=10, show=4, seed=0, **ASSIGNED),
    )
    return here


ASSIGNED = {"method": "kmeans", "rows": "degree", "restarts": 3}


def further(here, folder):
    """What else the law of ranks reads: the embedding, and which text each token is of; here each document is one."""
    n_documents = len(np.load(folder / "offsets.npy")) - 1
    table = pd.DataFrame({"document": range(n_documents), "source": [f"text {i}" for i in range(n_documents)]})
    files.write_table(here / "documents.parquet", table)
    return {
        "embedding": here / "embedding.npy",
        "offsets": folder / "offsets.npy",
        "documents": here / "documents.parquet",
    }


def label(here, n_clusters=N_CLUSTERS):
    script("clustering/labels")(
        names(embedding=here / "embedding.npy"),
        names(labels=here / "labels.parquet"),
        names(n_clusters=n_clusters, method="kmeans", rows="degree", restarts=3, seed=0),
    )


def test_every_token_has_one_label_in_every_clustering(clustered):
    labels = pd.read_parquet(clustered / "labels.parquet")
    assert list(labels.columns) == ["n_clusters", "token", "label"]
    for k in N_CLUSTERS:
        part = labels[labels["n_clusters"] == k]
        assert part["token"].tolist() == list(range(24)) and sorted(part["label"].unique()) == list(range(k))


def test_rank_frequency_counts_the_labels(clustered):
    labels = pd.read_parquet(clustered / "labels.parquet")
    table = pd.read_csv(clustered / "rank_frequency.csv")
    for k in N_CLUSTERS:
        sizes = labels.loc[labels["n_clusters"] == k, "label"].value_counts().tolist()
        assert table.loc[table["n_clusters"] == k, "size"].tolist() == sizes
    top = table[table["n_clusters"] == 0].set_index("rank")["size"]
    others = table[table["n_clusters"] > 0].groupby("rank")["size"].max()
    assert top.tolist() == others.tolist()
    fits = json.loads((clustered / "fits.json").read_text())
    fit = fits["envelope_slope"]
    assert fits["calibrated_alpha"]["interval"] == [0.0, 0.2], (
        "the contract: beside the paper's fit, the calibrated value"
    )
    first, last = fit["ranks"]
    assert (first, last) == (1, 7)
    slope = np.polyfit(np.log(np.arange(first, last + 1)), np.log(top.loc[first:last]), 1)[0]
    assert abs(fit["value"] - slope) < 1e-12


def test_an_embedding_of_another_width_is_refused(clustered, tmp_path):
    np.save(tmp_path / "embedding.npy", np.load(clustered / "embedding.npy")[:, :5])
    with pytest.raises(QuantaError, match=r"holds float64 of shape \(24, 5\)") as caught:
        label(tmp_path)
    assert "(any, 7)" in caught.value.expected


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_embedding_with_a_number_that_is_none_is_refused(clustered, tmp_path, value):
    vectors = np.load(clustered / "embedding.npy")
    vectors[3, 2] = value
    np.save(tmp_path / "embedding.npy", vectors)
    with pytest.raises(QuantaError, match=r"embedding\.npy") as caught:
        label(tmp_path)
    assert "start the run again" in caught.value.mend


def test_labels_that_miss_a_token_are_refused(clustered, folder, tmp_path):
    table = pd.read_parquet(clustered / "labels.parquet")
    files.write_table(tmp_path / "labels.parquet", table.drop(index=30))
    with pytest.raises(QuantaError, match=r"labels\.parquet") as caught:
        script("rank_frequency/rank_frequency")(
            names(
                labels=tmp_path / "labels.parquet",
                selection=folder / "tokens.parquet",
                calibration=calibrated(tmp_path),
                **further(clustered, folder),
            ),
            names(table=tmp_path / "rank_frequency.csv", fits=tmp_path / "fits.json"),
            names(rank_shares=[0.05, 0.3], draws=10, show=5, seed=0, **ASSIGNED),
        )
    assert "start the run again" in caught.value.mend


def test_a_selection_too_small_for_the_clusters_stops_before_the_gradients(folder, tmp_path):
    counts = json.loads((folder / "selection.json").read_text()) | {"selected": 64}
    (tmp_path / "selection.json").write_text(json.dumps(counts))

    def check(largest):
        script("gradients/enough")(
            names(counts=tmp_path / "selection.json"),
            names(enough=tmp_path / "enough.json"),
            names(threshold=0.1, largest=largest),
        )

    with pytest.raises(QuantaError, match=r"64 tokens with a loss below 0\.1 nats") as caught:
        check(64)
    assert "raise qdg.threshold" in caught.value.mend and "n_clusters below 64" in caught.value.mend
    assert not (tmp_path / "enough.json").exists()
    check(63)
    assert json.loads((tmp_path / "enough.json").read_text()) == {"selected": 64, "largest_n_clusters": 63}
