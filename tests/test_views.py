"""Views: cut against np.roll, py360convert and a loop over pixels; merged against a loop over pixels."""

import json
import math

import numpy as np
import py360convert
import pytest
import torch

from goodsam.errors import GoodSAMError
from goodsam.panorama import Geometry, Panorama, geometry_of
from goodsam.views import (
    WHOLE,
    Crop,
    Merger,
    Tangent,
    View,
    cut,
    cut_labels,
    footprint,
    lay_views,
    size_of,
    view_from_json,
    view_to_json,
    view_weights,
)


def noise(height: int, width: int, vfov: float | None = None, seed: int = 0) -> Panorama:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Panorama(pixels, geometry_of((height, width), vfov))


def smooth(height: int, width: int) -> Panorama:
    """A few waves over the sphere, smooth across the seam and constant at the poles, with nothing symmetric."""
    pitch = np.deg2rad(90 - (np.arange(height) + 0.5) / height * 180)[:, None]
    yaw = np.deg2rad((np.arange(width) + 0.5) / width * 360 - 180)[None]
    x, y, z = np.sin(yaw) * np.cos(pitch), np.sin(pitch) + 0 * yaw, np.cos(yaw) * np.cos(pitch)
    waves = np.stack([np.sin(3 * x + 1), np.cos(2 * y + z), np.sin(2 * x * y + 3 * z)], axis=-1)
    return Panorama(((waves + 1) * 127).round().astype(np.uint8), geometry_of((height, width)))


def slow_ray(view: Tangent, x: float, y: float) -> tuple[float, float]:
    """Yaw and pitch, degrees, that a tangent view sees at x (right) and y (down), -1..1 from edge to edge."""
    half = math.tan(math.radians(view.fov / 2))
    yaw, pitch = math.radians(view.yaw), math.radians(view.pitch)
    up, ahead = -y * half * math.cos(pitch) + math.sin(pitch), y * half * math.sin(pitch) + math.cos(pitch)
    right, ahead = x * half * math.cos(yaw) + ahead * math.sin(yaw), ahead * math.cos(yaw) - x * half * math.sin(yaw)
    return math.degrees(math.atan2(right, ahead)), math.degrees(math.atan2(up, math.hypot(right, ahead)))


def slow_position(view: Tangent, yaw: float, pitch: float) -> tuple[float, float, float] | None:
    """x, y and angle to the axis at which a tangent view sees a direction; None where it does not."""
    y, p = math.radians(yaw - view.yaw), math.radians(pitch)
    right, up, ahead = math.sin(y) * math.cos(p), math.sin(p), math.cos(y) * math.cos(p)
    tilt = math.radians(view.pitch)
    up, ahead = up * math.cos(tilt) - ahead * math.sin(tilt), up * math.sin(tilt) + ahead * math.cos(tilt)
    if ahead <= 0:
        return None
    half = math.tan(math.radians(view.fov / 2))
    x, y = right / ahead / half, -up / ahead / half
    return (x, y, math.degrees(math.acos(min(1.0, ahead)))) if abs(x) < 1 and abs(y) < 1 else None


def slow_bilinear(values: np.ndarray, x: float, y: float) -> np.ndarray:
    """(D, h, w) at x and y, -1..1 from edge to edge; the edge goes on outside."""
    height, width = values.shape[1:]
    column = min(max((x + 1) / 2 * width - 0.5, 0), width - 1)
    row = min(max((y + 1) / 2 * height - 0.5, 0), height - 1)
    c, r = int(column), int(row)
    right, below = min(c + 1, width - 1), min(r + 1, height - 1)
    upper = values[:, r, c] * (1 - column + c) + values[:, r, right] * (column - c)
    lower = values[:, below, c] * (1 - column + c) + values[:, below, right] * (column - c)
    return upper * (1 - row + r) + lower * (row - r)


