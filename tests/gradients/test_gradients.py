"""Single-token gradients: equal to autograd on every architecture, and to themselves under every reordering."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from architectures import tiny
from quanta.corpus.encoding import Tokens, as_tokens
from quanta.errors import QuantaError
from quanta.gradients import batching, engine, shards, sign_fold
from quanta.gradients import token_gradients as gradients_token_gradients
from quanta.gradients.engine import Engine
from quanta.gradients.parameter_sets import parameter_set
from quanta.gradients.sign_fold import Fold
from quanta.gradients.token_gradients import token_gradients
from quanta.losses import batching as losses_batching
from quanta.models.training import LadderSize, new_model
from torch import nn

VOCABULARY = 61
SMALL = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = SMALL | {"intermediate_size": 24, "num_key_value_heads": 2, "max_position_embeddings": 64, "head_dim": 4}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "neox": ("GPTNeoX", SMALL | {"intermediate_size": 40}),
    "neox sequential": ("GPTNeoX", SMALL | {"intermediate_size": 40, "use_parallel_residual": False}),
    "neox without biases": ("GPTNeoX", SMALL | {"intermediate_size": 40, "attention_bias": False}),
    "neox of one block": (
        "GPTNeoX",
        SMALL | {"intermediate_size": 40, "num_hidden_layers": 1, "hidden_act": "gelu_new"},
    ),
    "neox of another activation": ("GPTNeoX", SMALL | {"intermediate_size": 40, "hidden_act": "relu"}),
    "gpt2": ("GPT2", {"vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    "gpt-neo, local attention": (
        "GPTNeo",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 16,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 5,
            "max_position_embeddings": 64,
        },
    ),
    "llama, grouped queries": ("Llama", LLAMA),
    "llama with biases": ("Llama", LLAMA | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "mistral, sliding window": ("Mistral", LLAMA | {"sliding_window": 6}),
    "qwen2": ("Qwen2", LLAMA | {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}),
    "qwen3": ("Qwen3", LLAMA),
    "olmo": ("Olmo", {k: v for k, v in LLAMA.items() if k != "head_dim"}),
    "olmo2": ("Olmo2", {k: v for k, v in LLAMA.items() if k != "head_dim"}),
    "gemma2, capped logits": (
        "Gemma2",
        LLAMA | {"sliding_window": 6, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 5.0},
    ),
    "gemma3": ("Gemma3Text", LLAMA | {"sliding_window": 6}),
}


def build(name: str, seed: int = 0) -> Any:
    """A small random model in which no bias is zero and no norm's weight is one."""
    family, settings = ARCHITECTURES[name]
    config = getattr(transformers, f"{family}Config")(**settings, bos_token_id=0, eos_token_id=0, pad_token_id=None)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of transformers about its own configurations
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    return model


def documents(seed: int = 0, lengths: tuple[int, ...] = (5, 9, 17, 30, 2)) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, VOCABULARY, size=n).tolist() for n in lengths]


DOCUMENTS = [0, 1, 2, 3, 3, 3, 1, 4, 3]
POSITIONS = [3, 8, 10, 29, 4, 1, 2, 1, 29]


def by_autograd(model: nn.Module, ids: list[int], position: int, names: list[str]) -> tuple[np.ndarray, float]:
    """The flat gradient of one token's loss: whole document, all logits, no hook."""
    own = dict(model.named_parameters())
    with torch.enable_grad():
        for name in names:
            own[name].requires_grad_(True)
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, position - 1]
        loss = nn.functional.cross_entropy(logits.float(), torch.tensor(ids[position]))
        found = torch.autograd.grad(loss, [own[name] for name in names], allow_unused=True)
    parts = [own[n].new_zeros(own[n].shape) if g is None else g for n, g in zip(names, found, strict=True)]
    return torch.cat([part.flatten() for part in parts]).numpy(), float(loss.detach())


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float = 2e-5) -> None:
    """Rows agree within `tolerance` of each row's own length: rounding of float32 grows with it."""
    assert found.shape == expected.shape
    lengths = np.linalg.norm(expected.astype(np.float64), axis=1)
    assert (lengths > 0).all()
    assert (np.linalg.norm(found.astype(np.float64) - expected, axis=1) / lengths).max() < tolerance


@pytest.fixture(scope="module")
def neox() -> Any:
    return build("neox")


