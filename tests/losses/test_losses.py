from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from quanta.catalogue import composition
from quanta.config import costs
from quanta.errors import QuantaError
from quanta.losses import batching, forward, stored
from quanta.models import neox_shape, pretrained, training
from quanta.storage import files
from support import names, random_tokens, script, tokens_of

TOLERANCE = 1e-5  # nats


def whole(tokens):
    return range(tokens.n_documents)


def test_losses_equal_hugging_faces_own_document_by_document(model, ragged_tokens):
    ours = forward.token_losses(model, ragged_tokens, whole(ragged_tokens), batch_tokens=256)
    spread = []
    for index in range(ragged_tokens.n_documents):
        ids = torch.from_numpy(ragged_tokens.document(index).astype(np.int64))[None]
        found = ours[ragged_tokens.offsets[index] : ragged_tokens.offsets[index + 1]]
        assert np.isnan(found[:1]).all()
        if ids.shape[1] > 1:
            theirs = float(model(input_ids=ids, labels=ids).loss)
            assert abs(float(found[1:].astype(np.float64).mean()) - theirs) < TOLERANCE
            spread.append(theirs)
    assert len(spread) == 9 and np.ptp(spread) > 0.1, "the documents must differ, or the order is not tested"


def test_every_loss_is_minus_log_probability_of_its_token(model, ragged_tokens):
    ours = forward.token_losses(model, ragged_tokens, whole(ragged_tokens), batch_tokens=256)
    document = 6
    ids = torch.from_numpy(ragged_tokens.document(document).astype(np.int64))
    logits = model(input_ids=ids[None]).logits[0].double()
    begin = int(ragged_tokens.offsets[document])
    for position in range(1, len(ids)):
        probability = torch.softmax(logits[position - 1], 0)[ids[position]]
        assert abs(float(ours[begin + position]) + float(torch.log(probability))) < TOLERANCE


@pytest.mark.parametrize("batch_tokens", [1, 64, 200, 10**6])
def test_batch_and_padding_change_nothing(model, ragged_tokens, batch_tokens):
    one_by_one = np.concatenate(
        [
            forward.token_losses(model, tokens_of([ragged_tokens.document(i)]), range(1), batch_tokens=1)
            for i in whole(ragged_tokens)
        ]
    )
    batched = forward.token_losses(model, ragged_tokens, whole(ragged_tokens), batch_tokens=batch_tokens)
    np.testing.assert_allclose(batched, one_by_one, rtol=0, atol=TOLERANCE)


def test_a_beginning_is_context_and_nothing_else(model, ragged_tokens):
    """Losses are those of documents that hold it, at the places of the corpus, without its own and the first token's."""
    before = (11, 3)
    ours = forward.token_losses(model, replace(ragged_tokens, beginning=before), whole(ragged_tokens), batch_tokens=256)
    spelled = tokens_of([[*before, *ragged_tokens.document(i)] for i in whole(ragged_tokens)])
    theirs = forward.token_losses(model, spelled, whole(spelled), batch_tokens=256)
    for i in whole(ragged_tokens):
        mine = ours[ragged_tokens.offsets[i] : ragged_tokens.offsets[i + 1]]
        assert np.isnan(mine[:1]).all()
        np.testing.assert_allclose(mine[1:], theirs[spelled.offsets[i] + 3 : spelled.offsets[i + 1]], atol=TOLERANCE)
    without = forward.token_losses(model, ragged_tokens, whole(ragged_tokens), batch_tokens=256)
    known = ragged_tokens.predicted()
    assert np.abs(ours - without)[known].max() > 0.01, "it is read"


def test_a_beginning_that_the_model_has_no_embedding_for_is_refused(model, ragged_tokens):
    with pytest.raises(QuantaError, match="token id 97"):
        forward.token_losses(model, replace(ragged_tokens, beginning=(97,)), whole(ragged_tokens), batch_tokens=256)


def test_documents_of_one_length_keep_their_own_losses(model):
    tokens = random_tokens([12] * 5, 97, seed=2)
    batched = forward.token_losses(model, tokens, whole(tokens), batch_tokens=1000)
    alone = [forward.token_losses(model, tokens, range(i, i + 1), batch_tokens=1000) for i in range(5)]
    np.testing.assert_allclose(batched, np.concatenate(alone), rtol=0, atol=TOLERANCE)


