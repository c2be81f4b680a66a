import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from quanta.corpus import vocabulary
from quanta.errors import QuantaError
from quanta.models import pretrained, training, weights
from support import names, random_tokens, script

SIZE = training.LadderSize("a", 16, 1, 2)


def recipe(**changes):
    settings = {"steps": 30, "batch": 4, "context": 16, "learning_rate": 0.02, "warmup_steps": 5, "weight_decay": 0.1}
    return training.Recipe(**settings | changes)


def stream(n=2000, vocabulary=50):
    """Ids that can be learned: each follows from the one before, with a little noise."""
    rng = np.random.default_rng(0)
    ids = np.empty(n, dtype=np.uint16)
    ids[0] = 1
    for i in range(1, n):
        ids[i] = (3 * ids[i - 1] + 1) % vocabulary if rng.random() < 0.9 else rng.integers(vocabulary)
    return ids


def train(seed=0, save_at=(), save=lambda step, model: None, tokens=None, unfinished=None, **changes):
    model = training.new_model(SIZE, vocabulary=50, context=16, seed=seed)
    ids = stream() if tokens is None else tokens
    curve = training.train(
        model,
        ids,
        recipe(**changes),
        seed=seed,
        label="a",
        save_at=save_at,
        save=lambda step: save(step, model),
        unfinished=unfinished,
    )
    return model, curve


def bytes_of(model):
    return b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    torch.manual_seed(3)
    one, curve = train()
    torch.manual_seed(4)
    two, again = train()
    assert bytes_of(one) == bytes_of(two) and curve.equals(again)
    assert bytes_of(train(seed=1)[0]) != bytes_of(one)


def test_the_loss_falls_to_that_of_the_rule_behind_the_stream():
    _, curve = train(steps=150)
    assert curve["loss_nats"].iloc[0] > 3 and curve["loss_nats"].iloc[-1] < 1.5
    assert abs(np.log(50) - curve["loss_nats"].iloc[0]) < 0.7, "it starts from a uniform guess"


def test_the_curve_counts_tokens_steps_and_rates():
    _, curve = train(steps=25)
    assert curve["step"].tolist() == [10, 20, 25]
    assert (curve["tokens"] == curve["step"] * 4 * 16).all()
    assert curve["learning_rate"].tolist() == [recipe(steps=25).rate_at(s - 1) for s in (10, 20, 25)]
    assert (curve["gradient_norm"] > 0).all()


def test_checkpoints_are_those_of_the_steps_asked_for():
    saved = {}
    model, _ = train(save_at=(0, 7, 30), save=lambda step, net: saved.update({step: bytes_of(net)}))
    assert list(saved) == [0, 7, 30]
    assert saved[0] == bytes_of(training.new_model(SIZE, vocabulary=50, context=16, seed=0))
    assert saved[30] == bytes_of(model) and len(set(saved.values())) == 3


def test_a_loss_that_is_not_finite_is_named_with_its_step_and_stops_the_training():
    model = training.new_model(SIZE, vocabulary=50, context=16, seed=0)
    with torch.no_grad():
        model.get_output_embeddings().weight[0] = float("nan")
    with pytest.raises(QuantaError, match=r"models\.train, size a: loss nan at step 1") as caught:
        training.train(model, stream(), recipe(), seed=0, label="a", save_at=(), save=lambda _: None)
    assert "learning_rate" in caught.value.mend


def test_a_learning_rate_that_is_far_too_large_is_named():
    with pytest.raises(QuantaError, match="a finite loss"):
        train(learning_rate=1e30, steps=40)


def test_bfloat16_trains_and_keeps_float32_weights():
    model, curve = train(precision="bfloat16", steps=60)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert curve["loss_nats"].iloc[-1] < curve["loss_nats"].iloc[0] - 0.5
    assert bytes_of(model) != bytes_of(train(steps=60)[0])