# ------------------------------------------------------------------------------- equal to autograd


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equal_to_autograd(name: str) -> None:
    model, texts = build(name), documents()
    chosen = parameter_set(model, "all")
    names = [p.name for p in chosen.members]
    expected = [by_autograd(model, texts[d], p, names) for d, p in zip(DOCUMENTS, POSITIONS, strict=True)]
    found, nats = token_gradients(model, texts, DOCUMENTS, POSITIONS, features=None, parameters="all")
    assert_close(found, np.stack([g for g, _ in expected]))
    np.testing.assert_allclose(nats, [loss for _, loss in expected], atol=1e-5)


@pytest.mark.parametrize("name", ["neox", "neox sequential", "neox without biases", "neox of one block"])
def test_own_backward_is_that_of_the_hooks(name: str) -> None:
    model, tokens = build(name), as_tokens(documents())
    places = np.array(DOCUMENTS), np.array(POSITIONS)
    rows = []
    for by_hooks in (False, True):
        engine = Engine(model, tokens, features=999, seed=3, parameters="all", by_hooks=by_hooks)
        assert (engine.neox is None) == by_hooks
        rows.append(np.empty((len(DOCUMENTS), 999), np.float32))
        for samples, features, _ in engine.run(*places, 64):
            rows[-1][samples] = features.numpy()
    assert_close(rows[0], rows[1])


def test_parameter_sets_are_chosen_by_type() -> None:
    """Counts for pythia-70m's shape; the paper states 18,915,328 and its code took 18,903,040."""
    with torch.device("meta"):
        model = new_model(LadderSize("70m", 512, 6, 8), vocabulary=50304, context=2048, seed=0)
    counts = {kind: parameter_set(model, kind) for kind in ("paper", "clean", "all")}
    assert {kind: chosen.count for kind, chosen in counts.items()} == {
        "paper": 18_903_040,
        "clean": 18_902_016,
        "all": 18_915_328,
    }
    extra = set(counts["paper"].places()) - set(counts["clean"].places())
    assert extra == {"gpt_neox.final_layer_norm.weight", "gpt_neox.final_layer_norm.bias"}
    said = counts["paper"].describe()
    assert said["parameters"] == 18_903_040
    assert said["matrices"] == 18_874_368
    assert {"lm_head.weight", "gpt_neox.embed_in.weight"} <= set(said["left_out"])
    assert sum(said["left_out"].values()) + said["parameters"] == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", ["gpt2", "gemma2, capped logits", "llama with biases"])
def test_tied_embeddings_are_left_out_and_named(name: str) -> None:
    model = build(name)
    chosen = parameter_set(model, "all")
    assert chosen.tied and chosen.describe()["tied_embeddings"]
    embedding = model.get_input_embeddings().weight
    own = dict(model.named_parameters(remove_duplicate=False))
    assert not any(own[p.name] is embedding for p in chosen.members)


def test_stacked_experts_are_in_every_set_and_kernels_in_all() -> None:
    config = transformers.MixtralConfig(**LLAMA, num_local_experts=2, pad_token_id=None)
    chosen = parameter_set(transformers.MixtralForCausalLM(config), "paper")
    assert "model.layers.1.mlp.experts.down_proj" in chosen.places()
    assert {p.name.split(".mlp.")[1] for p in chosen.whole} == {"experts.gate_up_proj", "experts.down_proj"}
    with torch.random.fork_rng(devices=[]):
        model = tiny("lfm2")
    kernel = "model.layers.0.conv.conv.weight"
    assert kernel in parameter_set(model, "all").places()
    assert kernel in parameter_set(model, "paper").left_out


def test_blocks_that_are_not_of_linear_layers_are_refused() -> None:
    """Most of the weights would be in no gradient."""
    model = build("llama, grouped queries")
    model.model.layers[0].kernels = nn.Parameter(torch.ones(300, 200))
    with pytest.raises(QuantaError, match="belongs to no Linear layer"):
        parameter_set(model, "paper")
    assert "model.layers.0.kernels" in parameter_set(model, "all").places()


