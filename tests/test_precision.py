"""The precision that `auto` stands for."""

import logging

import numpy as np
import pytest
import torch
from quanta import devices
from quanta.gradients import token_gradients
from quanta.losses import forward

BARE = "processor\t: 0\nflags\t\t: fpu sse2 avx2 avx512f avx512_vnni\n"


@pytest.fixture
def processor(tmp_path, monkeypatch):
    """Pretends a processor with these instructions and no limit on them."""
    for name in devices.LIMITS:
        monkeypatch.delenv(name, raising=False)

    def pretend(*instructions):
        path = tmp_path / "cpuinfo"
        path.write_text(BARE.replace("avx2", " ".join(["avx2", *instructions])), encoding="utf-8")
        monkeypatch.setattr(devices, "PROCESSOR", path)

    return pretend


def test_bfloat16_only_where_the_processor_multiplies_it(processor, caplog):
    caplog.set_level(logging.INFO, logger="quanta")
    for instructions, expected in (
        ([], "float32"),
        (["avx512_bf16"], "bfloat16"),
        (["avx512_bf16", "amx_tile", "amx_bf16"], "bfloat16"),
        (["amx_int8"], "float32"),
    ):
        caplog.clear()
        processor(*instructions)
        assert devices.settle_precision("auto", "cpu") == expected
        [line] = caplog.messages
        assert line.startswith(f"matrix products are in {expected}: the processor has ")


@pytest.mark.parametrize(
    ("name", "older", "newer"),
    [
        ("ONEDNN_MAX_CPU_ISA", "AVX2", "AVX512_CORE_AMX"),
        ("ONEDNN_MAX_CPU_ISA", "avx512_core", "avx512_core_bf16"),
        ("DNNL_MAX_CPU_ISA", "SSE41", "ALL"),
        ("MKL_ENABLE_INSTRUCTIONS", "AVX2", "AVX512_E4"),
        ("ATEN_CPU_CAPABILITY", "avx2", "avx512"),
        ("ATEN_CPU_CAPABILITY", "default", "AVX512"),
    ],
)
def test_a_library_that_is_kept_from_the_instructions_has_none(processor, monkeypatch, name, older, newer):
    processor("avx512_bf16")
    monkeypatch.setenv(name, older)
    assert devices.resolve_precision("auto", "cpu") == ("float32", f"{name} is {older}")
    monkeypatch.setenv(name, newer)
    assert devices.resolve_precision("auto", "cpu")[0] == "bfloat16"


def test_a_system_that_lists_no_instructions_computes_in_float32(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "PROCESSOR", tmp_path / "none")
    assert devices.settle_precision("auto", "cpu") == "float32"


@pytest.mark.parametrize("can", [True, False])
def test_a_gpu_is_asked_whether_it_computes_in_bfloat16_itself(monkeypatch, can):
    def supported(including_emulation=True):
        return can or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert devices.settle_precision("auto", "cuda") == ("bfloat16" if can else "float32")


def test_a_given_precision_is_taken_without_a_word(processor, caplog):
    caplog.set_level(logging.INFO, logger="quanta")
    processor()
    for given in ("float32", "tf32", "bfloat16"):
        assert devices.settle_precision(given, "cpu") == given
    assert not caplog.messages


def test_losses_and_gradients_take_what_pays_and_the_record_names_it(processor, model, ragged_tokens):
    everything = range(ragged_tokens.n_documents)
    for instructions, expected in (((), "float32"), (("amx_bf16",), "bfloat16")):
        processor(*instructions)
        found, wanted = (
            forward.token_losses(model, ragged_tokens, everything, batch_tokens=256, precision=name)
            for name in ("auto", expected)
        )
        assert np.array_equal(found, wanted, equal_nan=True)
        found, wanted = (
            token_gradients.token_gradients(model, ragged_tokens, [2, 6], [5, 9], features=257, precision=name)[0]
            for name in ("auto", expected)
        )
        assert np.array_equal(found, wanted)
        said = [token_gradients.record(model, features=257, precision=name)["same"] for name in ("auto", expected)]
        assert said[0] == said[1] and said[0]["precision"] == expected