def test_logits_in_pieces_change_nothing(model, ragged_tokens, monkeypatch):
    together = forward.token_losses(model, ragged_tokens, whole(ragged_tokens), batch_tokens=256)
    monkeypatch.setitem(forward.LOGITS_AT_ONCE, "cpu", 7 * 97)
    pieces = forward.token_losses(model, ragged_tokens, whole(ragged_tokens), batch_tokens=256)
    np.testing.assert_allclose(pieces, together, rtol=0, atol=TOLERANCE)


def test_any_number_of_shards_gives_the_same_bytes(model):
    lengths = np.random.default_rng(5).integers(0, 24, 3 * batching.BLOCK + 41)
    tokens = random_tokens(lengths, 97, seed=2)
    expected = forward.token_losses(model, tokens, whole(tokens), batch_tokens=300).tobytes()
    for shards in (2, 3, 4, 9):
        parts = [
            forward.token_losses(model, tokens, batching.shard(tokens.n_documents, i, shards), batch_tokens=300)
            for i in range(shards)
        ]
        assert np.concatenate(parts).tobytes() == expected, f"{shards} shards"


@given(n=st.integers(0, 2000), shards=st.integers(1, 40))
def test_shards_are_a_partition_in_whole_blocks(n, shards):
    parts = [batching.shard(n, index, shards) for index in range(shards)]
    assert [i for part in parts for i in part] == list(range(n))
    assert all(part.start % batching.BLOCK == 0 or not part for part in parts)


@given(lengths=st.lists(st.integers(0, 70), max_size=300), batch_tokens=st.integers(1, 500))
def test_batches_hold_every_document_once_within_the_limit_and_a_block(lengths, batch_tokens):
    lengths = np.array(lengths, dtype=int)
    batches = list(batching.length_batches(lengths, batch_tokens))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[batch].max(), 1) <= batch_tokens
        assert len(set(batch // batching.BLOCK)) == 1


def test_bfloat16_stays_near_and_the_loss_itself_is_float32(model, ragged_tokens):
    full = forward.token_losses(model, ragged_tokens, whole(ragged_tokens), batch_tokens=256)
    half = forward.token_losses(model, ragged_tokens, whole(ragged_tokens), batch_tokens=256, precision="bfloat16")
    assert half.dtype == np.float32
    assert 0 < np.nanmean(np.abs(half - full)) < 0.1
    known = np.isfinite(half)
    rounded = torch.from_numpy(half[known]).bfloat16().float().numpy()
    assert (rounded != half[known]).mean() > 0.5, "losses that are all bfloat16 numbers were computed in it"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_products_inside_the_model_and_after_it_are_in_the_precision_asked_for(model, ragged_tokens, precision):
    seen = {"inside": set(), "after": set()}
    layers = {"inside": model.gpt_neox.layers[0].mlp.dense_h_to_4h, "after": model.get_output_embeddings()}
    hooks = [
        layer.register_forward_hook(lambda module, given, out, place=place: seen[place].add(out.dtype))
        for place, layer in layers.items()
    ]
    forward.token_losses(model, ragged_tokens, whole(ragged_tokens), batch_tokens=256, precision=precision)
    for hook in hooks:
        hook.remove()
    assert seen == {"inside": {getattr(torch, precision)}, "after": {getattr(torch, precision)}}


def test_a_corpus_of_empty_and_single_token_documents_has_no_losses(model):
    tokens = tokens_of([[], [4], [], [7]])
    found = forward.token_losses(model, tokens, whole(tokens), batch_tokens=64)
    assert len(found) == 2 and np.isnan(found).all()


def test_broken_weights_are_named_with_document_and_position(model, ragged_tokens):
    import copy

    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.get_output_embeddings().weight[0] = float("nan")
    with pytest.raises(QuantaError, match=r"nan at document 0, position 1"):
        forward.token_losses(broken, ragged_tokens, whole(ragged_tokens), batch_tokens=256)


def test_tokens_beyond_the_models_vocabulary_are_refused(model):
    with pytest.raises(QuantaError, match="token id 97, while the model has 97 embeddings"):
        forward.token_losses(model, tokens_of([[1, 97, 3]]), range(1), batch_tokens=64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values[:-1], "float32 of shape"),
        (lambda values: values.astype(np.float64), "holds float64"),
        (lambda values: np.where(np.arange(len(values)) == 7, np.nan, values), "nan at document 2, position 2"),
        (lambda values: np.where(np.arange(len(values)) == 7, -0.5, values), "-0.5 at document 2, position 2"),
        (lambda values: np.where(np.arange(len(values)) == 7, np.inf, values), "inf at document 2, position 2"),
        (lambda values: np.where(np.arange(len(values)) == 0, 1.0, values), "1.0 at document 0, position 0"),
    ],
)
def test_damaged_losses_are_refused_with_their_place(model, ragged_tokens, tmp_path, change, message):
    values = forward.token_losses(model, ragged_tokens, whole(ragged_tokens), batch_tokens=256)
    np.save(tmp_path / "step0.npy", change(values).astype(np.float64 if "64" in message else np.float32))
    with pytest.raises(QuantaError, match=message) as caught:
        stored.read_losses(str(tmp_path / "step0.npy"), ragged_tokens)
    assert "step0.npy" in caught.value.where and "start the run again" in caught.value.mend