def test_a_layer_whose_hook_sees_another_input_is_taken_whole() -> None:
    """Its weight multiplies twice what it is called with: the probe sees that the hook's product is half of autograd's."""
    model = build("llama, grouped queries")

    class Doubled(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(2 * input, self.weight)

    old = model.model.layers[1].mlp.up_proj
    new = Doubled(old.in_features, old.out_features, bias=False)
    new.weight = old.weight
    model.model.layers[1].mlp.up_proj = new
    names = [p.name for p in parameter_set(model).members]
    found, _ = token_gradients(model, documents(), [3], [20], features=None)
    assert_close(found, by_autograd(model, documents()[3], 20, names)[0][None])


@pytest.mark.parametrize("name", ["qwen2", "gpt2", "llama with biases"])
def test_the_probe_of_a_large_model_takes_a_part_of_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large model the probe compares some modules, each with all of its members."""
    monkeypatch.setattr(engine, "PROBED_PARAMETERS", 100)
    model = build(name)
    probed = Engine(model, as_tokens([]), features=None, seed=0, parameters="clean")
    part = engine._some(probed.parameters)
    assert 0 < len(part.members) < len(probed.parameters.members)
    engine.check_gradients(probed)
    assert not probed.parameters.whole


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_a_large_vocabulary_is_summed_as_exactly_for_few_samples_as_for_many(samples: int) -> None:
    """Rows of the unembedding have much in common, as Gemma's: what is left of a sum over tokens is small."""
    settings = LLAMA | {"vocab_size": 2**17, "bos_token_id": 0, "eos_token_id": 0}
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**settings)).eval()
    model.lm_head.weight.data += 0.5
    ids = [np.random.default_rng(i).integers(0, 2**17, size=9).tolist() for i in range(samples)]
    where = np.arange(samples)
    found, _ = token_gradients(model, ids, where, np.full(samples, 8), features=None, parameters="clean")
    names = [p.name for p in parameter_set(model, "clean").members]
    exact = model.double()
    assert_close(found, np.stack([by_autograd(exact, row, 8, names)[0] for row in ids]), tolerance=3e-5)


def test_a_model_that_lets_no_gradient_through_is_refused_by_name() -> None:
    with pytest.raises(
        QuantaError, match=r"ReformerModelWithLMHead \(reformer\): gradients of the set 'paper': no grad"
    ):
        token_gradients(tiny("reformer"), documents(), [3], [20], features=None)


def test_a_fold_narrower_than_half_a_layer_is_finished() -> None:
    """Columns beyond the number of features wrap where they are added; the buffer is no longer for them."""
    model = build("llama, grouped queries")
    found, _ = token_gradients(model, documents(), [3], [20], features=5)
    assert np.isfinite(found).all() and found.any()


