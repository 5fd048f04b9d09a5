"""Fusion, against loops over pixels that follow the docstrings."""

import math

import numpy as np
import pytest
import torch

from goodsam.config import FusionOptions
from goodsam.dar.fusion import NamedMasks, fuse, name_masks
from goodsam.masks import Masks, masks_from_arrays
from goodsam.panorama import Geometry, geometry_of
from goodsam.views import Crop, Tangent, View, lay_views, size_of

OPTIONS = FusionOptions()


def random_masks(size: tuple[int, int], number: int, random: np.random.Generator) -> Masks:
    """Overlapping rectangles with holes, scores partly missing."""
    arrays = np.zeros((number, *size), dtype=bool)
    for mask in arrays:
        top, left = random.integers(0, size[0]), random.integers(0, size[1])
        mask[top : top + random.integers(1, size[0] + 1), left : left + random.integers(1, size[1] + 1)] = True
        mask &= random.random(size) < 0.9
        mask[top, left] = True
    ious = [None if random.random() < 0.3 else float(random.uniform(0.5, 1)) for _ in range(number)]
    stabilities = [None if random.random() < 0.3 else float(random.uniform(0.5, 1)) for _ in range(number)]
    return masks_from_arrays(arrays, ious, stabilities)


def pure_probabilities(classes: int, size: tuple[int, int], random: np.random.Generator) -> torch.Tensor:
    """Mostly one class, so that some masks agree."""
    logits = random.normal(size=(classes, *size))
    logits[random.integers(0, classes)] += 1.5
    return torch.from_numpy(logits).softmax(0).float()


def slow_name(masks: Masks, probabilities: torch.Tensor, options: FusionOptions) -> list[tuple[np.ndarray, float]]:
    p = probabilities.double().numpy()
    named = []
    for mask, iou, stability in zip(masks.to_arrays(), masks.ious, masks.stabilities, strict=True):
        pixels = [p[:, r, c] for r in range(masks.size[0]) for c in range(masks.size[1]) if mask[r, c]]
        mean = sum(pixels) / len(pixels)
        agreement = sum(pixel.argmax() == mean.argmax() for pixel in pixels) / len(pixels)
        gate = min(1.0, max(0.0, (agreement - options.gate_start) / (options.gate_full - options.gate_start)))
        gate *= (1.0 if iou is None else iou) * (1.0 if stability is None else stability)
        named.append((mean, gate))
    return named


def seen_by(view: View, geometry: Geometry, row: int, column: int) -> tuple[float, int, int] | None:
    """Weight of a view at a panorama pixel and the row and column of the view's nearest pixel; None where unseen."""
    height, width = size_of(view, geometry)
    yaw = (column + 0.5) / geometry.width * 360 - 180
    pitch = geometry.vfov / 2 - (row + 0.5) * geometry.vfov / geometry.height
    if isinstance(view, Crop):
        distance = (yaw - view.yaw + 180) % 360 - 180
        if abs(distance) >= view.width / 2:
            return None
        inside = int((distance + view.width / 2) / view.width * width)
        return math.cos(abs(distance) / view.width * math.pi) ** 2, row, inside
    y, p, tilt = math.radians(yaw - view.yaw), math.radians(pitch), math.radians(view.pitch)
    right, up, ahead = math.sin(y) * math.cos(p), math.sin(p), math.cos(y) * math.cos(p)
    up, ahead = up * math.cos(tilt) - ahead * math.sin(tilt), up * math.sin(tilt) + ahead * math.cos(tilt)
    angle = math.degrees(math.acos(max(-1.0, min(1.0, ahead))))
    if angle >= view.fov / 2:
        return None
    half = math.tan(math.radians(view.fov / 2))
    x, y = right / ahead / half, -up / ahead / half
    return math.cos(angle / view.fov * math.pi) ** 2, int((y + 1) / 2 * height), int((x + 1) / 2 * width)


