"""The loss on features, against numpy pixel by pixel."""

import numpy as np
import pytest
import torch

from goodsam.mka.features import FeatureLoss

STUDENT, TARGET = (2, 3, 5, 7), {3: 4, 4: 6}


def inputs(seed: int = 0) -> tuple[FeatureLoss, list[torch.Tensor], dict[int, torch.Tensor], torch.Tensor]:
    """Levels 3 and 4 of 4 x 8 and 2 x 4 cells; valid at four and eight times that."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    torch.manual_seed(seed)
    features = [drawn(2, channels, 16 >> level, 32 >> level) for level, channels in enumerate(STUDENT)]
    targets = {3: drawn(2, 4, 4, 8), 4: drawn(2, 6, 2, 4)}
    valid = torch.ones(2, 16, 32)
    valid[0, 8:, :16] = 0
    valid[1, 0:2, 5:9] = 0
    return FeatureLoss(STUDENT, TARGET), features, targets, valid


def test_levels_are_those_of_the_targets() -> None:
    loss, features, targets, valid = inputs()
    assert set(loss(features, targets, valid, True)) == {3, 4}
    assert loss.projections["3"].weight.shape == (4, 5, 1, 1)
    assert loss.projections["4"].weight.shape == (6, 7, 1, 1)
    assert list(FeatureLoss(STUDENT, {}).parameters()) == []


@pytest.mark.parametrize("wrap", [False, True])
def test_the_loss_is_one_minus_the_cosine_where_it_is_valid(wrap: bool) -> None:
    loss, features, targets, valid = inputs()
    found = loss(features, targets, valid, wrap)
    for level, target in targets.items():
        weight = loss.projections[str(level)].weight.detach().numpy()[:, :, 0, 0].astype(np.float64)
        bias = loss.projections[str(level)].bias.detach().numpy()
        height, width = target.shape[2:]
        size = 16 // height
        total = 0.0
        for b in range(2):
            for r in range(height):
                for c in range(width):
                    mine = weight @ features[level - 1][b, :, r, c].numpy() + bias
                    other = target[b, :, r, c].numpy()
                    seen = valid[b, r * size : (r + 1) * size, c * size : (c + 1) * size].numpy().mean()
                    cosine = mine @ other / np.sqrt((mine @ mine) * (other @ other))
                    total += seen * (1 - cosine)
        assert found[level].item() == pytest.approx(total / (2 * height * width), rel=1e-5)


def test_the_students_features_are_resized_to_the_stored_ones() -> None:
    loss, features, targets, valid = inputs()
    constant = [item.mean((2, 3), keepdim=True).expand_as(item) for item in features]
    larger = {level: value.repeat_interleave(3, 2).repeat_interleave(3, 3) for level, value in targets.items()}
    for wrap in (False, True):
        small = loss(constant, targets, torch.ones_like(valid), wrap)
        large = loss(constant, larger, torch.ones_like(valid), wrap)
        for level in (3, 4):
            torch.testing.assert_close(small[level], large[level])


def test_pixels_without_a_scene_do_not_matter() -> None:
    loss, features, targets, valid = inputs()
    before = loss(features, targets, valid, True)
    changed = {level: value.clone() for level, value in targets.items()}
    moved = [item.clone() for item in features]
    changed[3][0, :, 2:, :4] = 9
    changed[4][0, :, 1:, :2] = -9
    moved[2][0, :, 2:, :4] *= -3
    after = loss(moved, changed, valid, True)
    for level in (3, 4):
        torch.testing.assert_close(after[level], before[level])
    changed[3][1, 0, 3, 7] += 5  # a cell with a scene does
    assert loss(moved, changed, valid, True)[3] != after[3]


def test_nothing_valid_gives_zero_and_a_finite_gradient() -> None:
    loss, features, targets, valid = inputs()
    features = [item.requires_grad_() for item in features]
    found = loss(features, targets, torch.zeros_like(valid), True)
    sum(found.values()).backward()
    assert all(value.item() == 0 for value in found.values())
    assert (features[2].grad == 0).all()


def test_strength_of_the_targets_does_not_matter() -> None:
    loss, features, targets, valid = inputs()
    before = loss(features, targets, valid, True)
    after = loss(features, {level: 7 * value for level, value in targets.items()}, valid, True)
    for level in (3, 4):
        torch.testing.assert_close(after[level], before[level])


def test_gradients_are_the_numerical_ones() -> None:
    loss, features, targets, valid = inputs()
    loss = loss.double()

    def third(weight: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        target = targets[3][:, :, :2, :2].double()
        arguments = ([*features[:2], values], {3: target}, valid, False)
        return torch.func.functional_call(loss, {"projections.3.weight": weight}, arguments)[3]

    values = features[2][:, :, :2, :2].double().requires_grad_()
    weight = loss.projections["3"].weight.detach().clone().requires_grad_()
    # The cosine is taken in float32, so steps must be coarse and the agreement is to three digits.
    assert torch.autograd.gradcheck(third, (weight, values), eps=1e-2, atol=2e-3, rtol=2e-2, nondet_tol=1e-6)