@pytest.fixture(params=["loop", "batched"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of the fold on a CPU: a product for each sample, as large layers take, and one for the whole batch."""
    monkeypatch.setattr(sign_fold, "LOOP_FROM", 0 if request.param == "loop" else 2**62)
    return str(request.param)


# ------------------------------------------------------------------------------------- invariances


def features_of(model: Any, order: list[int] | None = None, **settings: Any) -> np.ndarray:
    pick = np.arange(len(DOCUMENTS)) if order is None else np.array(order)
    settings = {"features": 4097, "seed": 5} | settings
    found, _ = token_gradients(model, documents(), np.array(DOCUMENTS)[pick], np.array(POSITIONS)[pick], **settings)
    return found


def test_batch_size_and_sharing_alter_nothing(neox: Any, way: str) -> None:
    reference = features_of(neox, share=False, batch_tokens=1)
    for settings in ({}, {"share": False}, {"batch_tokens": 40}, {"batch_tokens": 1}):
        assert_close(features_of(neox, **settings), reference)


def test_order_permutes_rows_and_gram(neox: Any) -> None:
    order = [4, 0, 8, 2, 7, 1, 3, 6, 5]
    plain, permuted = features_of(neox), features_of(neox, order)
    assert_close(permuted, plain[order])
    gram = plain.astype(np.float64) @ plain.T
    np.testing.assert_allclose(permuted.astype(np.float64) @ permuted.T, gram[np.ix_(order, order)], rtol=1e-4)


def test_what_follows_the_target_alters_nothing(neox: Any) -> None:
    """Neither the rest of the document nor the padding that longer neighbours bring."""
    text = documents()[3]
    alone, _ = token_gradients(neox, [text[:8]], [0], [7], features=4097)
    longer, _ = token_gradients(neox, [text, documents()[2]], [0, 1], [7, 16], features=4097)
    assert_close(longer[:1], alone)


def test_shortest_document(neox: Any) -> None:
    """Two tokens: one input position. Targets that share the document of one token do not exist."""
    names = [p.name for p in parameter_set(neox).members]
    found, _ = token_gradients(neox, [[7, 8]], [0], [1], features=None)
    assert_close(found, by_autograd(neox, [7, 8], 1, names)[0][None])
    with pytest.raises(QuantaError, match="nothing predicts a first token"):
        token_gradients(neox, [[7]], [0], [0])
    with pytest.raises(QuantaError, match="document 0, position 1"):
        token_gradients(neox, [[7]], [0], [1])
    nothing, _ = token_gradients(neox, [[7]], [], [], features=33)
    assert nothing.shape == (0, 33)


def test_any_split_into_shards_gives_the_same_bytes(neox: Any, way: str) -> None:
    rng = np.random.default_rng(1)
    texts = [rng.integers(0, VOCABULARY, size=12).tolist() for _ in range(60)]
    where, positions = rng.integers(0, 60, size=400), rng.integers(1, 12, size=400)
    whole, _ = token_gradients(neox, texts, where, positions, features=513, batch_tokens=64)
    for count in (2, 3, 5):
        parts = [losses_batching.shard(400, i, count) for i in range(count)]
        found = [
            token_gradients(
                neox, texts, where[p.start : p.stop], positions[p.start : p.stop], features=513, batch_tokens=64
            )[0]
            for p in parts
        ]
        assert np.concatenate(found).tobytes() == whole.tobytes()


def test_batches_hold_every_target_once_within_its_block() -> None:
    rng = np.random.default_rng(2)
    where, positions = rng.integers(0, 40, size=300), rng.integers(1, 50, size=300)
    for share in (False, True):
        made = list(batching.batches(where, positions, 100, share=share))
        assert sorted(np.concatenate([b.samples for b in made]).tolist()) == list(range(300))
        assert any(b.shared for b in made) == share
        for b in made:
            assert len(set((b.samples // losses_batching.BLOCK).tolist())) == 1
            assert (b.documents[b.rows] == where[b.samples]).all()
            assert (b.lengths[b.rows] >= positions[b.samples]).all()
            assert len(b.documents) == 1 or len(b.documents) * b.lengths.max() <= 100


def test_deterministic_algorithms_are_enough(neox: Any) -> None:
    """Jobs on the CPU forbid every other, and torch then raises where one is needed."""
    expected = features_of(neox)
    torch.use_deterministic_algorithms(True)
    try:
        assert features_of(neox).tobytes() == expected.tobytes()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", ["neox", "gpt2", "qwen3"])
def test_threads_do_not_alter_bytes(name: str, way: str) -> None:
    model, before, found = build(name), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(features_of(model, parameters="all", batch_tokens=40).tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_model_is_left_as_it_was(neox: Any) -> None:
    model = build("gpt2").train()
    wanted = [i % 2 == 0 for i, _ in enumerate(model.parameters())]
    for parameter, want in zip(model.parameters(), wanted, strict=True):
        parameter.requires_grad_(want)
    first, _ = token_gradients(model, documents(), [3], [20], features=513)
    second, _ = token_gradients(model, documents(), [3], [20], features=513)
    assert model.training  # though dropout was off meanwhile
    assert first.tobytes() == second.tobytes()
    assert [p.requires_grad for p in model.parameters()] == wanted
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_scale_of_the_loss_scales_features(neox: Any) -> None:
    """The cosine does not change when the loss is measured in bits: features are linear in the loss."""
    plain = features_of(neox)
    tokens = as_tokens(documents())
    engine = Engine(neox, tokens, features=4097, seed=5)
    original = nn.functional.cross_entropy
    scaled = np.empty_like(plain)
    try:
        nn.functional.cross_entropy = lambda *a, **k: original(*a, **k) / np.log(2)  # type: ignore[assignment]
        for samples, features, _ in engine.run(np.array(DOCUMENTS), np.array(POSITIONS), 2048):
            scaled[samples] = features.numpy()
    finally:
        nn.functional.cross_entropy = original
    assert_close(scaled, plain / np.float32(np.log(2)))


# ------------------------------------------------------------------------------------------- fold


def cosines(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def test_sketch_of_all_parameters_is_exact_up_to_signs(neox: Any, way: str) -> None:
    exact = features_of(neox, features=None)
    sketch = features_of(neox, features=exact.shape[1])
    assert_close(np.abs(sketch), np.abs(exact))
    assert (np.sign(sketch) != np.sign(exact)).any()
    np.testing.assert_allclose(cosines(sketch), cosines(exact), atol=1e-6)
    wider = features_of(neox, features=exact.shape[1] + 9)  # more features than parameters: the rest are zero
    assert (wider[:, exact.shape[1] :] == 0).all()
    assert_close(wider[:, : exact.shape[1]], sketch)


def test_features_are_the_signed_sums_that_they_claim_to_be(neox: Any, way: str) -> None:
    """Against a plain fold, element by element: r(o) c(i) G(o, i) goes to (start + stride·o + i) mod k."""
    exact, sketch = features_of(neox, features=None), features_of(neox, features=257)
    chosen = parameter_set(neox)
    fold = Fold(chosen, 257, 5, torch.device("cpu"))
    expected, start = np.zeros((len(exact), 257)), 0
    for m in chosen.matrices:
        rows, columns = (sign.numpy() for sign in fold._signs[m.name])
        assert np.gcd(m.columns, 257) == 1
        signed = exact[:, m.begin : m.begin + m.size] * np.outer(rows, columns).ravel()
        np.add.at(expected, (slice(None), (start + np.arange(m.size)) % 257), signed)
        start += m.size
    assert fold._vector_signs is not None
    signed = exact[:, chosen.vectors_begin :] * fold._vector_signs.numpy()
    np.add.at(expected, (slice(None), (start + np.arange(signed.shape[1])) % 257), signed)
    assert_close(sketch, expected)


def test_both_ways_of_the_fold_give_the_same_features(neox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for bound in (0, 2**62):
        monkeypatch.setattr(sign_fold, "LOOP_FROM", bound)
        found.append(features_of(neox))
    assert_close(*found, tolerance=1e-6)


@pytest.mark.parametrize("features", [75, 257])
def test_of_two_elements_in_one_feature_the_crossed_ones_are_apart(neox: Any, features: int) -> None:
    """Why r(o) c(i) does as well as independent signs: k is odd and prime to each stride (75 is not, to a width of 40)."""
    chosen = parameter_set(neox)
    fold = Fold(chosen, features, 0, torch.device("cpu"))
    for matrix in chosen.matrices:
        rows, columns = np.indices((matrix.rows, matrix.columns)).reshape(2, -1)
        one = torch.zeros(matrix.size, 1, matrix.rows), torch.zeros(matrix.size, 1, matrix.columns)
        for part, place in zip(one, (rows, columns), strict=True):
            part[torch.arange(matrix.size), 0, torch.from_numpy(place)] = 1
        buffer = fold.buffer(matrix.size)
        fold.matrix(buffer, matrix, *one, [1] * matrix.size)
        found = fold.finish(buffer)
        assert isinstance(found, torch.Tensor)
        assert (found.abs().sum(1) == 1).all()
        place = found.abs().argmax(1).numpy().reshape(matrix.rows, matrix.columns)
        o, i = rows[:, None], columns[:, None]
        shared = (place[rows, columns][:, None] == place[rows, columns][None, :]) & ~np.eye(len(rows), dtype=bool)
        crossed = place[o, columns[None, :]] == place[rows[None, :], i]
        assert not (shared & crossed).any(), matrix.name


@pytest.mark.parametrize("features", [1024, 1025, 7])
def test_fold_is_unbiased(neox: Any, features: int) -> None:
    """The mean over seeds is the exact inner product, also where k shares divisors with a layer or is below its width."""
    exact = features_of(neox, features=None).astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    lengths = np.linalg.norm(features_of(neox, features=None), axis=1)
    grams = []
    for seed in range(60):
        rows = features_of(neox, features=features, seed=seed) / lengths[:, None]
        grams.append(rows.astype(np.float64) @ rows.T)
    error = np.mean(grams, axis=0) - exact @ exact.T
    spread = np.std(grams, axis=0, ddof=1) / np.sqrt(len(grams))
    assert (np.abs(error) < 4.5 * spread + 1e-6).all()


def test_error_falls_as_one_over_root_k(neox: Any) -> None:
    exact = cosines(features_of(neox, features=None))
    sizes, errors = [127, 509, 2039], []
    for k in sizes:
        found = [cosines(features_of(neox, features=k, seed=seed)) - exact for seed in range(12)]
        errors.append(np.sqrt(np.mean(np.square(found))))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert -0.6 < slope < -0.4
    assert all(error < 1.5 / np.sqrt(k) for k, error in zip(sizes, errors, strict=True))


def test_signs_of_rows_and_columns_do_as_well_as_independent_ones(neox: Any) -> None:
    """The variance is that of a fold with one independent sign an element (the algebra is in docs/gradients.md)."""
    exact = features_of(neox, features=None).astype(np.float64)
    truth, k, n = cosines(exact), 509, exact.shape[1]
    ours, independent = [], []
    for seed in range(40):
        ours.append(cosines(features_of(neox, features=k, seed=seed)) - truth)
        signs = np.random.default_rng([seed, 99]).integers(0, 2, size=n) * 2 - 1
        padded = np.pad(exact * signs, ((0, 0), (0, -n % k)))
        independent.append(cosines(padded.reshape(len(exact), -1, k).sum(1)) - truth)
    ratio = np.mean(np.square(ours)) / np.mean(np.square(independent))
    assert 0.75 < ratio < 1.33


def test_outlier_dimensions_do_not_break_the_sketch() -> None:
    """A few residual dimensions 50 times larger, as Pythia's: the error stays that of 1/√k, for unlike tokens too."""
    model = build("neox")
    with torch.no_grad():
        model.gpt_neox.embed_in.weight[:, [3, 11]] *= 50
        for layer in model.gpt_neox.layers:
            layer.input_layernorm.weight[[3, 11]] *= 50
    exact = cosines(features_of(model, features=None))
    k = 509
    found = [cosines(features_of(model, features=k, seed=seed)) - exact for seed in range(12)]
    assert np.sqrt(np.mean(np.square(found))) < 1.5 / np.sqrt(k)


def test_two_seeds_differ_and_one_repeats(neox: Any) -> None:
    first, again, other = (features_of(neox, seed=seed) for seed in (5, 5, 6))
    assert first.tobytes() == again.tobytes()
    assert (first != other).mean() > 0.4


def test_frozen_norms() -> None:
    """Ten gradients of one small model, as they were when this test was written: a guard against silent change."""
    model = new_model(LadderSize("frozen", 32, 3, 4), vocabulary=VOCABULARY, context=64, seed=0).eval()
    found, nats = token_gradients(model, documents(), [0, 1, 2, 3, 3, 3, 1, 4, 3, 2], [*POSITIONS, 16], features=None)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), NORMS, rtol=2e-4)
    np.testing.assert_allclose(nats, NATS, rtol=1e-5)


