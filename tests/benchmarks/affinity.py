"""Time and memory of the cosine matrix from features, by blocks, memory-mapped: prints a Markdown table."""

import argparse
import logging
import os
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from quanta.affinity import cosine
from quanta.storage import files


class Anonymous:
    """Largest anonymous memory of the process, sampled: what is mapped from files does not count."""

    def __enter__(self) -> "Anonymous":
        self.most, self.first, self._on = 0, self._now(), True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._on = False
        self._thread.join()

    def _watch(self) -> None:
        while self._on:
            self.most = max(self.most, self._now() - self.first)
            time.sleep(0.005)

    @staticmethod
    def _now() -> int:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--features", type=int, default=65_537)
    options = parser.parse_args()
    logging.getLogger("quanta").setLevel(logging.WARNING)
    n, k = options.tokens, options.features
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with tempfile.TemporaryDirectory() as folder:
        with files.new_array(Path(folder) / "features.npy", (n, k), "float32") as rows:
            for begin in range(0, n, 100):
                rng = np.random.default_rng(begin)
                rows[begin : begin + 100] = rng.standard_normal((len(rows[begin : begin + 100]), k), dtype=np.float32)
        features = np.load(Path(folder) / "features.npy", mmap_mode="r")
        with files.new_array(Path(folder) / "affinity.npy", (n, n), "float32") as out, Anonymous() as memory:
            began, used = time.perf_counter(), time.process_time()
            cosine.cosine([features], out)
            wall, cpu = time.perf_counter() - began, time.process_time() - used
    print("| tokens | features | wall s | CPU s | GFLOP per CPU s | GiB beyond matrix and features |")
    print("|---|---|---|---|---|---|")
    print(f"| {n} | {k} | {wall:.1f} | {cpu:.1f} | {n * n * k / cpu / 1e9:.0f} | {memory.most / 2**30:.2f} |")


if __name__ == "__main__":
    main()
