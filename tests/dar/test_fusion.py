"""Fusion, against a loop over pixels that follows its docstring."""

import math

import numpy as np
import pytest
import torch
from looking import random_masks
from scipy.sparse import csr_array

from goodsam.config import FusionOptions
from goodsam.dar.fusion import fuse, mean_probabilities
from goodsam.dar.merging import MergedMasks, merge_masks
from goodsam.panorama import geometry_of
from goodsam.views import lay_views, size_of

OPTIONS = FusionOptions()


def masks_of(arrays: list[list[float]], scores: list[float] | None = None) -> MergedMasks:
    """Masks of a panorama of one row, by their trust at each pixel."""
    member = csr_array(np.array(arrays, dtype=np.float32))
    areas = np.diff(member.indptr).astype(np.int64)
    return MergedMasks(member, areas, np.array(scores or [1.0] * len(arrays)), ((),) * len(arrays))


def slow_fuse(merged: torch.Tensor, masks: MergedMasks, weight: float) -> np.ndarray:
    p = merged.double().numpy().reshape(len(merged), -1)
    member = masks.member.toarray()
    result = p.copy()
    for x in range(p.shape[1]):
        holding = [m for m in range(len(member)) if member[m, x] > 0]
        if not holding:
            continue
        logs, total, largest = 0.0, 0.0, 0.0
        for m in holding:
            inside = [p[:, y] for y in range(p.shape[1]) if member[m, y] > 0]
            mean = sum(inside) / len(inside)
            w = masks.scores[m] * member[m, x]
            logs, total, largest = logs + w * np.log(np.maximum(mean, 1e-4)), total + w, max(largest, w)
        share = weight * largest / (1 + weight * largest)
        pooled = np.exp((1 - share) * np.log(np.maximum(p[:, x], 1e-4)) + share * logs / total)
        result[:, x] = pooled / pooled.sum()
    return result.reshape(merged.shape)


def probabilities(classes: int, size: tuple[int, int], seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(classes, *size, generator=generator)).softmax(0)


@pytest.mark.parametrize(("seed", "weight"), [(0, 2.0), (1, 0.5), (2, 8.0)])
def test_masks_of_views_fuse_as_a_loop_over_pixels(seed: int, weight: float) -> None:
    geometry, random = geometry_of((9, 48)), np.random.default_rng(seed)
    views = lay_views(geometry)
    seen = [(view, random_masks(size_of(view, geometry), k % 3, random)) for k, view in enumerate(views)]
    masks, merged = merge_masks(seen, geometry), probabilities(5, (9, 48), seed)
    found = fuse(merged, masks, FusionOptions(mask_weight=weight))
    np.testing.assert_allclose(found, slow_fuse(merged, masks, weight), atol=1e-5)
    assert float((found - merged).abs().max()) > 0.1
    torch.testing.assert_close(found.sum(0), torch.ones(9, 48))


def test_mean_probabilities_are_plain_means_whatever_the_trust() -> None:
    merged = probabilities(3, (1, 6), 0)
    found = mean_probabilities(merged, masks_of([[0.1, 1, 0, 0, 0, 0.5]]))
    np.testing.assert_allclose(found[0], merged[:, 0, [0, 1, 5]].mean(1), atol=1e-6)


def test_an_example_by_hand() -> None:
    """P = (0.8, 0.2) and (0.4, 0.6) in one mask: q = (0.6, 0.4); weight 2: E ~ cube root of P q^2."""
    merged = torch.tensor([[0.8, 0.4], [0.2, 0.6]])[:, None]
    found = fuse(merged, masks_of([[1, 1]]), OPTIONS)[:, 0]
    for x, p in enumerate((0.8, 0.4)):
        a, b = (p * 0.36) ** (1 / 3), ((1 - p) * 0.16) ** (1 / 3)
        assert float(found[0, x]) == pytest.approx(a / (a + b), abs=1e-6)
    assert found.argmax(0).tolist() == [0, 0]  # the mask takes the second pixel along


def test_a_pole_before_a_house_survives_and_a_stray_pixel_does_not() -> None:
    """A tenth of the house's mask is a pole the assistant is sure of; in another mask one pixel of forty is astray."""
    house = [[0.96, 0.04]] * 36 + [[0.03, 0.97]] * 4
    other = [[0.96, 0.04]] * 39 + [[0.3, 0.7]]
    merged = torch.tensor(house + other).T[:, None]
    found = fuse(merged, masks_of([[1] * 40 + [0] * 40, [0] * 40 + [1] * 40]), FusionOptions(mask_weight=0.5))
    assert found.argmax(0)[0].tolist() == [0] * 36 + [1] * 4 + [0] * 40


def test_a_mask_of_two_halves_changes_no_class() -> None:
    merged = torch.tensor([[0.9, 0.1]] * 10 + [[0.1, 0.9]] * 10).T[:, None]
    found = fuse(merged, masks_of([[1] * 20]), FusionOptions(mask_weight=50))
    assert torch.equal(found.argmax(0), merged.argmax(0))


def test_the_order_of_masks_does_not_matter() -> None:
    merged = probabilities(4, (1, 30), 1)
    random = np.random.default_rng(0)
    arrays, scores = (random.random((5, 30)) * (random.random((5, 30)) < 0.5)).tolist(), random.random(5).tolist()
    found = fuse(merged, masks_of(arrays, scores), OPTIONS)
    torch.testing.assert_close(fuse(merged, masks_of(arrays[::-1], scores[::-1]), OPTIONS), found)


def test_pixels_without_a_mask_keep_p_and_p_itself_is_left_alone() -> None:
    merged = torch.tensor([[1.0, 0.7, 0.3], [0.0, 0.3, 0.7]])[:, None]  # 0 is below the floor
    before = merged.clone()
    found = fuse(merged, masks_of([[0, 1, 1]]), OPTIONS)
    assert torch.equal(merged, before)
    assert torch.equal(found[:, :, 0], merged[:, :, 0])
    assert not torch.equal(found[:, :, 1:], merged[:, :, 1:])
    nothing = MergedMasks(csr_array((0, 3), dtype=np.float32), np.zeros(0, np.int64), np.zeros(0), ())
    assert torch.equal(fuse(merged, nothing, OPTIONS), merged)
    assert torch.equal(fuse(merged, masks_of([[0, 1, 1]]), FusionOptions(mask_weight=0.0)), merged)
    assert torch.equal(fuse(merged, masks_of([[0, 1, 1]], [0.0]), OPTIONS), merged)


def test_score_and_trust_weaken_a_mask() -> None:
    merged = torch.tensor([[0.9, 0.9, 0.9, 0.2], [0.1, 0.1, 0.1, 0.8]])[:, None]
    moved = []
    for score, trust in ((1.0, 1.0), (0.5, 1.0), (1.0, 0.25), (0.5, 0.25)):
        found = fuse(merged, masks_of([[1, 1, 1, trust]], [score]), OPTIONS)
        moved.append(float(found[0, 0, 3]))
        share = 2 * score * trust / (1 + 2 * score * trust)
        q = (0.9 * 3 + 0.2) / 4
        odds = (1 - share) * math.log(0.2 / 0.8) + share * math.log(q / (1 - q))
        assert moved[-1] == pytest.approx(1 / (1 + math.exp(-odds)), abs=1e-6)
    assert moved == sorted(moved, reverse=True)
