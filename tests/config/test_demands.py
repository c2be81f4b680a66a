"""What jobs ask for grows with what they do, and covers what was measured."""

import pytest
from quanta.config import demands
from quanta.losses import batching
from quanta.models.neox_shape import SHAPES

LADDER = {  # benchmarks of `snakemake --configfile config/train.yaml`: seconds and MB of 4.2 million tokens, vocabulary 1024
    "neox-7k": (16, 2, 72, 506),
    "neox-150k": (64, 3, 198, 541),
    "neox-450k": (96, 4, 265, 570),
    "neox-1m": (128, 5, 420, 602),
}


@pytest.mark.parametrize("name", LADDER)
def test_training_asks_for_more_than_it_took(name):
    width, layers, seconds, megabytes = LADDER[name]
    size = demands.trained_size(width, layers, 1024)
    assert demands.training_minutes(size, 2048 * 8 * 256, gpu=False) > seconds / 60
    assert demands.training_mb(size, 8 * 256) > megabytes


@pytest.mark.parametrize("name", [n for n in SHAPES if n not in ("14m", "31m")])
def test_a_published_size_is_no_smaller_than_the_model(name):
    shape, size = SHAPES[name], demands.published_size(SHAPES[name].non_embedding)
    assert size.width >= 0.99 * shape.width and size.all_parameters >= 0.99 * shape.parameters
    assert size.width * size.layers**0.5 >= 0.99 * shape.width


def test_larger_models_and_larger_parts_ask_for_more():
    small, large = (demands.published_size(n) for n in (19_000_000, 6_400_000_000))
    for estimate in (
        lambda size, n: demands.training_mb(size, n),
        lambda size, n: demands.training_minutes(size, n, gpu=True),
        lambda size, n: demands.losses_mb(size, n),
        lambda size, n: demands.losses_minutes(size, n, gpu=True),
        lambda size, n: demands.gradients_mb(size, 2048, n, 1025),
        lambda size, n: demands.gradients_minutes(size, n, 1024, gpu=True),
    ):
        assert estimate(small, 1000) < estimate(small, 10**6) < estimate(large, 10**6)


def test_a_gpu_asks_for_less_time():
    size = demands.published_size(19_000_000)
    assert demands.losses_minutes(size, 10**7, gpu=True) < demands.losses_minutes(size, 10**7, gpu=False)


def test_parts_follow_the_work_and_nothing_else():
    assert demands.parts(None) == demands.parts(0.1) == demands.parts(40) == 1
    assert demands.parts(60) == 2
    assert demands.parts(1e9) == 16


def test_no_part_is_without_documents():
    """300 documents are three blocks: a fourth job would load the model for nothing."""
    assert demands.BLOCK == batching.BLOCK
    assert demands.parts(1e9, 300) == 3 and demands.parts(1e9, 1) == 1 and demands.parts(60, 10_000) == 2
    for documents in (1, 128, 129, 300, 5000):
        jobs = demands.parts(1e9, documents)
        assert all(len(batching.shard(documents, index, jobs)) for index in range(jobs))


def test_small_items_share_jobs_of_half_a_minute_within_their_group():
    steps, sizes = [f"s{i}" for i in range(14)], ["a", "b", "unknown", "large"]
    seconds = {"a": 2.0, "b": 3.0, "unknown": None, "large": 1000.0}
    jobs = demands.together([steps, sizes], lambda item: seconds.get(item, 10.0), 8)
    assert sorted(item for job in jobs[:-1] for item in job) == sorted(steps)
    assert all(2 <= len(job) <= 4 for job in jobs[:-1])
    assert jobs[-1] == ["a", "b"], "what is large or unknown has a job of its own, and groups do not mix"


def test_jobs_are_packed_tighter_where_there_would_be_too_many():
    jobs = demands.together([list(range(300))], lambda item: 10.0, 8)
    assert len(jobs) <= 8 and sorted(item for job in jobs for item in job) == list(range(300))
    lone = demands.together([[group, -group] for group in range(1, 11)], lambda item: 1.0, 4)
    assert len(lone) == 4 and all(len(job) == 2 for job in lone)
    assert demands.together([["one"], []], lambda item: 1.0, 4) == []
