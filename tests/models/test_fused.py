"""The hand-written loss against the library's: same function, same gradients."""

import pytest
import torch
from quanta.errors import QuantaError
from quanta.models import neox_loss, training
from torch.nn.functional import cross_entropy


def model_of(width: int, layers: int, heads: int, context: int):
    model = training.new_model(
        training.LadderSize("tiny", width, layers, heads), vocabulary=300, context=context, seed=width + heads
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # gains, shifts and biases away from 1 and 0, or nothing would tell them apart
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def reference(model, ids: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    return cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def with_gradients(model, loss: torch.Tensor) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss.backward()
    return loss.item(), {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def distance(found: dict[str, torch.Tensor], true: dict[str, torch.Tensor]) -> float:
    assert found.keys() == true.keys()
    return max(((found[name] - true[name]).norm() / true[name].norm()).item() for name in true)


@pytest.mark.parametrize(
    ("width", "heads", "batch", "context"),
    [
        (16, 2, 3, 24),  # shorter than a block
        (24, 3, 2, neox_loss.BLOCK + 1),  # exactly one block of predictions
        (32, 2, 1, 2 * neox_loss.BLOCK + 40),  # three blocks, the last one short
        (32, 4, 5, 256),  # more predictions than a chunk of the cross-entropy
    ],
)
def test_it_is_the_librarys_function(width, heads, batch, context):
    model = model_of(width, 2, heads, context)
    ids = torch.randint(0, 300, (batch, context), generator=torch.Generator().manual_seed(1))
    loss, gradients = with_gradients(model, reference(model, ids))
    found, own = with_gradients(model, neox_loss.loss(model, ids, torch.float32))
    assert found == pytest.approx(loss, rel=1e-6)
    assert distance(own, gradients) < 2e-5


def test_bfloat16_errs_about_as_much_as_autocast():
    model = model_of(32, 2, 2, 200)
    ids = torch.randint(0, 300, (4, 200), generator=torch.Generator().manual_seed(2))
    _, true = with_gradients(model, reference(model, ids))
    with torch.autocast("cpu", torch.bfloat16):
        loss = reference(model, ids)
    _, autocast = with_gradients(model, loss)
    found, own = with_gradients(model, neox_loss.loss(model, ids, torch.bfloat16))
    assert found == pytest.approx(loss.item(), rel=2e-3)
    assert distance(own, true) < 1.5 * distance(autocast, true)


def test_no_prediction_sees_what_it_predicts():
    model = model_of(16, 2, 2, 40)
    ids = torch.randint(0, 300, (1, 40), generator=torch.Generator().manual_seed(3))
    other = ids.clone()
    other[0, -1] = (other[0, -1] + 1) % 300  # the last token is only predicted
    alone = [39 * neox_loss.loss(model, x, torch.float32).item() - 38 * neox_loss.loss(model, x[:, :-1], torch.float32).item()
             for x in (ids, other)]  # fmt: skip
    logits = model(input_ids=ids[:, :-1]).logits[0, -1]
    for x, loss in zip((ids, other), alone, strict=True):
        assert loss == pytest.approx(cross_entropy(logits, x[0, -1]).item(), abs=2e-4)


def test_another_kind_of_model_is_refused():
    model = model_of(16, 1, 2, 16)
    model.config.use_parallel_residual = False
    with pytest.raises(QuantaError, match="use_parallel_residual"):
        neox_loss.loss(model, torch.zeros(1, 16, dtype=torch.long), torch.float32)