def slow_fuse(merged: torch.Tensor, named: list[NamedMasks], geometry: Geometry) -> np.ndarray:
    ensemble = merged.double().numpy().copy()
    _, height, width = merged.shape
    seen = {
        (k, r, c): seen_by(item.view, geometry, r, c)
        for k, item in enumerate(named)
        for r in range(height)
        for c in range(width)
    }
    order = [(area, k, n) for k, item in enumerate(named) for n, area in enumerate(item.masks.areas)]
    arrays = [item.masks.to_arrays() for item in named]
    for _, k, n in sorted(order, key=lambda entry: (-entry[0], entry[1], entry[2])):
        mean, gate = named[k].mean[n].double().numpy(), float(named[k].gate[n])
        for r in range(height):
            for c in range(width):
                here = seen[k, r, c]
                if here is None or not arrays[k][n][here[1], here[2]]:
                    continue
                best = max(seen[j, r, c][0] for j in range(len(named)) if seen[j, r, c] is not None)
                g = gate * here[0] / best
                ensemble[:, r, c] = (1 - g) * ensemble[:, r, c] + g * mean
    return ensemble


def scene(
    geometry: Geometry, views: tuple[View, ...], seed: int, number: int = 4
) -> tuple[torch.Tensor, list[NamedMasks]]:
    random = np.random.default_rng(seed)
    merged = pure_probabilities(5, (geometry.height, geometry.width), random)
    named = []
    for k, view in enumerate(views):
        size = size_of(view, geometry)
        masks = random_masks(size, 0 if k == 1 else number, random)  # one view without any
        named.append(name_masks(view, masks, pure_probabilities(5, size, random), OPTIONS))
    return merged, named


# --- names and gates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [OPTIONS, FusionOptions(gate_start=0.2, gate_full=0.6)])
@pytest.mark.parametrize("seed", range(3))
def test_names_and_gates_equal_a_loop_over_pixels(seed: int, options: FusionOptions) -> None:
    random = np.random.default_rng(seed)
    masks, p = random_masks((9, 7), 12, random), pure_probabilities(4, (9, 7), random)
    named = name_masks(Crop(0.0, 90.0), masks, p, options)
    assert named.mean.dtype == named.gate.dtype == torch.float32
    expected = slow_name(masks, p, options)
    assert any(0 < gate < 1 for _, gate in expected)
    np.testing.assert_allclose(named.mean, [mean for mean, _ in expected], atol=1e-6)
    np.testing.assert_allclose(named.gate, [gate for _, gate in expected], atol=1e-6)


@pytest.mark.parametrize(("agree", "gate"), [(4, 0.0), (5, 0.0), (6, 0.25), (7, 0.5), (8, 0.75), (9, 1.0), (10, 1.0)])
def test_the_gate_opens_between_its_edges(agree: int, gate: float) -> None:
    """Of ten pixels `agree` are of class 0, the others of four classes in turn, so that class 0 leads."""
    classes = [0] * agree + [1 + n % 4 for n in range(10 - agree)]
    p = torch.nn.functional.one_hot(torch.tensor(classes), 5).float().T.reshape(5, 2, 5)
    masks = masks_from_arrays(np.ones((3, 2, 5), dtype=bool), [None, 0.8, 0.8], [None, None, 0.5])
    found = name_masks(Crop(0.0, 90.0), masks, p, OPTIONS).gate
    np.testing.assert_allclose(found, [gate, 0.8 * gate, 0.4 * gate], atol=1e-6)


def test_no_masks_have_no_names() -> None:
    masks = masks_from_arrays(np.zeros((0, 2, 5), dtype=bool))
    named = name_masks(Crop(0.0, 90.0), masks, torch.full((3, 2, 5), 1 / 3), OPTIONS)
    assert named.mean.shape == (0, 3)
    assert named.gate.shape == (0,)


# --- painting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_crops_fuse_as_a_loop_over_pixels(seed: int) -> None:
    geometry = geometry_of((6, 32))
    views = lay_views(geometry, "crops")
    assert views[0] == Crop(-180.0, 90.0)  # across the seam
    merged, named = scene(geometry, views, seed)
    found = fuse(merged, named, geometry)
    np.testing.assert_allclose(found, slow_fuse(merged, named, geometry), atol=1e-5)
    assert float((found - merged).abs().max()) > 0.1
    torch.testing.assert_close(found.sum(0), torch.ones(6, 32))


