"""Losses, gradients and features of tiny random models of causal architectures, against their own logits and autograd."""

import contextlib
import json
import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from architectures import VOCABULARY, kinds, tiny
from quanta.errors import QuantaError
from quanta.gradients.parameter_sets import KINDS, parameter_set
from quanta.gradients.token_gradients import token_gradients
from quanta.losses import forward, probe
from quanta.models import head, pretrained
from support import ROOT, names, script, tokens_of
from torch import nn

PAGE = ROOT / "docs/architectures.md"
# one of each way that a model can differ: plain, capped, scaled, normalised, of several layers, of convolutions, of
# states, of experts in stacks, of weights used without a call, of lists of positions, of an inner decoder, of blocks that
# share weights, of layers of groups
FAMILIES = ["llama", "gemma2", "cohere2", "nanochat", "granite", "bert", "opt", "lfm2", "olmo_hybrid", "qwen3_5_text", "rwkv",
            "mamba", "mixtral", "phimoe", "bart", "gemma3", "xlm", "zamba", "deepseek_v4"]  # fmt: skip
LOSS = 1e-3  # nats
GRADIENT = 1e-3  # of its length
LENGTHS = (5, 9, 17, 30, 2)
# documents and positions of targets; one document has two, one position is the first
DOCUMENTS, POSITIONS = [0, 1, 2, 3, 3, 1, 4], [3, 8, 10, 29, 4, 2, 1]
FEATURES = 4099
TEXTS = [np.random.default_rng(i).integers(6, VOCABULARY, size=n).tolist() for i, n in enumerate(LENGTHS)]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Without what transformers says about its own configurations and kernels."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    transformers.logging.set_verbosity(before)


def losses_are_right(model: Any) -> bool:
    """Batched, in pieces, against each document alone, and against each beginning of it alone: nothing later is seen."""
    found = forward.token_losses(model, tokens_of(TEXTS), range(len(TEXTS)), batch_tokens=64)
    begin = 0
    for text in TEXTS:
        ids = torch.tensor([text])
        with torch.no_grad():
            for end in {len(text) - 1, *range(1, len(text), 7)}:
                logits = model(input_ids=ids[:, :end]).logits[0].float()
                expected = nn.functional.cross_entropy(logits, ids[0, 1 : end + 1], reduction="none").numpy()
                if not np.abs(found[begin + 1 : begin + 1 + end] - expected).max() < LOSS:
                    return False
        begin += len(text)
    return bool(np.isfinite(found).sum() == begin - len(TEXTS))


def by_autograd(model: Any, names: list[str], text: list[int], position: int) -> np.ndarray:
    own, ids = dict(model.named_parameters(remove_duplicate=False)), torch.tensor([text])
    for name in names:
        own[name].requires_grad_(True)
    with torch.enable_grad():
        logits = head.own_output(model, ids[:, :position]).logits[0, -1].float()
        found = torch.autograd.grad(
            nn.functional.cross_entropy(logits, ids[0, position]), [own[name] for name in names], allow_unused=True
        )
    model.requires_grad_(False)
    parts = [torch.zeros_like(own[n]) if g is None else g for n, g in zip(names, found, strict=True)]
    return torch.cat([part.flatten() for part in parts]).double().numpy()


def gradients_are_right(model: Any, kind: str) -> bool:
    """Exact gradients are autograd's; a fold without collisions keeps all inner products, a smaller one the cosines."""
    names = [member.name for member in parameter_set(model, kind).members]
    exact, _ = token_gradients(model, TEXTS, DOCUMENTS, POSITIONS, features=None, parameters=kind)
    rows = np.stack([by_autograd(model, names, TEXTS[d], p) for d, p in zip(DOCUMENTS, POSITIONS, strict=True)])
    lengths = np.linalg.norm(rows, axis=1)
    if not (np.linalg.norm(exact - rows, axis=1) <= GRADIENT * lengths).all():
        return False
    unit = rows / lengths[:, None]
    for features, tolerance in ((rows.shape[1] | 1, 2 * GRADIENT), (FEATURES, 8 / np.sqrt(FEATURES))):
        folded, _ = token_gradients(model, TEXTS, DOCUMENTS, POSITIONS, features=features, parameters=kind)
        folded = folded.astype(np.float64) / lengths[:, None]
        if not np.abs(folded @ folded.T - unit @ unit.T).max() < tolerance:
            return False
    return True