def slow_weight(view: View, yaw: float, pitch: float) -> float:
    """Before normalisation."""
    if isinstance(view, Tangent):
        seen = slow_position(view, yaw, pitch)
        angle = seen[2] if seen else math.inf
        return math.cos(angle / view.fov * math.pi) ** 2 if angle < view.fov / 2 else 0.0
    distance = abs((yaw - view.yaw + 180) % 360 - 180)
    return math.cos(distance / view.width * math.pi) ** 2 if distance < view.width / 2 else 0.0


def directions(geometry: Geometry, size: tuple[int, int]) -> list[tuple[int, int, float, float]]:
    height, width = size
    top = geometry.horizon * geometry.vfov / geometry.height
    return [
        (row, column, (column + 0.5) / width * 360 - 180, top - (row + 0.5) * geometry.vfov / height)
        for row in range(height)
        for column in range(width)
    ]


# --- laying views -------------------------------------------------------------------------------------------------


def test_a_strip_gets_eight_crops_and_a_sphere_tangent_views() -> None:
    assert lay_views(geometry_of((400, 2048))) == tuple(Crop(45.0 * k - 180, 90.0) for k in range(8))
    views = lay_views(geometry_of((32, 64)))
    assert [view.kind for view in views] == ["tangent"] * 26
    rows = {pitch: [v.yaw for v in views if v.pitch == pitch] for pitch in (-45, 0, 45)}
    assert all(yaws == [45.0 * k - 180 for k in range(8)] for yaws in rows.values())
    assert views[-2:] == (Tangent(0.0, 90.0, 90.0), Tangent(0.0, -90.0, 90.0))


def test_whole_is_one_view_of_everything() -> None:
    panorama = noise(8, 32)
    assert lay_views(panorama.geometry, "whole") == (WHOLE,)
    assert (cut(panorama, WHOLE) == panorama.pixels).all()
    assert (view_weights([WHOLE], panorama.geometry) == 1).all()


@pytest.mark.parametrize(("step", "width"), [(60, 90), (0, 90), (-45, 90), (35, 90), (50, 100)])
def test_steps_that_leave_gaps_or_do_not_close_are_refused(step: float, width: float) -> None:
    with pytest.raises(GoodSAMError, match=rf"--view-step {step:g}: must divide 360.*--view-width {width:g}"):
        lay_views(geometry_of((8, 64)), "crops", width, step)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(GoodSAMError, match="--views cube: must be auto, crops, tangent or whole"):
        lay_views(geometry_of((8, 64)), "cube")


@pytest.mark.parametrize(
    ("size", "vfov", "horizon"), [((32, 64), None, None), ((20, 64), 140, None), ((16, 64), 90, 4), ((12, 64), 60, 6)]
)
@pytest.mark.parametrize(("width", "step"), [(90, 45), (80, 40), (60, 30), (90, 30)])
def test_tangent_views_leave_no_pixel_unseen(
    size: tuple[int, int], vfov: float | None, horizon: float | None, width: float, step: float
) -> None:
    geometry = geometry_of(size, vfov, horizon)
    weights = view_weights(lay_views(geometry, "tangent", width, step), geometry)
    assert torch.isfinite(weights).all()


@pytest.mark.parametrize("view", [Crop(-180.0, 90.0), Tangent(45.0, -45.0, 90.0), WHOLE])
def test_views_survive_json(view: View) -> None:
    again = view_from_json(json.loads(json.dumps(view_to_json(view))))
    assert again == view
    assert type(again) is type(view)


def test_size_of_tangent_views_is_as_dense_as_the_panorama_at_their_centre() -> None:
    geometry = geometry_of((1024, 2048))
    side, other = size_of(Tangent(0.0, 0.0, 90.0), geometry)
    assert side == other
    assert side % 32 == 0
    # one pixel at the centre spans 2 tan(fov / 2) / side radian; a panorama's column spans 2 pi / 2048
    assert abs(2 / side - 2 * math.pi / 2048) / (2 * math.pi / 2048) < 16 / side
    assert size_of(Crop(0.0, 90.0), geometry) == (1024, 512)


