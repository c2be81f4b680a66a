"""Sparse parity: one batch of nets against single nets and against the straightforward trainer; fits; ground truth for QDG."""

import dataclasses
import json
import logging
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from benchmarks.parity import StraightforwardNet
from hypothesis import given, settings
from hypothesis import strategies as st
from quanta import devices
from quanta.errors import QuantaError
from quanta.jobs import job
from quanta.parity import (
    convergence,
    estimates,
    exponents,
    learning_curves,
    networks,
    probing,
    recovery,
    sparse_parity,
    training,
)
from quanta.storage import files
from quanta.theory import closed_form
from support import names, script, settled

PROBLEM = sparse_parity.ParityProblem(n_tasks=8, n_bits=12, k=2, alpha=0.5, seed=3)
QUICK = training.TrainingSettings(
    steps=60, learning_rate=1e-2, precision="float32", evaluations=6, held_out_per_task=20, checkpoint_every=7
)


def trained(widths, samples=None, chosen=QUICK, **rest):
    nets = networks.Nets(PROBLEM, widths)
    curves, saved = training.train(nets, samples or sparse_parity.FreshSamples(PROBLEM, 128), chosen, **rest)
    return nets, curves, saved


# ------------------------------------------------------------------------------------------------------- the task


@given(n_bits=st.integers(1, 40), n=st.integers(1, 20), seed=st.integers(0, 99))
def test_packed_bits_come_back(n_bits, n, seed):
    bits = torch.randint(0, 2, (n, n_bits), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    packed = sparse_parity.pack(bits)
    assert packed.shape == (n, -(-n_bits // 8))
    assert torch.equal(sparse_parity.unpack(packed, n_bits), bits)


def test_labels_are_parities_of_the_tasks_own_bits():
    batch = sparse_parity.FreshSamples(PROBLEM, 500).batch(4)
    bits = sparse_parity.unpack(batch.packed, PROBLEM.n_bits)
    subsets = torch.from_numpy(PROBLEM.subsets)
    labels = sparse_parity.parity(bits, subsets[batch.tasks])
    for row, task, label in zip(bits.tolist(), batch.tasks.tolist(), labels.tolist(), strict=True):
        assert label == sum(row[bit] for bit in PROBLEM.subsets[task]) % 2
    assert 0.4 < labels.float().mean() < 0.6
    assert (np.diff(batch.tasks.numpy()) >= 0).all()
    assert np.array_equal(np.bincount(batch.tasks, minlength=8).cumsum(), batch.ends)


def test_every_task_has_its_own_frequency():
    # the public script's histogram merges the last two tasks; here the last one is as rare as it should be
    problem = sparse_parity.ParityProblem(20, 20, 3, 0.2)
    counts = sum(np.diff(sparse_parity.FreshSamples(problem, 20_000).batch(step).ends, prepend=0) for step in range(20))
    expected = problem.frequencies * 400_000
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()
    assert np.isclose(problem.frequencies.sum(), 1)
    assert np.allclose(problem.frequencies, closed_form.frequencies(0.2, 20))


def test_subsets_are_distinct_and_do_not_depend_on_alpha():
    tight = sparse_parity.ParityProblem(10, 5, 2, 0.4)  # all ten pairs of five bits
    assert len({tuple(row) for row in tight.subsets.tolist()}) == 10
    assert all(a < b for row in tight.subsets.tolist() for a, b in pairwise(row))
    assert np.array_equal(tight.subsets, dataclasses.replace(tight, alpha=0.9).subsets)
    assert not np.array_equal(tight.subsets, dataclasses.replace(tight, seed=1).subsets)


def test_an_epoch_goes_through_a_training_set_once():
    samples = sparse_parity.TrainingSet(PROBLEM, 1000, 300)
    first, second = ([samples.batch(4 * epoch + step) for step in range(4)] for epoch in range(2))
    for epoch in (first, second):
        rows = np.concatenate([np.column_stack([b.tasks.numpy(), b.packed.numpy()]) for b in epoch])
        everything = np.column_stack([samples.all.tasks.numpy(), samples.all.packed.numpy()])
        assert sorted(map(tuple, rows)) == sorted(map(tuple, everything))
    assert [len(b) for b in first] == [300, 300, 300, 100]
    assert not torch.equal(first[0].packed, second[0].packed)
    again = sparse_parity.TrainingSet(PROBLEM, 1000, 300).batch(6)  # a batch needs none of the earlier ones
    assert torch.equal(again.packed, second[2].packed)
    whole = sparse_parity.TrainingSet(PROBLEM, 100, 300)
    assert torch.equal(whole.batch(0).packed, whole.batch(9).packed)


# ------------------------------------------------------------------------------------------------------- training


def straightforward(nets, net, learning_rate):
    """The same net as a torch module with two logits."""
    weights = {name: torch.from_numpy(array) for name, array in nets.one(net).items()}
    other = StraightforwardNet(PROBLEM, nets.widths[net], learning_rate)
    with torch.no_grad():
        other.module[0].weight.copy_(torch.cat([weights["code_weight"].T, weights["bit_weight"]], dim=1))
        other.module[0].bias.copy_(weights["bias"])
        other.module[2].weight.copy_(torch.stack([-weights["output_weight"] / 2, weights["output_weight"] / 2]))
        other.module[2].bias.copy_(torch.cat([-weights["output_bias"] / 2, weights["output_bias"] / 2]))
    return other


def test_batch_of_nets_is_the_straightforward_trainer():
    # gather against one-hot, one difference against two logits, chunks against the whole batch: all at once
    nets = networks.Nets(PROBLEM, [5, 16])
    others = [straightforward(nets, net, 1e-2) for net in range(2)]
    engine, optimizer = networks.NetPasses(nets, "float32"), networks.adam(nets, 1e-2, 0.0)
    engine.rows = 50
    engine._numbers = torch.arange(50)
    samples = sparse_parity.FreshSamples(PROBLEM, 128)
    for name, weight in nets.weights.items():
        weight.grad = engine.gradients[name]
    for step in range(150):
        batch = samples.batch(step)
        entries, labels = others[0].dense(batch.tasks, sparse_parity.unpack(batch.packed, PROBLEM.n_bits).long())
        counts = np.diff(batch.ends, prepend=0)
        mine = np.nansum(engine.losses(batch) * counts, axis=1) / len(batch) * np.log(2)
        theirs = [other.step(entries, labels) for other in others]
        assert np.allclose(mine, theirs, rtol=2e-4), step
        engine.backward(batch)
        optimizer.step()
        engine.refresh()
    assert mine[1] < 0.5  # and it has learned something


def test_gradients_are_those_of_autograd():
    nets = networks.Nets(PROBLEM, [7])
    other = straightforward(nets, 0, 1e-2)
    batch = sparse_parity.FreshSamples(PROBLEM, 200).batch(0)
    entries, labels = other.dense(batch.tasks, sparse_parity.unpack(batch.packed, PROBLEM.n_bits).long())
    torch.nn.functional.cross_entropy(other.module(entries), labels).backward()
    engine = networks.NetPasses(nets, "float32")
    engine.backward(batch)
    found, first, last = engine.gradients, other.module[0], other.module[2]
    assert torch.allclose(found["code_weight"].T, first.weight.grad[:, :8], atol=1e-7)
    assert torch.allclose(found["bit_weight"], first.weight.grad[:, 8:], atol=1e-7)
    assert torch.allclose(found["bias"], first.bias.grad, atol=1e-7)
    assert torch.allclose(found["output_weight"], last.weight.grad[1], atol=1e-7)
    assert torch.allclose(last.weight.grad[0], -last.weight.grad[1], atol=1e-7)


def test_weight_decay_acts_as_on_two_logits():
    nets = networks.Nets(PROBLEM, [6])
    other = straightforward(nets, 0, 1e-2)
    other.optimizer = torch.optim.AdamW(other.module.parameters(), lr=1e-2, weight_decay=0.3)
    engine, optimizer = networks.NetPasses(nets, "float32"), networks.adam(nets, 1e-2, 0.3)
    for name, weight in nets.weights.items():
        weight.grad = engine.gradients[name]
    for step in range(20):
        batch = sparse_parity.FreshSamples(PROBLEM, 64).batch(step)
        other.step(*other.dense(batch.tasks, sparse_parity.unpack(batch.packed, PROBLEM.n_bits).long()))
        engine.backward(batch)
        optimizer.step()
        engine.refresh()
    difference = other.module[2].weight[1] - other.module[2].weight[0]
    assert torch.allclose(nets.output_weight, difference.detach(), atol=1e-5)


def test_one_net_alone_is_the_net_in_a_batch():
    _, together, _ = trained([4, 9, 20])
    for net, width in enumerate([4, 9, 20]):
        _, alone, _ = trained([width])
        assert np.allclose(alone.loss_bits[0], together.loss_bits[net], atol=1e-4)


def test_same_seed_same_bytes_whatever_the_threads():
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            nets, curves, _ = trained([4, 9], chosen=dataclasses.replace(QUICK, precision="bfloat16"))
            found.append((curves.loss_bits.tobytes(), nets.bit_weight.numpy().tobytes()))
        assert found[0] == found[1]
    finally:
        torch.set_num_threads(before)


class KilledError(Exception):
    pass


class Interrupted:
    """Samples that fail at one step, as a killed job does."""

    def __init__(self, samples, at):
        self.samples, self.at = samples, at

    def batch(self, step):
        if step == self.at:
            raise KilledError
        return self.samples.batch(step)


def kept_at(path, key="key"):
    return training.Checkpoint(path, key)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "samples", [sparse_parity.FreshSamples(PROBLEM, 128), sparse_parity.TrainingSet(PROBLEM, 500, 128)]
)
def test_a_killed_job_resumes_to_the_same_bytes(tmp_path, samples, precision):
    chosen = dataclasses.replace(QUICK, precision=precision)
    whole_nets, whole, saved = trained([4, 9], samples, chosen, snapshots=[10, 60])
    kept = kept_at(tmp_path / "state.pt")
    with pytest.raises(KilledError):
        trained([4, 9], Interrupted(samples, 31), chosen, checkpoint=kept, snapshots=[10, 60])
    assert kept.path.exists()
    nets, curves, again = trained([4, 9], samples, chosen, checkpoint=kept, snapshots=[10, 60])
    assert curves.loss_bits.tobytes() == whole.loss_bits.tobytes()
    for name, weight in nets.weights.items():
        assert torch.equal(weight, whole_nets.weights[name])
    assert all(np.array_equal(saved[s][n], again[s][n]) for s in (10, 60) for n in saved[s])


def test_a_training_that_had_ended_is_read_and_not_done_again(tmp_path):
    """Between its end and the writing of the results, which may come after many other nets, a job may be killed."""
    kept = kept_at(tmp_path / "state.pt")
    samples = sparse_parity.TrainingSet(PROBLEM, 60, 128)
    chosen = dataclasses.replace(QUICK, steps=3000, evaluations=30, patience=2.0)
    _, whole, saved = trained([40], samples, chosen, checkpoint=kept, snapshots=[10])
    assert np.isnan(whole.loss_bits[:, -1]).all(), "stopped by patience"
    _, again, same = trained([40], Interrupted(samples, at=None), chosen, checkpoint=kept, snapshots=[10])
    assert again.loss_bits.tobytes() == whole.loss_bits.tobytes()
    assert np.array_equal(saved[10]["bias"], same[10]["bias"])


def test_a_damaged_checkpoint_is_thrown_away_and_the_training_is_the_same(tmp_path):
    samples, kept = sparse_parity.FreshSamples(PROBLEM, 128), kept_at(tmp_path / "state.pt")
    with pytest.raises(KilledError):
        trained([4, 9], Interrupted(samples, 31), checkpoint=kept)
    content = bytearray(kept.path.read_bytes())
    content[len(content) // 2] ^= 1
    kept.path.write_bytes(content)
    again, whole = trained([4, 9], samples, checkpoint=kept)[1], trained([4, 9], samples)[1]
    assert again.loss_bits.tobytes() == whole.loss_bits.tobytes()


TRAINING = {"learning_rate": 0.01, "weight_decay": 0.0, "precision": "float32", "evaluations": 6,
            "held_out_per_task": 20, "checkpoint_every": 7}  # fmt: skip


def run_script(name, folder, *, code="a", batch_size=128, **changes):
    """A script of the sweeps, on a small problem; returns its curves."""
    extent = {"n_tasks": PROBLEM.n_tasks, "n_bits": PROBLEM.n_bits, "k": PROBLEM.k}
    outputs = {"curves": folder / "curves.parquet", "nets": folder / "nets.csv", "weights": folder / "widest.npz"}
    folder.mkdir(exist_ok=True)
    data = {"sizes": [200, 300, 400], "width": 8, "steps": 60, "patience": None}
    script(name)(
        names(),
        names(**{key: str(path) for key, path in outputs.items()}),
        names(problem=json.dumps(extent), training=json.dumps(TRAINING | changes), data=json.dumps(data), widths=[4, 8],
              steps=60, batch_size=batch_size, alpha=0.5, seed=3, code=code, checkpoint=str(folder / "kept")),
    )  # fmt: skip
    return pd.read_parquet(outputs["curves"])


def killed_at(monkeypatch, step, kind=sparse_parity.FreshSamples):
    """Kills a training at a step. Returns how to let it live."""
    batch = kind.batch

    def dying(self, at):
        if at == step:
            raise KilledError
        return batch(self, at)

    monkeypatch.setattr(kind, "batch", dying)
    return lambda: monkeypatch.setattr(kind, "batch", batch)


@pytest.mark.parametrize(
    "change",
    [{"batch_size": 32}, {"learning_rate": 0.02}, {"code": "b"}, {"precision": "bfloat16"}, {"torch": "0"},
     {"device": "cpu:0"}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_killed_training_is_not_mixed_with_another(tmp_path, monkeypatch, caplog, change):
    """A job that was killed and started again with another setting once went on from weights of the old one."""
    caplog.set_level(logging.INFO, logger="quanta")
    live = killed_at(monkeypatch, 31)
    with monkeypatch.context() as at_first, pytest.raises(KilledError):
        if "device" in change:
            where = change.pop("device")  # the same processor by another name
            at_first.setattr(job, "device", lambda: where)
        run_script("parity/fresh", tmp_path / "kept")
    live()
    if "torch" in change:
        monkeypatch.setattr(torch, "__version__", change.pop("torch"))
    again = run_script("parity/fresh", tmp_path / "kept", **change)
    assert "was removed: the training starts from its beginning" in caplog.text
    clean = run_script("parity/fresh", tmp_path / "clean", **change)
    pd.testing.assert_frame_equal(again, clean)
    assert not (tmp_path / "kept/kept").exists(), "the state goes when the results are written"


def test_the_same_training_goes_on(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="quanta")
    live = killed_at(monkeypatch, 31)
    with pytest.raises(KilledError):
        run_script("parity/fresh", tmp_path / "kept")
    live()
    run_script("parity/fresh", tmp_path / "kept")
    assert "continues from step 28" in caplog.text


def test_a_kill_during_the_last_training_set_trains_no_other_again(tmp_path, monkeypatch):
    sizes = []
    first = sparse_parity.TrainingSet.batch

    def counting(self, step):
        sizes.append(self.size)
        if self.size == 400 and step == 40 and sizes.count(400) == 41:
            raise KilledError
        return first(self, step)

    monkeypatch.setattr(sparse_parity.TrainingSet, "batch", counting)
    with pytest.raises(KilledError):
        run_script("parity/data", tmp_path / "kept")
    before = len(sizes)
    again = run_script("parity/data", tmp_path / "kept")
    assert set(sizes[before:]) == {400} and len(sizes[before:]) == 60 - 35
    pd.testing.assert_frame_equal(again, run_script("parity/data", tmp_path / "clean"))
    assert not list((tmp_path / "kept").glob("kept*"))


def test_the_precision_of_a_training_is_written_down(tmp_path, monkeypatch):
    for chosen in ("float32", "bfloat16"):
        monkeypatch.setattr(devices, "resolve_precision", lambda wanted, device, chosen=chosen: (chosen, "as asked"))
        for name in ("fresh", "data"):
            run_script(f"parity/{name}", tmp_path / f"{name}-{chosen}", precision="auto")
            table = files.read_table(tmp_path / f"{name}-{chosen}/nets.csv", learning_curves.NET_COLUMNS)
            assert set(table["precision"]) == {chosen}


def test_bfloat16_learns_the_same_curve():
    chosen = dataclasses.replace(QUICK, steps=400, evaluations=12)
    curves = {
        precision: trained([32], chosen=dataclasses.replace(chosen, precision=precision))[1].loss_bits
        @ PROBLEM.frequencies
        for precision in ("float32", "bfloat16")
    }
    assert curves["float32"][0, -1] < 0.5
    assert np.abs(curves["float32"] - curves["bfloat16"]).max() < 0.05


def test_a_diverging_net_is_named_and_the_others_go_on(caplog):
    reference = trained([4, 20])[1]
    huge = networks.Nets(PROBLEM, [4, 9, 20])
    huge.output_weight[huge.owner == 1] = 1e5
    with caplog.at_level(logging.WARNING, logger="quanta"):
        curves, _ = training.train(huge, sparse_parity.FreshSamples(PROBLEM, 128), QUICK, label="sweep X")
    assert curves.diverged_step.tolist() == [-1, 0, -1]
    assert "sweep X: the net of width 9 (seed 3) diverged at step 0" in caplog.text
    assert np.isnan(curves.loss_bits[1]).all()
    assert np.allclose(curves.loss_bits[[0, 2]], reference.loss_bits, atol=1e-4)


def test_the_widest_net_that_did_not_diverge_is_saved_and_named(tmp_path):
    """A widest net that diverged once left weights of zeros, and its losses stopped the run."""
    nets = networks.Nets(PROBLEM, [4, 9, 20])
    nets.output_weight[nets.owner == 2] = 1e5
    curves, saved = training.train(nets, sparse_parity.FreshSamples(PROBLEM, 128), QUICK, snapshots=[6, 60])
    reference, _, alone = trained([9], snapshots=[6, 60])
    assert reference.widths == (9,)
    for step in (6, 60):
        assert all(np.allclose(saved[step][name], alone[step][name], atol=1e-4) for name in saved[step])
    table = learning_curves.net_table(
        curves, [4, 9, 20], [1, 2, 3], sweep="fresh", alpha=0.5, seed=3, precision="float32"
    )
    assert learning_curves.widest_sound(table, "nets.csv") == 9
    with pytest.raises(QuantaError, match="no net that did not diverge"):
        learning_curves.widest_sound(table.assign(diverged_step=0), "nets.csv")
    lost = networks.Nets(PROBLEM, [4])
    lost.output_weight[:] = 1e5
    assert training.train(lost, sparse_parity.FreshSamples(PROBLEM, 128), QUICK, snapshots=[6])[1] == {}


def test_weights_that_are_not_finite_are_met_before_they_reach_a_neighbour():
    for poison in (float("nan"), float("inf"), 1e7):
        nets = networks.Nets(PROBLEM, [4, 9, 20])
        nets.code_weight[2, nets.owner == 1] = poison
        assert nets.unsound() == [1]
        nets.stop(1)
        assert nets.unsound() == []
        assert not nets.one(1)["bias"].any()
        assert nets.one(2)["bias"].any()


def test_early_stopping_ends_after_the_best_step():
    chosen = dataclasses.replace(QUICK, steps=3000, evaluations=30, patience=2.0)
    _, curves, _ = trained([40], sparse_parity.TrainingSet(PROBLEM, 60, 128), chosen)
    means = curves.loss_bits[0] @ PROBLEM.frequencies
    reached = curves.steps[~np.isnan(means)]
    best = curves.steps[int(np.nanargmin(means))]
    assert reached[-1] < 3000
    assert reached[-1] >= 2 * max(best, 100) > reached[-2]


def test_a_net_that_has_learned_nothing_yet_is_not_stopped():
    """Its held-out loss rises for hundreds of steps before the first task is learned."""
    problem = sparse_parity.ParityProblem(n_tasks=2, n_bits=16, k=3, alpha=0.5, seed=3)

    def means(patience):
        chosen = dataclasses.replace(QUICK, steps=8000, evaluations=80, learning_rate=1e-3, patience=patience)
        samples = sparse_parity.TrainingSet(problem, 600, 128)
        curves, _ = training.train(networks.Nets(problem, [60]), samples, chosen)
        return curves.steps, curves.loss_bits[0] @ problem.frequencies

    steps, whole = means(None)
    early = steps <= 200
    assert steps[early][np.argmin(whole[early])] < 100 and whole[early].min() > 0.95 > 0.5 > whole.min()
    _, stopped = means(1.5)
    assert np.nanmin(stopped) == whole.min() and np.isnan(stopped[-1])


def test_a_net_that_learns_nothing_stops_when_it_is_overfitted():
    chosen = dataclasses.replace(QUICK, steps=3000, evaluations=30, learning_rate=1e-3, patience=1.5)
    _, curves, _ = trained([40], sparse_parity.TrainingSet(PROBLEM, 60, 128), chosen)
    means = curves.loss_bits[0] @ PROBLEM.frequencies
    seen = means[~np.isnan(means)]
    assert seen.min() >= training.BETTER_THAN_CHANCE_BITS and len(seen) < len(means)
    assert seen[-1] > training.OVERFITTED_BITS >= seen[-2]


def test_bad_input_is_named():
    for wrong, words in (
        ({"k": 13}, "k = 13 of n = 12"),
        ({"n_tasks": 0}, "0 tasks"),
        ({"alpha": 0.0}, "α = 0.0"),
        ({"alpha": -1.0}, "α = -1.0"),
        ({"n_tasks": 1000}, "66 subsets of 2 of 12 bits"),
    ):
        with pytest.raises(QuantaError, match=words.replace("(", r"\(")):
            dataclasses.replace(PROBLEM, **wrong)
    with pytest.raises(QuantaError, match="the width 5 twice"):
        networks.Nets(PROBLEM, [5, 8, 5])
    with pytest.raises(QuantaError, match="float16"):
        networks.NetPasses(networks.Nets(PROBLEM, [5]), "float16")
    with pytest.raises(QuantaError, match="0 samples"):
        sparse_parity.TrainingSet(PROBLEM, 0, 10)


def test_memory_is_estimated_before_the_start():
    big = training.estimated_bytes(PROBLEM, [500], 10**9, QUICK)
    assert big > 10**9 * 2  # two bytes of packed bits a sample
    with pytest.raises(QuantaError, match=r"batch_size"):
        training.check_memory(big, 4 << 30)
    small = training.estimated_bytes(PROBLEM, [500], 128, QUICK)
    nets = networks.Nets(PROBLEM, [500])
    assert small > 4 * sum(weight.numel() * 4 for weight in nets.weights.values())
    training.check_memory(small, 4 << 30)


# ----------------------------------------------------------------------------------------------------------- fits


def planted(alpha, n_tasks, learned_by_scale):
    """Per-task losses of a learner that knows the first n tasks at each scale, the last of them in part."""
    rows = {}
    for scale, n in learned_by_scale.items():
        known = np.clip(n - np.arange(n_tasks), 0, 1)
        rows[scale] = 1 - known
    return pd.DataFrame.from_dict(rows, orient="index", columns=range(1, n_tasks + 1)).rename_axis("scale")


@pytest.mark.parametrize("alpha", [0.2, 0.8])
def test_fit_of_a_perfect_learner_is_the_finite_theory(alpha):
    sizes = np.geomspace(50, 2000, 12).round()
    losses = planted(alpha, 100, {size: size / 50 for size in sizes})
    fit = exponents.fit_exponent(
        [losses], "parameters", alpha, loss_range=(1e-3, 1), scale_range=None, draws=50, rng=np.random.default_rng(0)
    )
    assert np.isclose(fit["value"], fit["theory_finite"], rtol=0.03)
    assert abs(fit["theory_finite"] - alpha) > 0.05  # the asymptote would have been wrong here
    assert fit["interval"][0] < fit["value"] < fit["interval"][1]
    assert np.allclose(fit["learned_tasks"], [1, 40])


def test_points_out_of_range_are_left_out_and_named():
    losses = planted(0.4, 20, {10: 0, 100: 2, 1000: 8, 10_000: 20})
    fit = exponents.fit_exponent(
        [losses], "steps", 0.4, loss_range=(0.03, 0.95), scale_range=(50, 5000), draws=10, rng=np.random.default_rng(0),
        left_out=["fresh, size 9, seed 0: diverged at step 4"],
    )  # fmt: skip
    assert fit["points_used"] == [100, 1000]
    assert fit["points_left_out"] == [10, 10_000]
    assert fit["nets_left_out"] == ["fresh, size 9, seed 0: diverged at step 4"]
    none = exponents.fit_exponent(
        [losses], "steps", 0.4, loss_range=(0.03, 0.05), scale_range=None, draws=10, rng=np.random.default_rng(0)
    )
    assert none["value"] is None


def test_crossings_and_convergence_of_planted_tasks():
    # each task falls from 1 to 0 around a step ∝ 1/p: the slope of convergence is −1 and every drop equally sharp
    p = closed_form.frequencies(0.5, 12)
    steps = np.geomspace(1, 1e5, 200)
    curves = 1 / (1 + (steps[:, None] * p / 3) ** 8)
    losses = pd.DataFrame(curves, index=pd.Index(steps, name="scale"), columns=range(1, 13))
    table = convergence.drops(losses, p)
    expected = 3 / p * 9 ** (1 / 8)  # where the sigmoid is 0.1
    assert np.allclose(table["converged_scale"], expected, rtol=0.01)
    assert np.allclose(table["decades"], np.log10(81) / 8, atol=0.01)
    fit = convergence.fit_convergence([table, table], draws=20, rng=np.random.default_rng(0))
    assert np.isclose(fit["value"], -1, atol=0.01)
    assert fit["tasks_left_out"] == 0
    # the mean of sharp drops is smooth
    assert convergence.mean_curve_decades(losses, p) > 3 * table["decades"].iloc[0]
    late = convergence.drops(losses[losses.index < 100], p)
    assert convergence.fit_convergence([late], draws=5, rng=np.random.default_rng(0))["tasks_left_out"] > 0


def test_data_points_are_taken_at_their_best_step():
    curves = training.Curves(
        np.array([0, 5, 10]), np.array([[[1, 1], [0.2, 0.4], [0.9, 0.9]]], dtype=np.float32), np.array([-1])
    )
    table = learning_curves.curve_table(curves, [64], sweep="data", alpha=0.4, seed=0)
    nets = pd.DataFrame(
        [{"sweep": "data", "alpha": 0.4, "seed": 0, "size": 64, "parameters": 9, "last_step": 10, "diverged_step": -1}]
    )
    assert np.allclose(learning_curves.task_losses(table, nets, "data").loc[64], [0.2, 0.4])
    assert learning_curves.task_losses(table, nets.assign(diverged_step=5), "data").empty
    assert np.allclose(learning_curves.learned_tasks(np.array([[0.2, 1.3]])), 0.8)


def test_a_run_is_fitted_without_its_diverged_nets_and_says_so():
    steps = np.array([0, 10, 100, 1000])
    tables, nets = [], []
    for seed in (0, 1):
        loss = np.stack([planted(0.4, 10, {s: n * share for s, n in zip(steps, (0, 1, 4, 8), strict=True)}).to_numpy()
                         for share in (0.5, 1.0, 1.1)])  # fmt: skip
        loss[1, 2:] = np.nan
        curves = training.Curves(steps, loss.astype(np.float32), np.array([-1, 50, -1]))
        tables.append(learning_curves.curve_table(curves, [4, 8, 16], sweep="fresh", alpha=0.4, seed=seed))
        nets.append(
            pd.DataFrame(
                {"sweep": "fresh", "alpha": 0.4, "seed": seed, "size": [4, 8, 16], "parameters": [40, 80, 160],
                 "last_step": learning_curves.last_steps(curves), "diverged_step": curves.diverged_step}
            )
        )  # fmt: skip
    fits, points, _ = exponents.fit_all(
        pd.concat(tables), pd.concat(nets), loss_range=(0.01, 0.9), step_range=None, draws=20, seed=0
    )
    by = {fit["resource"]: fit for fit in fits["exponents"]}
    assert by["parameters"]["points_used"] == [40, 160]
    assert by["parameters"]["nets_left_out"] == [
        "fresh, size 8, seed 0: diverged at step 50",
        "fresh, size 8, seed 1: diverged at step 50",
    ]
    assert by["parameters"]["seeds"] == 2
    assert set(points["resource"]) == {"parameters", "steps"}  # no data sweep was given
    assert pd.concat(nets)["last_step"].tolist() == [1000, 10, 1000] * 2
    table = exponents.exponent_table(fits)
    assert table.set_index("resource").loc["parameters", "nets_left_out"] == 2
    converged = convergence.convergence_table(fits).iloc[0]
    assert converged["tasks_used"] + converged["tasks_left_out"] == 2 * 10 and converged["theory"] == -1
    assert learning_curves.resources_of(pd.concat(tables)) == ["parameters", "steps"]
    # size 16 is the widest: the steps are its own
    wide = points[(points["resource"] == "steps") & (points["seed"] == 0)].set_index("scale")["learned_tasks"]
    assert np.allclose(wide, [1.1, 4.4, 8.8])
    with pytest.raises(QuantaError, match="did not diverge"):
        lost = pd.concat(nets).assign(diverged_step=1)
        exponents.fit_all(pd.concat(tables), lost, loss_range=(0, 1), step_range=None, draws=10, seed=0)


# ----------------------------------------------------------------------------------------------- ground truth for QDG


@pytest.fixture(scope="module")
def learned():
    """A net that has learned its tasks, and their losses."""
    problem = sparse_parity.ParityProblem(n_tasks=6, n_bits=12, k=2, alpha=0.5, seed=1)
    nets = networks.Nets(problem, [48])
    chosen = training.TrainingSettings(steps=900, learning_rate=2e-2, evaluations=5, held_out_per_task=50)
    curves, saved = training.train(nets, sparse_parity.FreshSamples(problem, 300), chosen, snapshots=[900])
    return problem, saved[900], curves.loss_bits[0, -1]


def test_closed_form_gradients_are_those_of_single_backward_passes(learned):
    problem, net, _ = learned
    probes = probing.draw_probes(problem, net, 12)
    width = len(net["bias"])
    module = StraightforwardNet(problem, width, 1e-2).module.double()
    last = torch.from_numpy(net["output_weight"]).double()
    with torch.no_grad():
        module[0].weight.copy_(
            torch.cat([torch.from_numpy(net["code_weight"].T), torch.from_numpy(net["bit_weight"])], 1)
        )
        module[0].bias.copy_(torch.from_numpy(net["bias"]))
        module[2].weight.copy_(torch.stack([-last / 2, last / 2]))
        module[2].bias.copy_(torch.tensor([-0.5, 0.5]).double() * float(net["output_bias"][0]))
    found = probing.gradients(net, probes)
    n = problem.n_tasks
    for i in range(len(probes)):
        code = torch.nn.functional.one_hot(torch.tensor(probes.tasks[i]), n)
        entries = torch.cat([code, torch.from_numpy(probes.bits[i]).long()]).double()
        module.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(entries), torch.tensor(probes.labels[i]))
        loss.backward()
        first, second = module[0].weight.grad, module[2].weight.grad
        expected = torch.cat(
            [
                first[:, :n].T.flatten(),
                first[:, n:].flatten(),
                module[0].bias.grad,
                second.flatten(),
                module[2].bias.grad,
            ]
        ).numpy()
        assert np.allclose(found[i], expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())
        assert np.isclose(probes.loss_bits[i], loss.item() / np.log(2), rtol=1e-6)
    without = probing.gradients(net, probes, "without code")
    assert np.array_equal(without, found[:, n * width :])


def test_tasks_are_recovered_where_one_case_and_equal_numbers_leave_no_other_cause(learned):
    problem, net, losses = learned
    assert (losses < 0.1).sum() >= 5
    probes = probing.draw_probes(problem, net, 240, sampling="equal, one pattern", tasks=losses < 0.1)
    counts = np.bincount(probes.tasks)
    assert counts[counts > 0].max() - counts[counts > 0].min() <= 1
    rows = np.take_along_axis(probes.bits, problem.subsets[probes.tasks], axis=1)
    assert not rows.any()
    tasks = len(np.unique(probes.tasks))
    labels, _ = recovery.cluster(probing.gradients(net, probes), [tasks], seed=0)
    keep = recovery.judged(probes.tasks, losses, learned_bits=0.1, least=10)
    scores, _ = recovery.recovery(labels, probes.tasks, keep)
    assert scores["adjusted_rand"].iloc[0] >= 0.95


def test_cases_of_a_task_lie_nearer_than_the_task(learned):
    # why tasks split: a gradient's direction is set by the pattern of the relevant bits, and turns round with the label
    problem, net, losses = learned
    probes = probing.draw_probes(problem, net, 300, sampling="equal", tasks=losses < 0.1, below_bits=0.1)
    assert (probes.loss_bits < 0.1).all()
    _, cosines = recovery.cluster(probing.gradients(net, probes), [6], seed=0)
    pairs = recovery.pair_statistics(cosines, probes, problem.subsets).set_index("pair")["median"]
    assert pairs["same task, same pattern"] > pairs["same task, other pattern, same label"] > 0
    assert pairs["same task, other label"] < 0
    assert abs(pairs["other task, 0 shared bits, same label"]) < pairs["same task, same pattern"] / 2


def test_noise_shrinks_cosines_by_its_square():
    rng = np.random.default_rng(0)
    features = np.tile(rng.standard_normal(4000), (2, 1)).astype(np.float32)
    noisy = probing.with_noise(features, 2.0, rng)
    cosine = noisy[0] @ noisy[1] / np.linalg.norm(noisy[0]) / np.linalg.norm(noisy[1])
    assert np.isclose(cosine, 1 / 5, atol=0.03)
    assert np.allclose(np.linalg.norm(probing.with_noise(features, 0, rng), axis=1), 1)


def test_the_number_of_learned_tasks_is_among_the_numbers_of_clusters(learned):
    """Whether every learned task is found must not hang on a list that happens to hold their number."""
    problem, net, losses = learned
    number = int((losses < 0.1).sum())
    asked = [recovery.Condition("easy", 900, 240, sampling="equal, one pattern")]
    counts = [number - 1, number + 1, number + 2]

    def found(n_clusters):
        return recovery.ground_truth(
            problem, {900: net}, {900: losses}, asked, n_clusters=n_clusters, below_bits=0.1, learned_bits=0.1,
            least=10, ranks=(1, number),
        )  # fmt: skip

    scores = found(counts).scores
    assert scores["n_clusters"].tolist() == sorted([*counts, number]) and set(scores["learned_tasks"]) == {number}
    assert scores.set_index("n_clusters")["adjusted_rand"][number] >= 0.95
    # the envelope is that of the list: it would otherwise be another curve for each condition
    only = recovery.cluster(
        probing.gradients(net, probing.draw_probes(problem, net, 240, sampling="equal, one pattern",
                                                         below_bits=0.1, tasks=losses < 0.1)),
        sorted([*counts, number]), seed=problem.seed)[0]  # fmt: skip
    kept = only[only["n_clusters"] != number]
    expected = recovery.envelope_fit(kept, np.zeros(240, dtype=int), problem.alpha, (1, number))["envelope_slope"]
    assert found(counts).envelopes[0]["envelope_slope"] == expected


def test_clusters_are_made_as_those_of_the_language_model(learned):
    problem, net, _ = learned
    features = probing.gradients(net, probing.draw_probes(problem, net, 120))
    ways = [{}, {"method": "cluster_qr", "rows": "degree"}, {"method": "restarts", "rows": "unit", "restarts": 2}]
    labels = [recovery.cluster(features, [7], seed=0, assignment=way)[0]["label"].tolist() for way in ways]
    assert labels[0] != labels[1] != labels[2] != labels[0]


def test_recovery_of_perfect_split_and_merged_labels():
    tasks = np.repeat([0, 1, 2], 10)
    found = {3: tasks, 2: np.minimum(tasks, 1), 6: tasks * 2 + np.arange(30) % 2}
    labels = pd.concat([pd.DataFrame({"n_clusters": k, "token": np.arange(30), "label": v}) for k, v in found.items()])
    scores, table = recovery.recovery(labels, tasks, np.ones(30, dtype=bool))
    scores = scores.set_index("n_clusters")["adjusted_rand"]
    assert scores[3] == 1
    assert scores[2] < 1
    assert scores[6] < 1
    merged = table[(table["n_clusters"] == 2) & (table["task"] == 2)].iloc[0]
    split = table[(table["n_clusters"] == 6) & (table["task"] == 0)].iloc[0]
    assert (merged["recall"], merged["precision"]) == (1, 0.5)
    assert (split["recall"], split["precision"]) == (0.5, 1)


@settings(deadline=None)
@given(seed=st.integers(0, 5))
def test_cases_number_tasks_and_patterns(seed):
    problem = sparse_parity.ParityProblem(5, 9, 3, 0.4, seed)
    rng = np.random.default_rng(seed)
    probes = probing.Probes(rng.integers(0, 5, 40), rng.integers(0, 2, (40, 9)), np.zeros(40), np.zeros(40))
    found = probing.cases(probes, problem.subsets)
    assert np.array_equal(found // 8, probes.tasks)
    for i in range(40):
        bits = [(found[i] >> j) & 1 for j in range(3)]
        assert bits == probes.bits[i, problem.subsets[probes.tasks[i]]].tolist()


def test_too_few_good_samples_are_an_error(learned):
    problem, net, _ = learned
    with pytest.raises(QuantaError, match="loss below 1e-30 bits"):
        probing.draw_probes(problem, net, 50, below_bits=1e-30)
    with pytest.raises(QuantaError, match="no task"):
        probing.draw_probes(problem, net, 50, tasks=np.zeros(6, dtype=bool))
    with pytest.raises(QuantaError, match="sampling 'odd'"):
        probing.draw_probes(problem, net, 50, sampling="odd")


# ------------------------------------------------------------------------------------------- calibration against the truth


@pytest.fixture(scope="module")
def calibrated():
    """Both calibrations at 100 samples, from few simulations."""
    return estimates.calibrations(100, 24, simulations=125, held_out=25, seed=0)


@pytest.mark.parametrize("alpha", [0.2, 0.8])
def test_collisions_of_zipf_labels_give_alpha_if_the_number_of_quanta_is_known(alpha):
    # 12 quanta in exact proportions: taken for a piece of an endless law they look steeper, the more so the smaller α is
    sizes = np.round(20_000 * np.arange(1, 13) ** -(alpha + 1.0)).astype(int)
    labels = np.repeat(np.arange(12), sizes)
    known = estimates.collisions_of_labels(labels, 12)
    assert known["value"] == pytest.approx(alpha, abs=0.002)
    assert known["low"] < alpha < known["high"]
    assert estimates.collisions_of_labels(labels, 1e5)["value"] > alpha + 0.05


def test_estimates_meet_alpha_when_every_cause_of_bias_is_taken_away(learned, calibrated):
    problem, net, losses = learned
    found = estimates.estimates(problem, net, losses, calibrated, samples=100, below_bits=0.1, learned_bits=0.1)
    table = estimates.with_coverage(found).set_index(["condition", "estimator"])
    assert set(table.index.get_level_values("condition")) == set(estimates.CONDITIONS)
    # true tasks, all of them learned, their number known: sampling is the only error left
    best = table.loc[("learned tasks, one pattern", learning_curves.TASKS_LEARNED)]
    assert best["low"] <= problem.alpha <= best["high"]
    for condition in ("learned tasks", "learned tasks, one pattern"):
        # a law over few quanta collides more often than an endless one of the same α
        values = table.loc[condition]["value"]
        assert values[learning_curves.TASKS] > values[learning_curves.TASKS_LEARNED]
    # patterns of bits divide a task into cases, unless there is one pattern
    assert table.loc[("base", estimates.CASES), "value"] < table.loc[("base", learning_curves.TASKS), "value"]
    one = table.loc["one pattern"]["value"]
    assert one[estimates.CASES] == one[learning_curves.TASKS]
    for name in (learning_curves.LANGUAGE, learning_curves.PARITY):
        mine = found[found["estimator"] == name]
        assert ((mine["low"] <= mine["value"]) & (mine["value"] <= mine["high"])).all()
        assert mine["verdict"].notna().all()


def test_a_net_with_fewer_than_two_learned_tasks_is_left_out(learned, calibrated):
    problem, net, losses = learned
    asked = {"samples": 100, "below_bits": 0.1, "learned_bits": 0.1}
    none = estimates.estimates(problem, net, np.ones_like(losses), calibrated, **asked)
    assert none.empty
    # the tables are made all the same, from the envelope alone
    envelopes = pd.DataFrame(
        {"condition": "base", "seed": [1], "alpha": 0.5, "width": 48, "envelope_slope": -1.0, "true_sizes_slope": -1.5}
    )
    table = estimates.with_coverage(estimates.together([none.assign(width=48)], envelopes))
    assert table["value"].tolist() == [0.0, 0.5] and table["covered"].isna().all() and set(table["width"]) == {48}
    found = estimates.coverage(table, calibrated)
    assert set(found["condition"]) == {"base", "simulations held out"}


def test_coverage_counts_intervals_that_hold_the_truth(calibrated):
    table = pd.DataFrame(
        {
            "alpha": [0.2, 0.4, 0.4],
            "condition": "base",
            "estimator": [learning_curves.LANGUAGE, learning_curves.LANGUAGE, learning_curves.ENVELOPE],
            "value": [0.3, 0.7, 0.1],
            "low": [0.1, 0.5, np.nan],
            "high": [0.5, 0.9, np.nan],
            "verdict": ["like the simulations", "cannot tell: the interval is wide", None],
        }
    )
    found = estimates.coverage(estimates.with_coverage(table), calibrated)
    found = found.set_index(["condition", "estimator"])
    row = found.loc[("base", learning_curves.LANGUAGE)]
    assert (row["covered"], row["cannot_tell"], row["nets"]) == (0.5, 0.5, 2)
    assert row["bias"] == pytest.approx(0.2)
    assert row["width"] == pytest.approx(0.4)
    assert np.isnan(found.loc[("base", learning_curves.ENVELOPE), "covered"])
    held_out = found.loc[("simulations held out", learning_curves.PARITY)]
    assert held_out["nets"] == 25
    assert held_out["covered"] == calibrated[learning_curves.PARITY].coverage["covered"].mean()


def test_too_few_samples_for_a_calibration_are_an_error():
    with pytest.raises(QuantaError, match="at least 40"):
        estimates.calibrations(30, 24, simulations=125, held_out=25, seed=0)


def test_snapshots_come_back_by_step_with_the_losses_measured_next(tmp_path):
    path = tmp_path / "widest.npz"
    np.savez(path, **{"step5.bias": np.zeros(2), "step20.bias": np.ones(2), "step20.output_bias": np.ones(1)})
    found = probing.read_snapshots(path)
    assert {step: sorted(net) for step, net in found.items()} == {5: ["bias"], 20: ["bias", "output_bias"]}
    curves = pd.DataFrame(
        {
            "size": [8, 8, 8, 8, 4],
            "step": [1, 7, 7, 20, 7],
            "task": [0, 1, 0, 0, 0],
            "loss_bits": [0.9, 0.7, 0.6, 0.1, 0.8],
        }
    )
    losses = probing.losses_at(curves, 8, [5, 20, 30])
    assert {step: own.tolist() for step, own in losses.items()} == {5: [0.6, 0.7], 20: [0.1], 30: [0.1]}


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"alpha": 0.3, "alphas": [0.2, 0.4]}, "parity.alpha", r"one of parity.alphas, \[0.2, 0.4\]"),
        ({"qdg": {"samples": 60, "n_clusters": [60, 80], "sample_numbers": []}}, "parity.qdg.n_clusters", "below"),
        (
            {"qdg": {"n_clusters": [40, 80], "sample_numbers": [30]}},
            "parity.qdg.n_clusters",
            "40 clusters or more of 30",
        ),
    ],
)
def test_settings_that_would_fail_late_are_refused_before_any_job(changes, key, expected):
    with pytest.raises(QuantaError, match=expected) as caught:
        settled(parity=changes)
    assert caught.value.where == f"config, key {key}"
