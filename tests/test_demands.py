"""What jobs ask for grows with what they do, and covers what was measured."""

import pytest
from quanta import demands
from quanta.costs import SHAPES

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