# --- cutting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("yaw", [-180, -135, -90, -45, 0, 45, 90, 135])
def test_crops_wrap_past_the_seam_exactly(yaw: int) -> None:
    panorama = noise(5, 64)
    start = (yaw - 45 + 180) * 64 // 360
    expected = np.roll(panorama.pixels, -start, axis=1)[:, :16]
    assert (cut(panorama, Crop(float(yaw), 90.0)) == expected).all()
    labels = panorama.pixels[..., 0]
    assert (cut_labels(labels, panorama.geometry, Crop(float(yaw), 90.0)) == expected[..., 0]).all()


TANGENTS = [
    Tangent(0.0, 0.0, 90.0),
    Tangent(173.0, 11.0, 90.0),
    Tangent(-40.0, -50.0, 70.0),
    Tangent(20.0, 85.0, 100.0),
]


@pytest.mark.parametrize("view", TANGENTS)
def test_tangent_views_equal_a_loop_over_pixels(view: Tangent) -> None:
    panorama = noise(20, 40)
    found = cut(panorama, view).astype(float)
    size = found.shape[0]
    assert found.shape == (32, 32, 3)
    for row in range(size):
        for column in range(size):
            yaw, pitch = slow_ray(view, (column + 0.5) / size * 2 - 1, (row + 0.5) / size * 2 - 1)
            # Three copies side by side make the seam an ordinary place.
            tripled = np.tile(panorama.pixels, (1, 3, 1)).transpose(2, 0, 1).astype(float)
            expected = slow_bilinear(tripled, yaw / 540, -pitch / 90)
            assert np.abs(found[row, column] - expected).max() < 0.51  # rounding to whole levels


@pytest.mark.parametrize(
    ("yaw", "pitch"),
    [(0, 0), (180, 0), (-170, 0), (135, 0), (30, 45), (180, 45), (-100, -45), (180, -45), (0, 90), (0, -90), (60, 90)],
)
@pytest.mark.parametrize("fov", [90, 70])
def test_tangent_views_agree_with_py360convert(yaw: float, pitch: float, fov: float) -> None:
    """Within one level: both interpolate the same four pixels and round (py360convert also cuts to integers)."""
    panorama = smooth(256, 512)
    view = Tangent(float(yaw), float(pitch), float(fov))
    found = cut(panorama, view)
    size = found.shape[0]
    # Its samples lie on the view's border, ours at pixel centres: a smaller view makes them the same.
    inner = 2 * math.degrees(math.atan(math.tan(math.radians(fov / 2)) * (size - 1) / size))
    theirs = py360convert.e2p(panorama.pixels, inner, yaw, pitch, (size, size), mode="bilinear")
    difference = np.abs(found.astype(int) - theirs.astype(int))
    assert difference.max() <= 1
    assert difference.mean() < 0.6
    assert found.std() > 3  # there is something to compare


def test_tangent_views_are_black_where_the_panorama_does_not_reach() -> None:
    panorama = Panorama(np.full((16, 64, 3), 200, dtype=np.uint8), geometry_of((16, 64)))
    view = Tangent(0.0, 45.0, 90.0)
    found, labels = cut(panorama, view), cut_labels(panorama.pixels[..., 0], panorama.geometry, view)
    size = found.shape[0]
    row_height = panorama.geometry.degrees_per_row
    for row in range(size):
        for column in range(size):
            _, pitch = slow_ray(view, (column + 0.5) / size * 2 - 1, (row + 0.5) / size * 2 - 1)
            if abs(abs(pitch) - 45) > row_height:  # the edge itself may be black or not
                assert found[row, column].tolist() == [200 * (abs(pitch) < 45)] * 3
                assert labels[row, column] == (200 if abs(pitch) < 45 else 255)


@pytest.mark.parametrize("view", TANGENTS[1:])
def test_cut_labels_takes_the_nearest_pixel(view: Tangent) -> None:
    geometry = geometry_of((20, 40))
    labels = np.random.default_rng(3).integers(0, 19, (20, 40), dtype=np.uint8)
    found = cut_labels(labels, geometry, view)
    size = found.shape[0]
    assert found.dtype == np.uint8
    for row in range(size):
        for column in range(size):
            yaw, pitch = slow_ray(view, (column + 0.5) / size * 2 - 1, (row + 0.5) / size * 2 - 1)
            assert found[row, column] == labels[int((90 - pitch) / 9), int((yaw + 180) / 9) % 40]