@dataclass(frozen=True)
class Row:
    """What is found of one architecture: right, wrong, or why not."""

    kind: str
    losses: str
    gradients: dict[str, str]
    remark: str = ""

    @property
    def wrong(self) -> bool:
        return not all(
            v == "right" or v.startswith(("refused", "cannot")) for v in (self.losses, *self.gradients.values())
        )

    def markdown(self) -> str:
        verdicts = set(self.gradients.values())
        if len(verdicts) <= 1:
            gradients = next(iter(verdicts), "")
        elif all(verdict.startswith("refused") for verdict in verdicts):
            gradients = next(iter(self.gradients.values()))
        else:
            gradients = "; ".join(f"{kind}: {verdict}" for kind, verdict in self.gradients.items())
        return f"| `{self.kind}` | {brief(self.losses)} | {brief(gradients)} | {brief(self.remark)} |"


def brief(text: str) -> str:
    """The first twelve words of a text, so that an error fits a cell."""
    words = text.split()
    return text if len(words) <= 12 else f"{' '.join(words[:12])} …"


def verdict(check: Any, *given: Any) -> str:
    try:
        return "right" if check(*given) else "WRONG"
    except QuantaError as error:
        return f"refused: {error.found}"
    except Exception as error:
        return f"STOPS: {type(error).__name__}, {error}"


def examine(kind: str) -> Row:
    """One architecture, in all that the pipeline does with it; and as it comes, if it had to be made a decoder."""
    try:
        model = tiny(kind)
        with torch.no_grad():
            assert model(input_ids=torch.tensor(TEXTS[3:4])).logits.isfinite().all()
    except Exception as error:
        why = re.sub(r"\s+", " ", f"{type(error).__name__}: {error}").replace("|", "/")
        return Row(kind, "cannot be built", {}, why[:120])
    losses = verdict(losses_are_right, model)
    gradients = {one: verdict(gradients_are_right, model, one) for one in KINDS}
    remarks = []
    with contextlib.suppress(QuantaError):
        remarks += [] if head.head_of(model).plain else ["own head"]
        remarks += ["one sample at a time"] if parameter_set(model).whole else []
    if getattr(transformers.AutoConfig.for_model(kind), "is_decoder", None) is False:
        as_it_comes = verdict(losses_are_right, tiny(kind, decoder=False))
        if as_it_comes != "right":
            assert as_it_comes.startswith("refused"), (kind, as_it_comes)
            remarks.append("`is_decoder: true`, else refused")
    return Row(kind, losses, gradients, ", ".join(remarks))


@pytest.mark.parametrize("kind", FAMILIES)
def test_losses_gradients_and_features_are_those_of_the_model(kind: str) -> None:
    row = examine(kind)
    assert {row.losses, *row.gradients.values()} == {"right"}, row


@pytest.mark.parametrize("kind", ["gpt_neox", "gemma2", "bert", "xlm", "mamba"])
def test_a_folder_is_loaded_with_the_attention_of_its_class(kind: str, tmp_path: Path) -> None:
    """Some classes have no fused attention, as Gemma 2, which caps its scores."""
    model = tiny(kind)
    model.save_pretrained(tmp_path)
    loaded, ids = pretrained.load(tmp_path), torch.tensor(TEXTS[1:2])
    with torch.no_grad():
        torch.testing.assert_close(loaded(input_ids=ids).logits, model(input_ids=ids).logits)
    assert next(pretrained.fresh_weights(loaded, seed=0).parameters()).shape == next(model.parameters()).shape
    if kind == "gpt_neox":
        assert loaded.config._attn_implementation == "sdpa"


def test_attention_that_is_not_causal_is_refused_by_name() -> None:
    with pytest.raises(QuantaError, match=r"BertLMHeadModel \(bert\): tokens from 4 on alter the losses") as caught:
        losses_are_right(tiny("bert", decoder=False))
    assert "is_decoder" in caught.value.mend
    with pytest.raises(QuantaError, match="BertLMHeadModel"):
        token_gradients(tiny("bert", decoder=False), TEXTS, [0], [3])


