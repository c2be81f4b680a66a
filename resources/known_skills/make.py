"""Train the nets of a made language that are shipped here: about two minutes per net on one core.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow python resources/known_skills/make.py

writes language-0.npz (three nets) and language-1.npz (one net) next to this file, in float16, with earlier steps of the first net.
"""

from pathlib import Path

import torch
from quanta.known_skills import language, language_set

NETS = {0: 3, 1: 1}  # by language

if __name__ == "__main__":
    torch.set_num_threads(1)
    for seed, number in NETS.items():
        nets = {
            n: language_set.train(language.Language(seed), n, steps=language_set.EARLIER if n == 0 else ())
            for n in range(number)
        }
        language_set.write(Path(__file__).with_name(f"language-{seed}.npz"), nets)