@pytest.mark.parametrize("view", [*TANGENTS, Crop(180.0, 90.0), Tangent(0.0, -90.0, 90.0)])
def test_cut_labels_never_makes_a_value_that_is_not_there(view: View) -> None:
    labels = np.random.default_rng(0).choice(np.array([3, 200], dtype=np.uint8), (20, 40))
    assert set(np.unique(cut_labels(labels, geometry_of((20, 40)), view))) <= {3, 200}
    strip = geometry_of((20, 40), vfov=60)
    assert set(np.unique(cut_labels(labels, strip, view))) <= {3, 200, 255}


def test_rolling_by_a_step_permutes_the_crops_exactly() -> None:
    panorama = noise(6, 64)
    views = lay_views(panorama.geometry, "crops")
    rolled = panorama.rolled(8)
    for number, view in enumerate(views):
        assert (cut(rolled, views[(number + 1) % 8]) == cut(panorama, view)).all()


def test_rolling_by_a_step_permutes_the_tangent_views() -> None:
    """Within one level: the sampling grid is float32, whose last digit depends on the column."""
    panorama = noise(32, 64)
    views = lay_views(panorama.geometry, "tangent")
    rolled = panorama.rolled(8)
    for row in range(3):
        for number in range(8):
            before = cut(panorama, views[8 * row + number]).astype(int)
            after = cut(rolled, views[8 * row + (number + 1) % 8]).astype(int)
            assert np.abs(before - after).max() <= 1


# --- weights ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, (7, 30)])
@pytest.mark.parametrize("kind", ["crops", "tangent"])
def test_weights_equal_a_loop_over_pixels(kind: str, size: tuple[int, int] | None) -> None:
    geometry = geometry_of((12, 32), vfov=120)
    views = lay_views(geometry, kind)
    found = view_weights(views, geometry, size)
    assert found.shape == (len(views), *(size or (12, 32)))
    torch.testing.assert_close(found.sum(0), torch.ones(found.shape[1:]))
    for row, column, yaw, pitch in directions(geometry, size or (12, 32)):
        weights = np.array([slow_weight(view, yaw, pitch) for view in views])
        assert ((found[:, row, column].numpy() > 0) == (weights > 0)).all()
        np.testing.assert_allclose(found[:, row, column], weights / weights.sum(), atol=1e-5)


def test_crop_weights_fall_from_the_centre_and_do_not_depend_on_the_row() -> None:
    geometry = geometry_of((4, 64))
    weight = view_weights(lay_views(geometry, "crops"), geometry)[4]  # yaw 0: columns 24 to 39
    assert (weight == weight[:1]).all()
    assert (weight[0, :24] == 0).all()
    assert (weight[0, 40:] == 0).all()
    assert (weight[0, 24:31].diff() > 0).all()
    assert (weight[0, 32:40].diff() < 0).all()
    torch.testing.assert_close(weight[0, 24:32], weight[0, 32:40].flip(0))


# --- merging ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "step"), [(90, 45), (60, 30), (120, 45)])
def test_merged_crops_give_the_panorama_back(width: float, step: float) -> None:
    panorama = noise(5, 72 if step == 45 else 60)
    merger = Merger(panorama.geometry, 3)
    for view in lay_views(panorama.geometry, "crops", width, step):
        merger.add(view, torch.from_numpy(cut(panorama, view)).permute(2, 0, 1).double())
    torch.testing.assert_close(
        merger.result(), torch.from_numpy(panorama.pixels).permute(2, 0, 1).float(), atol=1e-4, rtol=0
    )