def test_sums_by_document_add_up_to_the_mean_loss(model, ragged_tokens):
    values = forward.token_losses(model, ragged_tokens, whole(ragged_tokens), batch_tokens=256)
    table = stored.by_document(values, ragged_tokens)
    assert table["n_predictions"].tolist() == [max(n - 1, 0) for n in ragged_tokens.lengths]
    mean = table["loss_sum_nats"].sum() / table["n_predictions"].sum()
    assert abs(mean - np.nanmean(values.astype(np.float64))) < 1e-9


def test_scripts_write_the_same_losses_in_one_part_and_in_three(model_folder, tmp_path):
    tokens = random_tokens(np.random.default_rng(8).integers(0, 12, 2 * batching.BLOCK + 9), 97)
    np.save(tmp_path / "tokens.npy", tokens.ids)
    np.save(tmp_path / "offsets.npy", tokens.offsets)
    corpus = {"tokens": tmp_path / "tokens.npy", "offsets": tmp_path / "offsets.npy"}
    beginning = tmp_path / "beginning.json"
    files.write_json(beginning, {"ids": [5]})
    made = []
    for shards in (1, 3):
        parts = []
        for index in range(shards):
            parts.append(tmp_path / f"{shards}.part{index}of{shards}.npy")
            script("losses/losses")(
                names(models=[model_folder], **corpus, beginning=beginning),
                names(losses=[parts[-1]]),
                names(batch_tokens=128, precision="float32", code="this"),
            )
        target = tmp_path / f"step{shards}.npy"
        script("losses/gather")(names(parts=list(map(str, parts)), **corpus), names(losses=target), names())
        made.append(target.read_bytes())
    assert made[0] == made[1]
    found = np.load(tmp_path / "step1.npy")
    net, read = pretrained.load(model_folder), replace(tokens, beginning=(5,))
    expected = forward.token_losses(net, read, whole(tokens), batch_tokens=128)
    assert found.tobytes() == expected.tobytes(), "after the beginning that the corpus names"


# ------------------------------------------------------------------------------------- by part of the corpus


def test_losses_by_part_of_the_corpus_average_to_the_mean_loss(model, ragged_tokens):
    values = forward.token_losses(model, ragged_tokens, whole(ragged_tokens), batch_tokens=256)
    subsets = ["empty" if n < 2 else "long" if n > 30 else "short" for n in ragged_tokens.lengths]
    table = stored.by_subset(values, ragged_tokens, subsets).set_index("subset")
    assert table["n_predictions"].sum() == ragged_tokens.predicted().sum()
    assert table.loc["empty", "n_predictions"] == 0 and np.isnan(table.loc["empty", "mean_loss_nats"])
    rest = table.loc[["long", "short"]]
    mean = np.average(rest["mean_loss_nats"], weights=rest["n_predictions"])
    assert abs(mean - np.nanmean(values.astype(np.float64))) < 1e-9
    assert abs(rest["mean_loss_nats"].diff().iloc[1]) > 1e-3, "parts that do not differ test nothing"


def test_clusters_by_part_count_every_token_once():
    chosen = pd.DataFrame({"token": [0, 1, 2, 3], "document": [0, 2, 1, 2]})
    labels = pd.DataFrame(
        {"n_clusters": [2] * 4 + [3] * 4, "token": [0, 1, 2, 3] * 2, "label": [0, 1, 0, 1, 0, 1, 2, 1]}
    )
    table = composition.clusters_by_subset(labels, chosen, ["a", "b", "c"])
    found = {(r.n_clusters, r.label, r.subset): r.n_tokens for r in table.itertuples()}
    assert found == {(2, 0, "a"): 1, (2, 0, "b"): 1, (2, 1, "c"): 2, (3, 0, "a"): 1, (3, 1, "c"): 2, (3, 2, "b"): 1}


