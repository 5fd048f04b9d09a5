"""The consistency loss, against loops that follow its docstring, and its gradient."""

import math

import pytest
import torch

from goodsam.dar.consistency import consistency_loss, merge_seen
from goodsam.panorama import geometry_of
from goodsam.views import Footprint, Merger, footprint, lay_views, sample, size_of


def random_views(pixels: int = 40, number: int = 3, classes: int = 4) -> tuple[list[torch.Tensor], list[Footprint]]:
    generator = torch.Generator().manual_seed(1)
    seen, feet = [], []
    for k in range(number):
        index = torch.randperm(pixels, generator=generator)[: 25 + k]
        weight = torch.rand(len(index), generator=generator, dtype=torch.float64) + 0.05
        seen.append(torch.randn(len(index), classes, generator=generator, dtype=torch.float64).softmax(1))
        feet.append(Footprint(index, index, torch.zeros(len(index), 2), weight))
    return seen, feet


def slow(seen: list[torch.Tensor], feet: list[Footprint], pixels: int) -> float:
    total, places = 0.0, 0
    for x in range(pixels):
        views = [
            (float(foot.weight[i]), p[i].tolist())
            for p, foot in zip(seen, feet, strict=True)
            for i in range(len(foot.index))
            if int(foot.index[i]) == x
        ]
        if len(views) < 2:
            continue
        places += 1
        weight = sum(r for r, _ in views)
        merged = [sum(r / weight * p[c] for r, p in views) for c in range(len(views[0][1]))]
        for r, p in views:
            divergence = sum(m * math.log(m / q) for m, q in zip(merged, p, strict=True))
            total += (1 - r / weight) * divergence
    return total / places


def test_loss_is_that_of_the_loops() -> None:
    seen, feet = random_views()
    assert float(consistency_loss(seen, feet, 40)) == pytest.approx(slow(seen, feet, 40), rel=1e-9)


def test_gradient_is_that_of_finite_differences_with_the_merged_prediction_held() -> None:
    seen, feet = random_views(12, 2, 3)
    merged, total = merge_seen(seen, feet, 12)
    scores = [p.log().requires_grad_() for p in seen]
    consistency_loss([s.softmax(1) for s in scores], feet, 12).backward()
    twice = sum(torch.zeros(12).index_add(0, f.index, torch.ones(len(f.index))) for f in feet) >= 2

    def held(k: int, values: torch.Tensor) -> float:
        """The part of view k with P held, as stopgrad says."""
        index = feet[k].index
        divergence = (merged[index] * (merged[index].log() - values.log_softmax(1))).sum(1)
        share = feet[k].weight / total[index]
        return float(((1 - share) * divergence * twice[index]).sum() / twice.sum())

    for k, values in enumerate(scores):
        for row in range(0, len(values), 3):
            for c in range(values.shape[1]):
                step = torch.zeros_like(values)
                step[row, c] = 1e-5
                difference = (held(k, values.detach() + step) - held(k, values.detach() - step)) / 2e-5
                assert values.grad is not None
                assert float(values.grad[row, c]) == pytest.approx(difference, abs=1e-9)


def test_views_that_agree_cost_nothing_and_lone_views_are_left_alone() -> None:
    seen, feet = random_views(40, 2)
    common = torch.full((40, 4), 0.25, dtype=torch.float64)
    assert float(consistency_loss([common[f.index] for f in feet], feet, 40)) == pytest.approx(0, abs=1e-12)
    assert float(consistency_loss(seen[:1], feet[:1], 40)) == 0


def test_merged_prediction_is_that_of_the_merger() -> None:
    geometry = geometry_of((24, 128))
    views = lay_views(geometry, "crops")
    generator = torch.Generator().manual_seed(2)
    merger, seen, feet = Merger(geometry, 3), [], []
    for view in views:
        p = torch.randn(3, *size_of(view, geometry), generator=generator).softmax(0)
        merger.add(view, p)
        feet.append(footprint(view, geometry, (24, 128)))
        seen.append(sample(p, feet[-1]))
    merged, _ = merge_seen(seen, feet, 24 * 128)
    assert torch.allclose(merged.T.reshape(3, 24, 128), merger.result(), atol=1e-5)