NORMS = [12.2961, 11.3112, 12.1876, 14.2955, 10.8905, 10.6109, 12.589, 13.7311, 14.2955, 19.0688]
NATS = [4.042499, 4.130878, 4.213152, 4.256023, 4.252, 4.188456, 4.156906, 4.168404, 4.256023, 3.979475]


# ---------------------------------------------------------------------------- precision and trouble


@pytest.mark.parametrize("name", ["neox", "llama, grouped queries"])
def test_the_error_of_bfloat16_is_that_of_its_eight_bits(name: str) -> None:
    """Relative to each gradient's length: some roundings of 2⁻⁹ (0.2 %) one after the other, as many as there are layers."""
    model = build(name)
    full, half = (features_of(model, features=None, precision=p).astype(np.float64) for p in ("float32", "bfloat16"))
    errors = np.linalg.norm(half - full, axis=1) / np.linalg.norm(full, axis=1)
    assert (errors > 2**-10).all() and (errors < 20 * 2**-9).all(), errors


def test_precision_that_the_device_lacks_is_refused(neox: Any) -> None:
    for precision in ("tf32", "float8"):
        with pytest.raises(QuantaError, match="precision"):
            features_of(neox, precision=precision)


def test_number_of_features_is_checked(neox: Any) -> None:
    for features in (-5, 0, 1):
        with pytest.raises(QuantaError, match="features"):
            features_of(neox, features=features)


