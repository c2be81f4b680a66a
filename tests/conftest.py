import os
import shutil

# as in the pipeline's jobs: results must not depend on it, and the small tensors of tests are faster so
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
from hypothesis import settings
from support import random_tokens

VOCABULARY = 97

# a slow machine is no defect, and the same examples every time make a failure one that can be repeated
settings.register_profile("quanta", deadline=None, derandomize=True, database=None)
settings.load_profile("quanta")


@pytest.fixture(scope="session")
def model():
    """A GPT-NeoX of two layers whose losses spread widely: fresh weights, enlarged."""
    import torch
    from quanta.models import training

    net = training.new_model(training.LadderSize("small", 16, 2, 2), vocabulary=VOCABULARY, context=64, seed=3)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def model_folder(model, tmp_path_factory):
    """The same model as a folder in Hugging Face format."""
    folder = tmp_path_factory.mktemp("model") / "small/step0"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def ragged_tokens():
    """Documents of all kinds of lengths: none, one, two, the full context, in no order."""
    lengths = [5, 0, 64, 1, 0, 2, 33, 1, 17, 64, 3, 0, 40, 8, 1]
    return random_tokens(lengths, VOCABULARY, seed=1)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder with the smoke run, made with four cores by the first worker that wants it; not to be changed."""
    from filelock import FileLock
    from repository import copy_of_the_repository, smoke

    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with FileLock(shared / "finished.lock"):
        folder = shared / "finished/quanta"
        if not (folder / "output.txt").exists():
            shutil.rmtree(folder, ignore_errors=True)
            copy_of_the_repository(folder)
            (folder / "output.txt").write_text(smoke(folder, cores=4))
    return folder
