"""Train the nets of a made language that are shipped here, three per language: about a minute and a half per net on one core.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow python resources/known_skills/make.py
    OMP_NUM_THREADS=1 PYTHONPATH=workflow python resources/known_skills/make.py --languages 1 --to /tmp

writes language-0.npz and language-1.npz next to this file, or to another directory, in float16, with earlier steps of the first
net. It prints how far the weights are from those that are there already.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from quanta.known_skills import language, language_set

HERE = Path(__file__).parent
LANGUAGES = (0, 1)


def difference(path, other):
    """Whether two files are the same bytes, and the largest difference of a weight."""
    if path.read_bytes() == other.read_bytes():
        return "the same bytes"
    with np.load(path) as one, np.load(other) as two:
        if set(one.files) != set(two.files):
            return "other arrays"
        away = max(float(np.abs(one[name].astype(float) - two[name].astype(float)).max()) for name in one.files)
        equal = sum(bool((one[name] == two[name]).all()) for name in one.files)
    return f"{equal} of {len(one.files)} arrays equal, weights differ by at most {away:.2g}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--languages", type=int, nargs="+", default=LANGUAGES, choices=LANGUAGES)
    parser.add_argument("--to", type=Path, default=HERE)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for seed in asked.languages:
        made, shipped = asked.to / f"language-{seed}.made.npz", HERE / f"language-{seed}.npz"
        language_set.write(made, language_set.train_several(language.Language(seed)))
        if shipped.is_file():
            print(f"language {seed}, compared with what is shipped: {difference(shipped, made)}")
        made.replace(asked.to / shipped.name)