def test_merged_crops_are_the_weighted_mean_of_what_they_say() -> None:
    geometry = geometry_of((4, 32))
    views = lay_views(geometry, "crops")
    values = torch.rand(len(views), 2, 4, 8, generator=torch.Generator().manual_seed(0))
    merger = Merger(geometry, 2)
    for view, value in zip(views, values, strict=True):
        merger.add(view, value)
    result = merger.result()
    for row, column, yaw, pitch in directions(geometry, (4, 32)):
        expected, total = np.zeros(2), 0.0
        for view, value in zip(views, values.numpy(), strict=True):
            weight = slow_weight(view, yaw, pitch)
            start = round((view.yaw - 45 + 180) / 360 * 32)
            inside = (column - start) % 32
            if inside < 8:
                expected += weight * value[:, row, inside]
                total += weight
        np.testing.assert_allclose(result[:, row, column], expected / total, atol=1e-5)


@pytest.mark.parametrize(("shape", "size"), [((8, 8), None), ((5, 7), (6, 15))])
def test_merged_tangent_views_equal_a_loop_over_pixels(shape: tuple[int, int], size: tuple[int, int] | None) -> None:
    geometry = geometry_of((10, 20))
    views = lay_views(geometry, "tangent")
    values = torch.rand(len(views), 2, *shape, generator=torch.Generator().manual_seed(1))
    merger = Merger(geometry, 2, size)
    for view, value in zip(views, values, strict=True):
        merger.add(view, value)
    result = merger.result()
    assert result.shape == (2, *(size or (10, 20)))
    for row, column, yaw, pitch in directions(geometry, size or (10, 20)):
        expected, total = np.zeros(2), 0.0
        for view, value in zip(views, values.double().numpy(), strict=True):
            weight = slow_weight(view, yaw, pitch)
            if weight > 0:
                x, y, _ = slow_position(view, yaw, pitch)
                expected += weight * slow_bilinear(value, x, y)
                total += weight
        np.testing.assert_allclose(result[:, row, column], expected / total, atol=1e-5)


def test_crops_merge_at_another_size() -> None:
    geometry = geometry_of((8, 64))
    views = lay_views(geometry, "crops")
    merger = Merger(geometry, 1, (2, 16))
    values = torch.rand(len(views), 1, 2, 4, generator=torch.Generator().manual_seed(2))
    for view, value in zip(views, values, strict=True):
        merger.add(view, value)
    result = merger.result()
    for row, column, yaw, pitch in directions(geometry, (2, 16)):
        parts = [(slow_weight(view, yaw, pitch), number) for number, view in enumerate(views)]
        total = sum(weight for weight, _ in parts)
        expected = sum(
            weight * float(values[number, 0, row, (column - 2 * number + 2) % 16])
            for number, (weight, _) in zip(range(8), parts, strict=True)
            if weight > 0
        )
        np.testing.assert_allclose(result[0, row, column], expected / total, atol=1e-5)


def test_merged_probabilities_sum_to_one() -> None:
    geometry = geometry_of((8, 32))
    merger = Merger(geometry, 3)
    for view in lay_views(geometry, "tangent"):
        merger.add(view, torch.randn(3, 9, 9).softmax(0))
    torch.testing.assert_close(merger.result().sum(0), torch.ones(8, 32))


def test_a_panorama_not_covered_is_not_merged() -> None:
    geometry = geometry_of((4, 32))
    merger = Merger(geometry, 1)
    merger.add(Crop(0.0, 90.0), torch.ones(1, 4, 8))
    with pytest.raises(ValueError, match="the views do not cover the panorama"):
        merger.result()


def test_footprint_names_the_nearest_pixel_of_a_tangent_view() -> None:
    geometry = geometry_of((20, 40))
    view = Tangent(170.0, 40.0, 90.0)
    foot = footprint(view, geometry, (20, 40))
    side = size_of(view, geometry)[0]
    seen = {}
    for row, column, yaw, pitch in directions(geometry, (20, 40)):
        if slow_weight(view, yaw, pitch) > 0:
            x, y, _ = slow_position(view, yaw, pitch)
            seen[row * 40 + column] = int((y + 1) / 2 * side) * side + int((x + 1) / 2 * side)
    assert dict(zip(foot.index.tolist(), foot.nearest.tolist(), strict=True)) == seen
