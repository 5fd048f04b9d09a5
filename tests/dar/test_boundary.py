"""Boundary enhancement, against loops that follow its docstrings, and its gradient."""

import math

import numpy as np
import pytest
import torch

from goodsam.dar.boundary import SHARPNESS, Outlines, boundary_loss, outlines_of
from goodsam.masks import Masks, masks_from_arrays

SIZE = (14, 18)


def rectangles(seed: int = 0, number: int = 6) -> Masks:
    random = np.random.default_rng(seed)
    arrays = np.zeros((number, *SIZE), dtype=bool)
    for mask in arrays:
        top, left = random.integers(0, SIZE[0] - 2), random.integers(0, SIZE[1] - 2)
        mask[top : top + random.integers(2, SIZE[0]), left : left + random.integers(2, SIZE[1])] = True
    arrays[-1] = False
    arrays[-1, :, 7] = True  # a pole, of which erosion leaves nothing
    return masks_from_arrays(arrays)


def slow_outlines(masks: Masks, width: int) -> tuple[dict[tuple[int, int], int], list[set[tuple[int, int]]]]:
    """Which mask each pixel of a band belongs to, and the pixels of each core."""
    places = [(r, c) for r in range(SIZE[0]) for c in range(SIZE[1])]
    inside = [{(r, c) for r, c in places if array[r, c]} for array in masks.to_arrays()]
    cores = []
    for mask in inside:
        core = {
            (r, c)
            for r, c in mask
            if all(
                (y, x) in mask or not (0 <= y < SIZE[0] and 0 <= x < SIZE[1])
                for y in range(r - width, r + width + 1)
                for x in range(c - width, c + width + 1)
            )
        }
        cores.append(core)
    owner = {}
    for place in places:
        holding = [n for n in range(len(inside)) if place in inside[n]]
        if holding:
            smallest = max(holding, key=lambda n: (-len(inside[n]), n))
            if place not in cores[smallest]:
                owner[place] = smallest
    return owner, [core or mask for core, mask in zip(cores, inside, strict=True)]


def cells_of(found: Outlines, number: int) -> set[tuple[int, int]]:
    mask, pixel = found.core
    return {divmod(int(place), found.band.shape[1]) for place in pixel[mask == number]}


def cores_of(found: Outlines) -> list[set[tuple[int, int]]]:
    return [cells_of(found, number) for number in range(found.number)]


def slow_loss(p: np.ndarray, masks: Masks, purity: float, width: int = 2) -> float:
    owner, cores = slow_outlines(masks, width)
    values = []
    for (r, c), number in owner.items():
        core = [p[:, y, x] for y, x in cores[number]]
        mean = sum(core) / len(core)
        if sum(q.argmax() == mean.argmax() for q in core) / len(core) < purity:
            continue
        sharp = mean ** (1 / SHARPNESS)
        target = sharp / sharp.sum()
        values.append(sum(t * math.log(t / q) for t, q in zip(target, p[:, r, c], strict=True)))
    return sum(values) / len(values) if values else 0.0


def probabilities(seed: int = 3, scale: float = 0.3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(3, *SIZE, generator=generator, dtype=torch.float64)
    logits[1, :, :9] += 1
    logits[2, :, 9:] += 1
    return logits.softmax(0)


def test_bands_and_cores_are_those_of_the_loops() -> None:
    for seed in range(5):
        masks = rectangles(seed)
        found = outlines_of(masks, SIZE)
        owner, cores = slow_outlines(masks, 2)
        assert {(int(r), int(c)): int(found.band[r, c]) for r, c in (found.band >= 0).nonzero()} == owner
        assert cores_of(found) == cores


@pytest.mark.parametrize("purity", [0.0, 0.8, 0.95])
def test_loss_is_that_of_the_loops(purity: float) -> None:
    for seed in range(4):
        p, masks = probabilities(seed), rectangles(seed)
        found = boundary_loss(p, outlines_of(masks, SIZE), purity)
        assert float(found) == pytest.approx(slow_loss(p.numpy(), masks, purity), rel=1e-9)


def test_gradient_is_that_of_finite_differences_with_targets_held() -> None:
    masks, p = rectangles(1), probabilities(1)
    outlines = outlines_of(masks, SIZE)
    logits = p.log().requires_grad_()
    boundary_loss(logits.softmax(0), outlines, 0.0).backward()
    owner, cores = slow_outlines(masks, 2)
    targets = {}
    for number, core in enumerate(cores):
        mean = sum(p[:, y, x] for y, x in core) / len(core)
        targets[number] = mean ** (1 / SHARPNESS) / (mean ** (1 / SHARPNESS)).sum()

    def held(values: torch.Tensor) -> float:
        log = values.log_softmax(0)
        each = [(targets[n] * (targets[n].log() - log[:, r, c])).sum() for (r, c), n in owner.items()]
        return float(sum(each) / len(each))

    assert logits.grad is not None
    for r, c in [(0, 7), (5, 8), (13, 17), *list(owner)[::9]]:
        for k in range(3):
            step = torch.zeros_like(logits)
            step[k, r, c] = 1e-5
            difference = (held(logits.detach() + step) - held(logits.detach() - step)) / 2e-5
            assert float(logits.grad[k, r, c]) == pytest.approx(difference, abs=1e-8)


def test_nothing_to_pull_costs_nothing() -> None:
    none = masks_from_arrays(np.zeros((0, *SIZE), dtype=bool))
    assert float(boundary_loss(probabilities(), outlines_of(none, SIZE))) == 0
    assert float(boundary_loss(probabilities(), outlines_of(rectangles(), SIZE), purity=1.01)) == 0


def test_smaller_grid_keeps_what_covers_half_a_cell() -> None:
    array = np.zeros((1, *SIZE), dtype=bool)
    array[0, :8, :7] = True
    found = outlines_of(masks_from_arrays(array), (7, 9), width=1)
    assert max(cells_of(found, 0)) == (2, 2)
    assert (found.band >= 0).nonzero().max(0).values.tolist() == [3, 3]
