"""The precision of matrix products where the configuration leaves it open (`auto`): settled in the job, on its own machine.

bfloat16 pays where the processor multiplies it by itself: training is 1.2 to 1.6 times as fast as in float32 with AVX512_BF16, more
with AMX. Elsewhere it is taken apart into float32 and put together again, at a seventh of the speed (docs/benchmarks.md).
"""

import logging
import os
import re
from pathlib import Path

log = logging.getLogger("quanta")

AUTO, FLOAT32, BFLOAT16 = "auto", "float32", "bfloat16"
INSTRUCTIONS = ("amx_bf16", "avx512_bf16")  # as Linux names them
PROCESSOR = Path("/proc/cpuinfo")
# variables that keep a library from newer instructions, and the values that leave it those of bfloat16
LIMITS = {
    "ONEDNN_MAX_CPU_ISA": r"ALL|DEFAULT|.*(BF16|FP16|AMX|AVX10).*",
    "DNNL_MAX_CPU_ISA": r"ALL|DEFAULT|.*(BF16|FP16|AMX|AVX10).*",
    "MKL_ENABLE_INSTRUCTIONS": r"AVX512.*",
    "ATEN_CPU_CAPABILITY": r"AVX512.*",
}


def settle(wanted: str, device: str) -> str:
    """The precision that is wanted; for `auto` the one that pays on `device` ("cpu" or "cuda"), which is logged with the reason."""
    chosen, why = resolve(wanted, device)
    if why:
        log.info("matrix products are in %s: %s", chosen, why)
    return chosen


def resolve(wanted: str, device: str) -> tuple[str, str]:
    """The same with the reason, and without a word in the log. The reason is empty where a precision is given."""
    if wanted != AUTO:
        return wanted, ""
    if device == "cuda":
        import torch

        if torch.cuda.is_bf16_supported(including_emulation=False):
            return BFLOAT16, "the GPU computes in bfloat16"
        return FLOAT32, "the GPU does not compute in bfloat16"
    found = [name for name in INSTRUCTIONS if name in _instructions()]
    if not found:
        return FLOAT32, f"the processor has none of {', '.join(INSTRUCTIONS)}"
    for name, pattern in LIMITS.items():
        value = os.environ.get(name)
        if value and not re.fullmatch(pattern, value.upper()):
            return FLOAT32, f"{name} is {value}"
    return BFLOAT16, f"the processor has {found[0]}"


def _instructions() -> set[str]:
    """What the processor can; nothing where the system does not list it under Linux's names."""
    try:
        lines = PROCESSOR.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())
