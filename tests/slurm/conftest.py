"""One cluster for all tests of the profile."""

import cluster as slurm
import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--whole", action="store_true", help="run the whole smoke pipeline through Slurm, not a part of it"
    )


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    reason = slurm.lacking()
    if reason:
        pytest.skip(reason)
    with slurm.running(tmp_path_factory.mktemp("slurm")) as one:
        yield one