@pytest.mark.parametrize("name", ["neox", "llama, grouped queries"])
def test_gradient_that_is_not_finite_names_its_place(name: str) -> None:
    model = build(name)
    with torch.no_grad():
        model.get_input_embeddings().weight[VOCABULARY - 1] = torch.inf
    texts = [[1, 2, 3, 4], [1, 2, VOCABULARY - 1, 4]]
    with pytest.raises(QuantaError, match=r"document 1, position 3: not finite \(loss nan"):
        token_gradients(model, texts, [0, 1, 1], [3, 1, 3], features=129)


def test_out_of_memory_halves_the_batch_and_goes_on(
    neox: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The allocator's refusal is simulated: more than two samples never fit."""
    expected = features_of(neox)
    original = Fold.buffer

    def small(self: Fold, samples: int) -> torch.Tensor:
        if samples > 2:
            raise torch.OutOfMemoryError
        return original(self, samples)

    monkeypatch.setattr(Fold, "buffer", small)
    with caplog.at_level("WARNING", "quanta"):
        assert_close(features_of(neox), expected)
    assert "out of memory" in caplog.text

    def none(self: Fold, samples: int) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Fold, "buffer", none)
    with pytest.raises(QuantaError, match="does not fit"):
        features_of(neox)


def test_tokens_past_the_vocabulary_or_context_are_refused(neox: Any) -> None:
    with pytest.raises(QuantaError, match="token id"):
        token_gradients(neox, [[1, VOCABULARY]], [0], [1])
    model = build("gpt2")
    with pytest.raises(QuantaError, match="at most 64"):
        token_gradients(model, [list(range(60)) + list(range(20))], [0], [70])