# ------------------------------------------------------------------------------------------------------ costs


def test_parameters_of_the_shapes_are_those_of_the_models():
    for name, shape in neox_shape.SHAPES.items():
        with torch.device("meta"):
            size = training.LadderSize(name, shape.width, shape.layers, shape.heads)
            net = training.new_model(size, vocabulary=shape.vocabulary, context=2048, seed=0)
        assert pretrained.non_embedding_parameters(net) == shape.non_embedding
        assert sum(p.numel() for p in net.parameters()) == shape.parameters


def test_flops_are_those_that_torch_counts():
    """But for attention, which torch counts whole and the losses need half of."""
    from torch.utils.flop_counter import FlopCounterMode

    shape, n = neox_shape.Shape(32, 3, 2, 97), 40
    net = training.new_model(training.LadderSize("a", 32, 3, 2), vocabulary=97, context=64, seed=0)
    net.set_attn_implementation("eager")  # attention as products that can be counted
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(input_ids=torch.zeros(1, n, dtype=torch.long))
    assert counter.get_total_flops() == costs.forward_flops(shape, [n]) + 2 * shape.layers * shape.width * n**2


def test_costs_of_a_family_are_sums_over_its_checkpoints():
    import yaml
    from support import ROOT, settled

    given = yaml.safe_load((ROOT / "config/pythia.yaml").read_text(encoding="utf-8"))
    config = settled(**given)
    rows = {row["model"]: row for row in costs.table(config, mean_length=500, tflops=100)}
    one = costs.forward_flops(neox_shape.SHAPES["70m"], np.full(200_000, 500))
    assert rows["pythia-70m-v0"]["FLOP"] == 143 * one and rows["pythia-70m-v0"]["checkpoints"] == 143
    assert abs(rows["pythia-70m-v0"]["hours"] - 143 * one / 1e14 / 3600) < 1e-9
    assert rows["pythia-6.9b-v0"]["losses_GB"] == 0.4
    text = costs.markdown(list(rows.values()))
    assert len(text.splitlines()) == 2 + 7 + 1 and "| all | 149 |" in text
    given["models"]["hub"]["members"][0]["parameters"] = 5
    with pytest.raises(QuantaError, match="parameters 5"):
        costs.table(settled(**given), mean_length=500, tflops=100)


def test_costs_of_given_models_follow_the_headers_of_their_weights(tmp_path):
    from architectures import tiny
    from support import settled

    model = tiny("llama")
    model.save_pretrained(tmp_path / "small")
    folder = {"source": "folder", "folder": {"path": str(tmp_path)}}
    config = settled(models=folder, dynamics={"model": None}, qdg={"model": "small"}, corpus={"documents": 1000})
    (row,) = costs.table(config, mean_length=100, tflops=1)
    inner, width = pretrained.non_embedding_parameters(model), model.config.hidden_size
    attention = 2 * model.config.num_hidden_layers * width * 100**2
    assert row["FLOP"] == 1000 * (2 * (inner + model.config.vocab_size * width) * 100 + attention)
    assert row["download_GB"] == 0 and row["memory_GB"] > 0
    (tmp_path / "small/model.safetensors").unlink()
    with pytest.raises(QuantaError, match="no weights whose headers"):
        costs.table(config, mean_length=100, tflops=1)


def test_costs_count_the_second_clustering_and_the_interventions():
    from support import settled

    shape, n = neox_shape.SHAPES["70m"], 2000

    def counted(interventions=None, **qdg):
        config = settled(qdg={"tokens": n, "second_null": False} | qdg, interventions=interventions or {})
        own = costs.second_flops(config, shape, 100), costs.interventions_flops(config, shape, 100)
        return [flops / costs.gradient_flops(shape, 100, n) for flops in own]

    seconds = {
        kind: counted(second=kind)[0] for kind in ("none", "absolute", "magnitudes", "standardised", "attention")
    }
    assert seconds == pytest.approx(
        {"none": 0, "absolute": 0, "magnitudes": 1, "standardised": 1.512, "attention": 1.008}
    )
    assert counted(second="standardised", second_null=True)[0] == pytest.approx(1.512 + 1.128)
    assert counted(second="standardised", graph="neighbours")[0] == 0
    assert counted({"run": False})[1] == 0
    one, two = counted(second="none")[1], counted(second="standardised")[1]
    assert 1 < one < two < 2 * one, "a second clustering's clusters are removed too, and the controls once"