def test_the_probe_of_gradients_stops_a_model_before_its_losses(tmp_path: Path) -> None:
    run = script("gradients/probe")
    for kind in ("llama", "reformer"):
        tiny(kind).save_pretrained(tmp_path / kind)
    output = tmp_path / "probe.json"
    run(names(model=tmp_path / "llama"), names(probe=output), names(parameters="paper"))
    found = json.loads(output.read_text())
    assert found == {
        "architecture": "LlamaForCausalLM",
        "parameter_set": "paper",
        "parameters": parameter_set(tiny("llama")).count,
    }
    with pytest.raises(QuantaError, match=r"ReformerModelWithLMHead \(reformer\).*no gradient reaches the blocks"):
        run(names(model=tmp_path / "reformer"), names(probe=output), names(parameters="paper"))


def test_losses_that_are_not_the_models_own_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pipeline did before it took the model's own head: the unembedding alone, without the cap."""
    monkeypatch.setattr(head.Head, "_is_plain", lambda *_: True)
    with pytest.raises(QuantaError, match=r"Cohere2ForCausalLM \(cohere2\): losses computed here differ"):
        losses_are_right(tiny("cohere2"))


def test_the_probe_runs_once_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny("gemma2")
    with caplog.at_level(logging.INFO, "quanta"):
        for _ in range(2):
            forward.token_losses(model, tokens_of(TEXTS), range(1), batch_tokens=64)
    assert [r.getMessage() for r in caplog.records if "probe of" in r.getMessage()] == [
        line for line in caplog.messages if line.startswith("probe of Gemma2ForCausalLM (gemma2): its own head")
    ]
    assert caplog.text.count("probe of") == 1


def test_a_model_that_does_not_run_on_text_is_refused_by_name() -> None:
    model = tiny("llama")
    model.model.layers[0].mlp.up_proj = nn.Linear(7, 48)
    with pytest.raises(QuantaError, match=r"LlamaForCausalLM \(llama\): it stops on 9 tokens of text"):
        probe.check_model(model, forward.batch_losses)


def test_the_logits_of_an_own_head_never_exist_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = tiny("cohere2"), []
    head.head_of(model)
    monkeypatch.setitem(forward.LOGITS_AT_ONCE, "cpu", 3 * VOCABULARY)
    model.lm_head.register_forward_hook(lambda module, given, out: seen.append(out.numel()))
    assert losses_are_right(model)
    seen.clear()
    forward.token_losses(model, tokens_of(TEXTS), range(len(TEXTS)), batch_tokens=1000)
    assert 0 < max(seen) <= 5 * VOCABULARY  # one position of each of five documents while hidden states are computed


def table(rows: list[Row]) -> str:
    """Markdown: counts, then a row an architecture."""
    losses = [row.losses.partition(":")[0] for row in rows]
    every = [{v.partition(":")[0] for v in row.gradients.values()} for row in rows]
    return "\n".join([
        "| | right | refused | wrong | cannot be built |",
        "|---|---|---|---|---|",
        f"| losses | {losses.count('right')} | {losses.count('refused')} | {sum(r.wrong for r in rows)} | {losses.count('cannot be built')} |",
        f"| gradients, all three sets | {every.count({'right'})} | {sum('refused' in e for e in every)} | {sum(r.wrong for r in rows)} | {every.count(set())} |",
        "",
        "| model type | losses | gradients | remark |",
        "|---|---|---|---|",
        *(row.markdown() for row in rows),
    ])  # fmt: skip


@pytest.mark.architectures
@pytest.mark.timeout(7200)
def test_no_architecture_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [examine(kind) for kind in kinds()]
    with capsys.disabled():
        print(f"\ntransformers {transformers.__version__}\n\n{table(rows)}")
    assert not [row for row in rows if row.wrong]
    page = Path(PAGE).read_text(encoding="utf-8")
    if f"transformers {transformers.__version__}" in page:
        right = {row.kind for row in rows if row.losses == "right" and set(row.gradients.values()) == {"right"}}
        assert {k for k in kinds() if f"| `{k}` | right | right |" in page} == right, "print the table into the page"


def test_the_page_has_no_wrong_row() -> None:
    page = Path(PAGE).read_text(encoding="utf-8")
    assert page.count("\n| `") > 150
    assert "WRONG" not in page and "STOPS" not in page