# ---------------------------------------------------------------------------------------- shards


def test_shards_keep_their_record_and_mix_only_if_it_agrees(neox: Any, tmp_path: Any) -> None:
    found, nats = token_gradients(neox, documents(), DOCUMENTS, POSITIONS, features=257)
    said = gradients_token_gradients.record(neox, features=257)
    assert said["same"]["parameters"] == parameter_set(neox).count
    paths = [tmp_path / f"features.{i}.npy" for i in range(2)]
    shards.write(paths[0], found[:4], nats[:4], said)
    shards.write(paths[1], found[4:], nats[4:], said | {"made_on": {"device": "another", "torch": "2.6"}})
    parts, loss, common = shards.read(paths)
    assert np.concatenate(parts).tobytes() == found.tobytes()
    assert loss.tobytes() == nats.tobytes()
    assert common["same"] == said["same"]
    other = gradients_token_gradients.record(neox, features=257, precision="bfloat16")
    shards.write(paths[1], found[4:], nats[4:], other)
    with pytest.raises(QuantaError, match="precision 'bfloat16', while"):
        shards.read(paths)
    shards.write(paths[1], found[4:], nats[4:], gradients_token_gradients.record(build("neox", seed=1), features=257))
    with pytest.raises(QuantaError, match="weights '"):
        shards.read(paths)
    paths[1].with_suffix(".json").unlink()  # killed between the two files
    with pytest.raises(QuantaError, match="not whole"):
        shards.read(paths)


def test_lists_and_corpus_are_the_same(neox: Any) -> None:
    texts = documents()
    ends = np.concatenate([[0], np.cumsum([len(t) for t in texts])]).astype(np.int64)
    tokens = Tokens(np.concatenate(texts).astype(np.uint16), ends)
    found, _ = token_gradients(neox, tokens, DOCUMENTS, POSITIONS, features=4097, seed=5, bar=True)
    assert found.tobytes() == features_of(neox).tobytes()


@pytest.mark.parametrize("name", ["neox", "gpt2", "llama, grouped queries", "mistral, sliding window"])
@pytest.mark.parametrize("features", [None, 257])
def test_a_beginning_is_context_and_nothing_else(name: str, features: int | None) -> None:
    """Gradients are those of documents that hold it, at places that do not count it."""
    model, texts, before = build(name), documents(), (4, 2)
    how: Any = {"features": features, "parameters": "all"}
    ours = token_gradients(model, replace(as_tokens(texts), beginning=before), DOCUMENTS, POSITIONS, **how)
    spelled = [[*before, *text] for text in texts]
    theirs = token_gradients(model, spelled, DOCUMENTS, [position + 2 for position in POSITIONS], **how)
    assert_close(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-5)


def test_a_beginning_takes_places_of_the_model() -> None:
    model, text = build("gpt2"), [1] * 64
    whole = replace(as_tokens([text]), beginning=(4,))
    token_gradients(model, whole, [0], [63], features=257)
    with pytest.raises(QuantaError, match="at most 62"):
        token_gradients(model, replace(whole, beginning=(4, 2)), [0], [63], features=257)
