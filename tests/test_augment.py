"""Augmentation: turns and windows move image and stored targets by whole cells, a tilt resamples them alike, colour
touches the image alone."""

import math
from functools import lru_cache

import numpy as np
import pytest
import torch

from goodsam import sphere
from goodsam.augment import Tilt, Turn, Window, photometric
from goodsam.panorama import Geometry


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("cell", [0, 1, 3])
def test_a_turn_moves_every_column_to_its_place(cell: int, mirrored: bool) -> None:
    image = torch.rand(3, 2, 128, generator=generator())
    turned = Turn(cell / 4, mirrored)(image)
    for column in range(128):
        target = (column + 32 * cell) % 128
        target = 127 - target if mirrored else target
        assert torch.equal(turned[..., target], image[..., column])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("stride", [2, 16, 32])
def test_stored_targets_move_with_the_image(stride: int, mirrored: bool) -> None:
    def stored(image: torch.Tensor) -> torch.Tensor:
        return image.unflatten(-1, (-1, stride)).mean(-1)

    image = torch.rand(3, 2, 160, generator=generator())
    for cell in range(5):
        turn = Turn(cell / 5, mirrored)
        torch.testing.assert_close(turn(stored(image)), stored(turn(image)))


def test_drawn_turns_are_whole_cells_and_all_occur() -> None:
    source = generator()
    turns = [Turn.draw(source, 160) for _ in range(300)]
    assert {round(turn.part * 5, 9) for turn in turns} == {0, 1, 2, 3, 4}
    assert 100 < sum(turn.mirrored for turn in turns) < 200
    again = generator()
    assert [Turn.draw(again, 160) for _ in range(300)] == turns


def test_the_narrowest_panorama_has_one_place() -> None:
    assert {Turn.draw(generator(seed), 32).part for seed in range(5)} == {0.0}


def test_photometric_stays_in_range_and_is_drawn_from_the_generator() -> None:
    image = torch.rand(3, 8, 16, generator=generator())
    before = image.clone()
    changed = [photometric(image, generator(seed)) for seed in range(20)]
    assert torch.equal(image, before)
    assert all(float(item.min()) >= 0 and float(item.max()) <= 1 for item in changed)
    assert torch.equal(changed[3], photometric(image, generator(3)))
    assert not torch.equal(changed[3], changed[4])


def test_photometric_moves_no_pixel() -> None:
    """Where nothing is clipped, each channel is an affine function of itself with a positive slope."""
    image = 0.4 + 0.2 * torch.rand(3, 8, 16, generator=generator())
    for seed in range(10):
        changed = photometric(image, generator(seed))
        for before, after in zip(image.flatten(1), changed.flatten(1), strict=True):
            order = before.argsort()
            slopes = after[order].diff() / before[order].diff().clamp_min(1e-9)
            steep = before[order].diff() > 1e-4
            torch.testing.assert_close(
                slopes[steep], slopes[steep].median().expand(int(steep.sum())), rtol=0.02, atol=0
            )
            assert 0.8 * 0.8 * 0.93 - 0.02 < float(slopes[steep].median()) < 1.2 * 1.2 * 1.07 + 0.02


BAND = Geometry(80, 256, 100.0, 35.0)
SPHERE = Geometry(128, 256, 180.0, 64.0)
BOWL = Geometry(96, 256, 135.0, 32.0)
"""From 45 degrees above the horizon down to the pole."""
STRIDES = [1, 2, 16, 32]


