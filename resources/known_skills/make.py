"""Train the nets of a made language that are shipped here: about two minutes per net on one core.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow python resources/known_skills/make.py 0 1

writes language-0.npz and language-1.npz next to this file, each with three nets in float16, and earlier steps of the first.
"""

import sys
from pathlib import Path

import torch
from quanta.known_skills import language, language_set

NETS = 3

if __name__ == "__main__":
    torch.set_num_threads(1)
    for seed in map(int, sys.argv[1:]):
        nets = {
            n: language_set.train(language.Language(seed), n, steps=language_set.EARLIER if n == 0 else ())
            for n in range(NETS)
        }
        language_set.write(Path(__file__).with_name(f"language-{seed}.npz"), nets)