@pytest.mark.parametrize("seed", range(2))
def test_tangent_views_fuse_as_a_loop_over_pixels(seed: int) -> None:
    geometry = geometry_of((9, 22))
    views = (*lay_views(geometry, "tangent")[3:21:5], Tangent(173.0, 11.0, 90.0), Tangent(0.0, 90.0, 90.0))
    merged, named = scene(geometry, views, seed, number=3)
    found = fuse(merged, named, geometry)
    np.testing.assert_allclose(found, slow_fuse(merged, named, geometry), atol=1e-5)
    assert float((found - merged).abs().max()) > 0.1


def test_a_single_pixel_mask_across_the_seam_lands_where_it_was() -> None:
    geometry = geometry_of((4, 32))
    view = Crop(180.0, 90.0)  # columns 28 to 31 and 0 to 3
    arrays = np.zeros((2, 4, 8), dtype=bool)
    arrays[0, 1, 3] = arrays[1, 2, 4] = True
    p = torch.zeros(3, 4, 8)
    p[2] = 1
    merged = torch.full((3, 4, 32), 1 / 3)
    changed = fuse(merged, [name_masks(view, masks_from_arrays(arrays), p, OPTIONS)], geometry) != merged
    assert changed.any(0).nonzero().tolist() == [[1, 31], [2, 0]]


def test_pixels_without_a_mask_keep_p_and_p_itself_is_left_alone() -> None:
    geometry = geometry_of((6, 32))
    merged, named = scene(geometry, (Crop(0.0, 90.0), Crop(90.0, 90.0)), 0)
    before = merged.clone()
    found = fuse(merged, named, geometry)
    assert torch.equal(merged, before)
    covered = torch.zeros(6, 32, dtype=torch.bool)
    covered[:, 12:20] = torch.from_numpy(named[0].masks.to_arrays().any(0))
    assert torch.equal(found[:, ~covered], merged[:, ~covered])
    assert not torch.equal(found, merged)
    assert torch.equal(fuse(merged, [], geometry), merged)


def test_a_gate_of_zero_changes_nothing() -> None:
    geometry = geometry_of((6, 32))
    merged, named = scene(geometry, lay_views(geometry, "crops"), 0)
    shut = [NamedMasks(item.view, item.masks, item.mean, torch.zeros_like(item.gate)) for item in named]
    assert torch.equal(fuse(merged, shut, geometry), merged)


def test_the_smaller_mask_has_the_last_word_as_far_as_its_gate_lets_it() -> None:
    geometry = geometry_of((2, 8))
    whole = Crop(0.0, 360.0)
    arrays = np.zeros((2, 2, 8), dtype=bool)
    arrays[0, 0, 2:4] = True  # the smaller comes first in the list
    arrays[1, 0] = True
    masks = masks_from_arrays(arrays)
    mean = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    for gate in (0.0, 0.25, 1.0):
        named = NamedMasks(whole, masks, mean, torch.tensor([gate, 1.0]))
        found = fuse(torch.full((2, 2, 8), 0.5), [named], geometry)
        assert found[0].tolist() == [[0, 0, gate, gate, 0, 0, 0, 0], [0.5] * 8]


def test_a_mask_fades_towards_its_views_border() -> None:
    geometry = geometry_of((1, 64))
    views = lay_views(geometry, "crops")
    full, none = masks_from_arrays(np.ones((1, 1, 16))), masks_from_arrays(np.zeros((0, 1, 16)))
    named = [
        NamedMasks(view, full, torch.tensor([[1.0, 0.0]]), torch.ones(1))
        if k == 4
        else NamedMasks(view, none, torch.zeros(0, 2), torch.zeros(0))
        for k, view in enumerate(views)
    ]
    found = fuse(torch.tensor([0.0, 1.0])[:, None, None].expand(2, 1, 64), named, geometry)[0, 0]
    assert (found[:24] == 0).all()
    assert (found[40:] == 0).all()
    assert (found[28:36] == 1).all()  # this view sees them best
    assert (found[24:29].diff() > 0).all()
    assert (found[35:40].diff() < 0).all()