@given(steps=st.integers(2, 5000), warmup=st.integers(1, 500), peak=st.floats(1e-5, 1))
def test_the_learning_rate_rises_in_a_line_and_falls_as_a_cosine_to_a_tenth(steps, warmup, peak):
    plan = recipe(steps=steps, warmup_steps=warmup, learning_rate=peak)
    rates = np.array([plan.rate_at(step) for step in range(steps)])
    assert (rates > 0).all() and rates.max() <= peak * (1 + 1e-12)
    rising = rates[: min(warmup, steps)]
    np.testing.assert_allclose(rising, peak * np.arange(1, len(rising) + 1) / warmup)
    if steps > warmup:
        falling = rates[warmup:]
        assert falling[0] == pytest.approx(peak) and (np.diff(falling) < 0).all()
        assert plan.rate_at(steps) == pytest.approx(peak / 10)
        assert plan.rate_at(warmup + (steps - warmup) // 2) >= 0.55 * peak * (1 - 1e-9)


@given(n=st.integers(64, 2000), batch=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_an_epoch_covers_the_stream_once_in_an_order_of_the_seed(n, batch, seed):
    plan = recipe(batch=batch)
    order = training.window_order(n, plan, seed)
    assert sorted(order) == list(range(n // plan.context))
    assert (order == training.window_order(n, plan, seed)).all()
    tokens = np.arange(n)
    batches = [training.batch_of(tokens, plan, step, order).numpy() for step in range(2 * len(order))]
    windows = np.concatenate(batches)[:, 0] // plan.context
    seen = windows[: len(order)]
    assert sorted(seen) == list(range(len(order))), "every window once"
    assert (windows[len(order) : 2 * len(order)] == seen).all(), "then again from the start"
    assert all((row == np.arange(row[0], row[0] + plan.context)).all() for batch in batches[:3] for row in batch)


def test_the_order_of_windows_is_the_same_for_every_size():
    short, long = recipe(steps=10), recipe(steps=500, learning_rate=0.1)
    assert (training.window_order(1000, short, 3) == training.window_order(1000, long, 3)).all()
    assert (training.window_order(1000, short, 3) != training.window_order(1000, short, 4)).any()


def test_a_stream_shorter_than_a_batch_is_refused():
    with pytest.raises(QuantaError, match="63 tokens for training") as caught:
        training.window_order(63, recipe(), 0)
    assert "64 tokens" in caught.value.expected and "models.train.batch" in caught.value.mend


def test_the_script_saves_models_that_load_with_their_tokenizer(tmp_path):
    from transformers import AutoTokenizer

    tokens = random_tokens([40] * 30, 260)
    np.save(tmp_path / "tokens.npy", tokens.ids)
    np.save(tmp_path / "offsets.npy", tokens.offsets)
    tokenizer = vocabulary.train_tokenizer(["def f(x): return x"], 260)
    vocabulary.save_tokenizer(tokenizer, tmp_path / "tokenizer")
    size = {"name": "a", "width": 16, "layers": 1, "heads": 2, "learning_rate": 0.01, "precision": "float32", "seed": 0}
    shared = {"steps": 4, "batch": 2, "context": 16, "warmup_steps": 1, "weight_decay": 0.0}
    folders = [tmp_path / f"models/a/step{step}" for step in (2, 4)]
    script("models/train")(
        names(
            tokens=tmp_path / "tokens.npy",
            offsets=tmp_path / "offsets.npy",
            tokenizer=tmp_path / "tokenizer/tokenizer.json",
        ),
        names(folders=list(map(str, folders)), curve=tmp_path / "models/a/curve.csv"),
        names(
            size=json.dumps(size),
            recipe=json.dumps(shared),
            steps=[2, 4],
            seed=0,
            code="",
            unfinished=tmp_path / "unfinished",
        ),
    )
    assert not (tmp_path / "unfinished").exists()
    assert weights.weight_hash(folders[0]) != weights.weight_hash(folders[1])
    assert pretrained.load(folders[1]).config.vocab_size == tokenizer.get_vocab_size()
    text = "def f(x):\n    return 3"
    assert AutoTokenizer.from_pretrained(folders[1])(text)["input_ids"] == tokenizer.encode(text).ids
    curve = pd.read_csv(tmp_path / "models/a/curve.csv")
    assert (curve["step"].tolist(), curve["precision"].tolist()) == ([4], ["float32"])


class KilledError(Exception):
    """Stands for a kill at a step."""


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("at", [1, 14, 29])
def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path, at, precision):
    whole, curve = train(precision=precision)
    kept = training.Unfinished(tmp_path / "kept", "key", every_seconds=0)

    def die(step, model):
        raise KilledError

    with pytest.raises(KilledError):
        train(precision=precision, save_at=[at], save=die, unfinished=kept)
    saved = []
    went_on, again = train(
        precision=precision, save_at=[0, at, 30], save=lambda step, model: saved.append(step), unfinished=kept
    )
    assert bytes_of(went_on) == bytes_of(whole) and again.equals(curve)
    assert saved == ([0, at, 30] if at == 1 else [at, 30]), "steps before the kept state are not saved again"


def test_a_training_kept_under_another_key_is_thrown_away(tmp_path):
    kept = training.Unfinished(tmp_path / "kept", "key", every_seconds=0)
    train(unfinished=kept)
    other = training.Unfinished(tmp_path / "kept", "other", every_seconds=0)
    assert other.read(torch.device("cpu")) is None and not other.folder.exists()


@pytest.mark.parametrize("file", ["state.pt", "step8/model.bin"])
@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_state_or_saved_model_is_thrown_away(tmp_path, file, damage):
    """`torch.load` takes any bit of a tensor for true."""
    kept = training.Unfinished(tmp_path / "kept", "key", every_seconds=0)

    def save_or_die(step, model):
        if step == 20:
            raise KilledError
        kept.folder_of(step).mkdir(parents=True)
        (kept.folder_of(step) / "model.bin").write_bytes(bytes(1000))

    with pytest.raises(KilledError):
        train(save_at=[8, 20], save=save_or_die, unfinished=kept)
    assert kept.read(torch.device("cpu")) is not None
    content = bytearray((kept.folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (kept.folder / file).write_bytes(content if damage == "flip" else content[:-1])
    assert kept.read(torch.device("cpu")) is None and not kept.folder.exists()
