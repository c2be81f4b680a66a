"""Memory that is freed stays with the process: a fresh page costs more than its use."""

import ctypes
import platform


def keep_freed_memory() -> None:
    """Ask glibc not to give large blocks back to the system at each free.

    Nothing happens with another C library. The process keeps its largest footprint.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, the largest that glibc takes