def shape_of(geometry: Geometry, stride: int) -> tuple[int, int]:
    return -(-geometry.height // stride), geometry.width // stride


def scene(ray: np.ndarray) -> list[float]:
    """Something smooth in every direction, unlike itself in any other; second derivatives of a few."""
    x, y, z = ray
    return [x + 0.3 * y, y * z, math.sin(2 * x) - 0.5 * z, x * y * z]


def slow_tilted(
    geometry: Geometry, shape: tuple[int, int], tilt: Tilt, row: int, column: int
) -> tuple[list[float], float]:
    """What a tilted camera sees at one pixel of a map, and the row of it in the level map, pixels."""
    p, r = math.radians(tilt.pitch), math.radians(tilt.roll)
    about_ahead = np.array([[math.cos(r), math.sin(r), 0], [-math.sin(r), math.cos(r), 0], [0, 0, 1]])
    about_right = np.array([[1, 0, 0], [0, math.cos(p), math.sin(p)], [0, -math.sin(p), math.cos(p)]])
    per_row = geometry.vfov / shape[0]
    edge = geometry.horizon * geometry.vfov / geometry.height
    up, yaw = math.radians(edge - (row + 0.5) * per_row), math.radians((column + 0.5) / shape[1] * 360 - 180)
    ray = about_right @ about_ahead @ [math.cos(up) * math.sin(yaw), math.sin(up), math.cos(up) * math.cos(yaw)]
    level = math.degrees(math.atan2(ray[1], math.hypot(ray[0], ray[2])))
    return scene(ray), (edge - level) / per_row


@lru_cache
def rendered(geometry: Geometry, shape: tuple[int, int], tilt: Tilt) -> tuple[torch.Tensor, torch.Tensor]:
    """The scene as a tilted camera sees it, (4, h, w), and rows in the level map, (h, w); pixel by pixel."""
    values, rows = torch.zeros(4, *shape), torch.zeros(shape, dtype=torch.float64)
    for row in range(shape[0]):
        for column in range(shape[1]):
            seen, rows[row, column] = slow_tilted(geometry, shape, tilt, row, column)
            values[:, row, column] = torch.tensor(seen)
    return values, rows


@pytest.mark.parametrize("tilt", [Tilt(6.0, 0.0), Tilt(0.0, -8.0), Tilt(-5.0, 7.0)])
@pytest.mark.parametrize(("geometry", "stride"), [(BAND, 2), (BAND, 16), (BOWL, 4), (SPHERE, 4), (SPHERE, 32)])
def test_a_tilted_map_is_what_the_tilted_camera_sees(geometry: Geometry, stride: int, tilt: Tilt) -> None:
    shape = shape_of(geometry, stride)
    expected, rows = rendered(geometry, shape, tilt)
    values, seen = tilt(rendered(geometry, shape, Tilt(0, 0))[0], geometry)
    assert torch.equal(seen, (rows >= 0) & (rows <= shape[0]))
    error = (values - expected).abs().amax(0)
    cell = math.radians(max(360 / shape[1], geometry.vfov / shape[0]))
    assert seen.all() or geometry is not SPHERE
    # Beyond the middle of an edge row that row goes on, unless the edge is a pole.
    between = (rows >= 0.5) | (geometry is SPHERE)
    between &= (rows <= shape[0] - 0.5) | (geometry in (SPHERE, BOWL))
    assert float(error[between].max()) < cell**2
    assert float(error[seen].max()) < cell


def test_a_tilted_image_at_full_size_is_what_the_tilted_camera_sees() -> None:
    tilt, shape = Tilt(4.0, -3.0), (80, 256)
    expected, rows = rendered(BAND, shape, tilt)
    values, seen = tilt(rendered(BAND, shape, Tilt(0, 0))[0], BAND)
    between = (rows >= 0.5) & (rows <= 79.5)
    assert torch.equal(seen, (rows >= 0) & (rows <= 80))
    assert 0.8 < float(seen.float().mean()) < 0.99
    assert float((values - expected).abs().amax(0)[between].max()) < math.radians(360 / 256) ** 2


@pytest.mark.parametrize("stride", [2, 16])
def test_image_and_targets_move_together(stride: int) -> None:
    """Small maps of the tilted image are the tilted small maps of the image."""
    tilt = Tilt(5.0, -6.0)
    image = rendered(SPHERE, (128, 256), Tilt(0, 0))[0]

    def stored(values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(values[None], stride)[0]

    tilted, _ = tilt(stored(image), SPHERE)
    cell = math.radians(stride * 360 / 256)
    torch.testing.assert_close(tilted, stored(tilt(image, SPHERE)[0]), atol=cell**2, rtol=0)


def test_a_level_camera_sees_the_same_and_one_that_hardly_tilts_nearly_so() -> None:
    image = torch.rand(3, 80, 256, generator=generator())
    for tilt, atol in ((Tilt(0.0, 0.0), 0.0), (Tilt(0.0, -0.0), 0.0), (Tilt(1e-9, -1e-9), 1e-4)):
        values, seen = tilt(image, BAND)
        torch.testing.assert_close(values, image, atol=atol, rtol=0)
        assert seen.all()


def test_tilts_undo_each_other() -> None:
    """Roll is about where the camera looks once it is pitched, so what undoes both undoes roll first."""
    image = rendered(SPHERE, (128, 256), Tilt(0, 0))[0]
    for tilts in (
        [Tilt(7.0, 0.0), Tilt(-7.0, 0.0)],
        [Tilt(0.0, 6.0), Tilt(0.0, -6.0)],
        [Tilt(7.0, 6.0), Tilt(0.0, -6.0), Tilt(-7.0, 0.0)],
    ):
        values = image
        for tilt in tilts:
            values, _ = tilt(values, SPHERE)
        torch.testing.assert_close(values, image, atol=len(tilts) * math.radians(360 / 256) ** 2, rtol=0)


@pytest.mark.parametrize("stride", STRIDES)
def test_the_seam_is_a_column_like_any_other(stride: int) -> None:
    """Seen half a turn further, which makes up down, the seam lies where the middle was; noise shows what is not so."""
    shape = shape_of(SPHERE, stride)
    half = shape[1] // 2
    noise = torch.rand(2, *shape, generator=generator())
    values, _ = Tilt(3.0, -5.0)(noise, SPHERE)
    behind, _ = Tilt(-3.0, 5.0)(noise.roll(half, -1), SPHERE)
    torch.testing.assert_close(behind.roll(-half, -1), values, atol=1e-3, rtol=0)


def test_a_smooth_scene_has_no_jump_at_the_seam() -> None:
    values, _ = Tilt(3.0, 5.0)(rendered(SPHERE, (128, 256), Tilt(0, 0))[0], SPHERE)
    jumps = (values.roll(-1, -1) - values).abs().amax((0, 1))
    assert float(jumps[-1]) < 1.2 * float(jumps[[-3, -2, 0, 1]].max())


def test_a_pixel_is_sampled_to_the_hundredth_at_8192() -> None:
    geometry, shape = Geometry(16, 8192, 70.0, 8.0), (16, 8192)
    ramps = torch.stack([torch.arange(8192.0).expand(shape), torch.arange(16.0)[:, None].expand(shape)])
    (columns, rows), _ = Tilt(1.0, -2.0)(ramps, geometry)
    expected = sphere.tilted_positions(shape, 70.0, 8.0, 1.0, -2.0)
    row, column = (position.float() - 0.5 for position in expected)
    torch.testing.assert_close(rows, row.clamp(0, 15), atol=0.01, rtol=0)
    rising = (column > 0) & (column < 8191)  # between the last column and the first a ramp falls
    torch.testing.assert_close(columns[rising], column[rising], atol=0.01, rtol=0)


def test_outside_the_band_the_edge_row_goes_on() -> None:
    rows = torch.arange(80.0)[None, :, None].expand(1, 80, 256)
    values, seen = Tilt(10.0, 0.0)(rows, BAND)
    assert not seen[0, 128]  # looks up ahead
    assert not seen[79, 0]  # and down behind
    assert values[0, 0, 128] == 0
    assert values[0, 79, 0] == pytest.approx(79)
    assert ((values >= 0) & (values < 79.001)).all()


def test_probabilities_stay_probabilities() -> None:
    probabilities = torch.rand(5, 40, 128, generator=generator()).softmax(0)
    values, _ = Tilt(4.0, 9.0)(probabilities, BAND)
    torch.testing.assert_close(values.sum(0), torch.ones(40, 128))
    assert values.min() >= 0


@pytest.mark.parametrize("tilt", [Tilt(0.0, 0.0), Tilt(4.0, -7.0)])
@pytest.mark.parametrize("geometry", [BAND, SPHERE])
@pytest.mark.parametrize("window", [Window(0, 192, 80, 96), Window(32, 0, 32, 64), Window(0, 96, 64, 32)])
@pytest.mark.parametrize("stride", STRIDES)
def test_a_tilted_window_is_the_window_of_the_tilted_whole(
    stride: int, window: Window, geometry: Geometry, tilt: Tilt
) -> None:
    if stride == 32 and window.height == 80 and geometry is SPHERE:
        window = Window(0, window.left, 128, window.width)  # 80 rows of 128 would end within a cell
    noise = torch.rand(3, *shape_of(geometry, stride), generator=generator())
    whole, whole_seen = tilt(noise, geometry)
    part, part_seen = tilt(noise, geometry, window)
    size = (geometry.height, geometry.width)
    torch.testing.assert_close(part, window.cut(whole, size), atol=1e-5, rtol=0)
    assert torch.equal(part_seen, window.cut(whole_seen[None], size)[0])


@pytest.mark.parametrize("stride", [2, 16, 32])
@pytest.mark.parametrize(("top", "height"), [(0, 400), (64, 336), (32, 64)])
@pytest.mark.parametrize("left", [0, 96, 192])
def test_a_window_is_cut_cell_by_cell(left: int, top: int, height: int, stride: int) -> None:
    values = torch.rand(2, -(-400 // stride), 256 // stride, generator=generator())
    before = values.clone()
    part = Window(top, left, height, 128).cut(values, (400, 256))
    rows = range(top // stride, math.ceil((top + height) / stride))
    assert part.shape == (2, len(rows), 128 // stride)
    for column in range(128 // stride):
        source = (left // stride + column) % (256 // stride)
        for place, row in enumerate(rows):
            assert part[:, place, column].tolist() == values[:, row, source].tolist()
    part.zero_()
    assert torch.equal(values, before)


def test_the_whole_is_a_window_too() -> None:
    values = torch.rand(2, 13, 8, generator=generator())
    assert torch.equal(Window(0, 0, 400, 256).cut(values, (400, 256)), values)
    assert torch.equal(Window(0, 64, 400, 256).cut(values, (400, 256)), values.roll(-2, -1))


@pytest.mark.parametrize(
    ("window", "shape", "message"),
    [
        (Window(0, 0, 400, 128), (12, 8), "no whole stride"),
        (Window(0, 0, 400, 128), (13, 9), "no whole stride"),
        (Window(0, 16, 400, 128), (13, 8), "multiples of 32"),
        (Window(16, 0, 64, 128), (13, 8), "multiples of 32"),
        (Window(0, 0, 40, 128), (13, 8), "must end at the lower edge, 400"),
        (Window(32, 0, 400, 128), (13, 8), "must lie in 400 rows"),
        (Window(0, 0, 400, 512), (13, 8), "must lie in 400 rows"),
    ],
)
def test_a_window_that_does_not_fit_is_refused(window: Window, shape: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        window.cut(torch.zeros(1, *shape), (400, 256))


def test_drawn_tilts_fill_their_range_and_come_from_the_generator() -> None:
    source, again = generator(), generator()
    tilts = [Tilt.draw(source, 6.0) for _ in range(300)]
    for angles in ([tilt.pitch for tilt in tilts], [tilt.roll for tilt in tilts]):
        assert -6 <= min(angles) < -5.5
        assert 5.5 < max(angles) <= 6
        assert abs(sum(angles)) / 300 < 0.6
    assert [Tilt.draw(again, 6.0) for _ in range(300)] == tilts
    assert Tilt.draw(source, 0.0) == Tilt(0.0, 0.0)
