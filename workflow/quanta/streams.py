"""Random streams by name: one registry, so that no two purposes ever draw the same numbers.

A stream is named by a seed, a purpose and its indices (a simulation's number, a number of clusters). NumPy pads what seeds
a generator with zeros, so [7, 5] and [7, 5, 0] are one stream. Therefore each purpose has a number of its own and always the
same number of indices, and each entry is one word of 32 bits.
"""

from enum import Enum, unique
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

WORD = 2**32


@unique
class Purpose(Enum):
    """What a stream is for: (number, indices). A new purpose takes the next free number; a used number is never given again."""

    SUMMARY_HALF = (0, 0)
    TRAINING_WINDOWS = (1, 0)
    SIGN_FOLD = (2, 0)
    KMEANS = (3, 1)  # number of clusters
    CLUSTER_LAW_TEXTS = (4, 0)
    SIMULATION = (5, 1)  # its number
    SIZE_LAW_BOOTSTRAP = (6, 0)
    HALVES = (7, 0)
    THEORY_LEARNER = (8, 1)  # its number
    SAMPLE_SLOPES = (9, 0)
    NULL_MODEL = (10, 1)  # its number
    TOKEN_MAP = (11, 0)
    SLOPE_BOOTSTRAP = (12, 0)
    LINEAGE_CHANCE = (13, 0)
    RANK_CORRELATION = (14, 0)
    WITHIN_GROUPS = (15, 0)
    EQUAL_TOKENS = (16, 0)
    RECURRENCE_TEXTS = (17, 0)
    ORDER_NULL = (18, 0)
    MEAN_LOSS_BOOTSTRAP = (19, 0)
    PARITY_EXPONENT_BOOTSTRAP = (20, 0)
    PARITY_SIMULATION = (21, 1)  # its number
    TOY = (22, 2)  # thousandths of the exponent and of the noise
    AGREEMENT_PAIRS = (23, 0)
    NEIGHBOUR_LANCZOS = (24, 0)
    DISCRETIZE = (25, 0)
    RESTARTS = (26, 1)  # number of clusters
    MINI_BATCHES = (27, 1)  # number of clusters
    CALIBRATION_FOLDS = (28, 0)
    SOFT_FACTORS = (29, 0)
    PARITY_SUBSETS = (30, 0)
    PARITY_WEIGHTS = (31, 1)  # width
    PARITY_FRESH = (32, 1)  # step
    PARITY_TRAINING_SET = (33, 1)  # its size
    PARITY_ORDER = (34, 2)  # size of the training set, epoch
    PARITY_HELD_OUT = (35, 0)
    PARITY_PROBES = (36, 2)  # kind of sampling, draws
    PARITY_NOISE = (37, 0)
    SUMMARY_SPECTRUM = (38, 0)
    PROBE_TOKENS = (39, 0)
    MADE_LANGUAGE = (40, 0)
    MADE_TEXTS = (41, 1)  # number of the part
    SKILL_SAMPLES = (42, 1)  # number of the draw
    SKILL_ASSIGNMENT = (43, 1)  # number of clusters
    INTERVENTION_GROUPS = (44, 1)  # 0 for random groups, 1 for the panel of documents
    INTERVENTION_HALVES = (45, 2)  # a hash of grouping and halving, number of the group
    INTERVENTION_BOOTSTRAP = (46, 2)  # a hash of what is resampled, number of the group
    INTERVENTION_NOISE = (47, 2)  # a hash of grouping and draw, number of the group


def stream(seed: int, purpose: Purpose, *index: int) -> np.random.SeedSequence:
    """The seed sequence of a purpose at its indices.

    Raises:
        ValueError: more or fewer indices than the purpose has, or a number outside of 32 bits.
    """
    number, indices = purpose.value
    words = [int(word) for word in (seed, number, *index)]
    if len(index) != indices:
        raise ValueError(f"{purpose.name} has {indices} indices, not {len(index)}")
    if not all(0 <= word < WORD for word in words):
        raise ValueError(f"{purpose.name} of {words}: each has to be a whole number from 0 to 2³² − 1")
    return np.random.SeedSequence(words)


def generator(seed: int, purpose: Purpose, *index: int) -> np.random.Generator:
    """NumPy's generator of a stream; see `stream`."""
    return np.random.default_rng(stream(seed, purpose, *index))


def integer(seed: int, purpose: Purpose, *index: int) -> int:
    """A seed of 31 bits from a stream, for libraries that take one as `random_state`."""
    return int(stream(seed, purpose, *index).generate_state(1)[0] % 2**31)


def torch_generator(seeds: np.random.SeedSequence, device: "torch.device | str") -> "torch.Generator":
    """A torch generator on the device, seeded by a stream."""
    import torch

    found = torch.Generator(device)
    found.manual_seed(int(seeds.generate_state(1, np.uint64)[0] >> 1))
    return found
