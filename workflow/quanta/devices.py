"""What the machine offers a job: the precision that pays, room on a card, memory that stays with the process."""

import ctypes
import logging
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

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
SHARE = 0.8  # of the free memory that a batch may fill; the allocator needs some of it


def keep_freed_memory() -> None:
    """Ask glibc not to give large blocks back to the system at each free.

    Nothing happens with another C library. The process keeps its largest footprint.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, the largest that glibc takes


def settle_precision(wanted: str, device: str) -> str:
    """The precision that is wanted; for `auto` the one that pays on `device` ("cpu" or "cuda"), which is logged with the reason."""
    chosen, why = resolve_precision(wanted, device)
    if why:
        log.info("matrix products are in %s: %s", chosen, why)
    return chosen


def resolve_precision(wanted: str, device: str) -> tuple[str, str]:
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


def free_bytes(device: "torch.device") -> int:
    """Memory that is free on a device, in bytes."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def fitting(batch_tokens: int, bytes_a_token: float, free: int, fixed: float = 0) -> int:
    """Tokens a batch that the free memory of a card holds: `batch_tokens`, halved as often as needed, at least 1.

    Args:
        batch_tokens: what is wanted.
        bytes_a_token: estimate of what a token of a batch takes.
        free: bytes that are free on the card.
        fixed: bytes that are needed whatever the batch.
    """
    room, fits = SHARE * free - fixed, batch_tokens
    while fits > 1 and fits * bytes_a_token > room:
        fits //= 2
    if fits < batch_tokens:
        log.warning(
            "%.1f GB are free on the GPU: batches of %d tokens instead of %d (results agree to rounding)",
            free / 1e9,
            fits,
            batch_tokens,
        )
    return fits
