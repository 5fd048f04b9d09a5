"""The losses on logits, against loops over pixels and numerical gradients."""

import math

import pytest
import torch

from goodsam.mka.logits import assistant_loss, ensemble_loss


def inputs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits (2, 4, 3, 5), probabilities, and a weight with zeros; float64."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, 4, 3, 5, generator=generator, dtype=torch.float64)
    target = (2 * torch.randn(2, 4, 3, 5, generator=generator, dtype=torch.float64)).softmax(1)
    weight = torch.rand(2, 3, 5, generator=generator, dtype=torch.float64)
    return logits, target, weight * (weight > 0.3)


def softmax(values: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in values)
    return [math.exp(value) / total for value in values]


def places() -> list[tuple[int, int, int]]:
    return [(batch, row, column) for batch in range(2) for row in range(3) for column in range(5)]


def test_ensemble_loss_is_the_weighted_cross_entropy() -> None:
    logits, target, weight = inputs()
    total = 0.0
    for b, r, c in places():
        student = softmax(logits[b, :, r, c].tolist())
        entropy = -sum(e * math.log(p) for e, p in zip(target[b, :, r, c].tolist(), student, strict=True))
        total += float(weight[b, r, c]) * entropy
    assert float(ensemble_loss(logits, target, weight)) == pytest.approx(total / len(places()), rel=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.5])
def test_assistant_loss_is_the_softened_divergence(temperature: float) -> None:
    logits, target, weight = inputs(1)
    valid = weight > 0
    total = 0.0
    for b, r, c in places():
        if valid[b, r, c]:
            assistant = softmax([math.log(p) / temperature for p in target[b, :, r, c].tolist()])
            student = softmax([z / temperature for z in logits[b, :, r, c].tolist()])
            total += sum(p * math.log(p / q) for p, q in zip(assistant, student, strict=True))
    expected = temperature**2 * total / len(places())
    assert float(assistant_loss(logits, target, valid, temperature)) == pytest.approx(expected, rel=1e-9)


def test_losses_of_different_kinds_of_valid_agree() -> None:
    logits, target, weight = inputs()
    valid = weight > 0
    assert assistant_loss(logits, target, valid, 2.0) == assistant_loss(logits, target, valid.double(), 2.0)


def test_assistant_loss_is_zero_where_both_agree() -> None:
    logits, _, weight = inputs()
    for temperature in (1.0, 3.0):
        loss = assistant_loss(logits, logits.softmax(1), weight > 0, temperature)
        assert abs(float(loss)) < 1e-6


def test_assistant_loss_takes_probabilities_of_zero() -> None:
    logits, _, weight = inputs()
    target = torch.zeros(2, 4, 3, 5, dtype=torch.float64)
    target[:, 1] = 1
    logits.requires_grad_()
    loss = assistant_loss(logits, target, weight > 0, 1.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_gradients_are_the_numerical_ones() -> None:
    logits, target, weight = inputs()
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: ensemble_loss(z, target, weight), (logits,))
    for temperature in (1.0, 2.5):
        assert torch.autograd.gradcheck(lambda z, t=temperature: assistant_loss(z, target, weight > 0, t), (logits,))


def test_the_ensembles_gradient_is_student_less_target() -> None:
    logits, target, weight = inputs()
    logits.requires_grad_()
    ensemble_loss(logits, target, weight).backward()
    expected = weight[:, None] * (logits.detach().softmax(1) - target) / weight.numel()
    torch.testing.assert_close(logits.grad, expected)


@pytest.mark.parametrize("name", ["ensemble", "assistant"])
def test_nothing_to_learn_from_gives_zero_and_a_finite_gradient(name: str) -> None:
    logits, target, weight = inputs()
    logits.requires_grad_()
    nothing = torch.zeros_like(weight)
    loss = ensemble_loss(logits, target, nothing) if name == "ensemble" else assistant_loss(logits, target, nothing, 2)
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", ["ensemble", "assistant"])
def test_pixels_without_weight_do_not_matter(name: str) -> None:
    def loss(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return ensemble_loss(z, t, weight) if name == "ensemble" else assistant_loss(z, t, weight > 0, 2.0)

    logits, target, weight = inputs()
    other_logits, other_target, _ = inputs(7)
    seen = (weight > 0)[:, None]
    changed = loss(torch.where(seen, logits, other_logits), torch.where(seen, target, other_target))
    torch.testing.assert_close(changed, loss(logits, target))


@pytest.mark.parametrize("name", ["ensemble", "assistant"])
def test_the_loss_of_a_batch_is_the_mean_over_its_parts(name: str) -> None:
    """So that it does not matter how a batch is split among processes or accumulated."""

    def loss(z: torch.Tensor, t: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return ensemble_loss(z, t, w) if name == "ensemble" else assistant_loss(z, t, w > 0, 2.0)

    logits, target, weight = inputs()
    parts = [loss(logits[b : b + 1], target[b : b + 1], weight[b : b + 1]) for b in range(2)]
    torch.testing.assert_close(loss(logits, target, weight), torch.stack(parts).mean())
