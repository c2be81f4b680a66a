"""One cluster for all tests of the profile."""

import signal

import cluster as slurm
import pytest

# started in the background of a script, a shell has this ignored, and what is started from here would ignore it too
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption(
        "--whole", action="store_true", help="run the whole smoke pipeline through Slurm, not a part of it"
    )
    parser.addoption("--cgroups", action="store_true", help="let the kernel bound memory and cards (root, cgroups v1)")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory, request):
    reason = slurm.lacking()
    if reason:
        pytest.skip(reason)
    with slurm.running(tmp_path_factory.mktemp("slurm"), cgroups=request.config.getoption("--cgroups")) as one:
        yield one
