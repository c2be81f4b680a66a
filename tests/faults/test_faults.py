"""A few faults of the harness: the whole of it runs by hand, `python tests/faults/harness.py`."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import MENDED, SAME, UNREAD, Harness

WHOLE = "QUANTA_FAULTS" in os.environ  # damaged files, too: some minutes more
pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Three kills of one run up to the gradients, and two intermediate files, each cut and with a bit flipped."""
    # a target that is missing is made again; what only led to it is not, as always with Snakemake
    targets = [
        f"results/smoke/{name}"
        for name in ("qdg/features.npy", "corpus/texts.parquet", "corpus/tokenizer/tokenizer.json")
    ]
    harness = Harness(tmp_path_factory.mktemp("faults"), 1, tuple(targets))
    return list(harness.run(kills=3, files=2 if WHOLE else 0, others=False, until=float("inf")))


def test_a_run_that_was_killed_at_random_moments_ends_with_the_same_bytes(rows):
    kills = [row for row in rows if row.kind == "kill"]
    assert len(kills) == 3 and {row.then for row in kills} == {SAME}


@pytest.mark.skipif(not WHOLE, reason="set QUANTA_FAULTS=1 to damage files, too")
def test_a_damaged_file_is_named_or_made_anew_or_not_read(rows):
    files = [row for row in rows if row.kind.endswith("file")]
    assert len(files) == 4 and {row.then for row in files} <= {SAME, MENDED, UNREAD}, files
