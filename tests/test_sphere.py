"""Directions, tangent cameras and solid angles, against trigonometry written out pixel by pixel."""

import math

import numpy as np
import pytest
import torch

from goodsam import sphere


def slow_direction(yaw: float, pitch: float, right: float, up: float) -> list[float]:
    """The camera ray (right, up, 1) turned by pitch about the x axis, then by yaw about the y axis."""
    y, p = math.radians(yaw), math.radians(pitch)
    up, ahead = up * math.cos(p) + math.sin(p), -up * math.sin(p) + math.cos(p)
    return [right * math.cos(y) + ahead * math.sin(y), up, -right * math.sin(y) + ahead * math.cos(y)]


@pytest.mark.parametrize(
    ("yaw", "pitch", "direction"),
    [(0, 0, (0, 0, 1)), (90, 0, (1, 0, 0)), (-90, 0, (-1, 0, 0)), (180, 0, (0, 0, -1)), (0, 90, (0, 1, 0))],
)
def test_yaw_grows_to_the_right_and_pitch_upwards(yaw: float, pitch: float, direction: tuple[float, ...]) -> None:
    found = sphere.direction_of(torch.tensor(float(yaw)), torch.tensor(float(pitch)))
    torch.testing.assert_close(found, torch.tensor(direction, dtype=torch.float32), atol=1e-6, rtol=0)


def test_direction_and_yaw_pitch_are_inverse_at_any_length() -> None:
    generator = torch.Generator().manual_seed(0)
    yaw = torch.rand(500, generator=generator, dtype=torch.float64) * 360 - 180
    pitch = torch.rand(500, generator=generator, dtype=torch.float64) * 180 - 90
    direction = sphere.direction_of(yaw, pitch)
    torch.testing.assert_close(direction.norm(dim=-1), torch.ones(500, dtype=torch.float64))
    for length in (1.0, 0.01, 70.0):
        again_yaw, again_pitch = sphere.yaw_pitch_of(direction * length)
        torch.testing.assert_close(again_yaw, yaw)
        torch.testing.assert_close(again_pitch, pitch)


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (33, -20), (-170, 45), (0, 90), (120, -90)])
def test_tangent_axes_are_a_level_camera(yaw: float, pitch: float) -> None:
    axes = sphere.tangent_axes(yaw, pitch)
    torch.testing.assert_close(axes @ axes.T, torch.eye(3, dtype=torch.float64), atol=1e-12, rtol=0)
    assert axes[0, 1] == 0  # no roll
    for axis, ray in zip(axes[:2], ((1.0, 0.0), (0.0, 1.0)), strict=True):
        forward = slow_direction(yaw, pitch, 0.0, 0.0)
        moved = slow_direction(yaw, pitch, *ray)
        np.testing.assert_allclose(axis, np.subtract(moved, forward), atol=1e-12)
    np.testing.assert_allclose(axes[2], slow_direction(yaw, pitch, 0.0, 0.0), atol=1e-12)


@pytest.mark.parametrize(("yaw", "pitch", "fov", "size"), [(0, 0, 90, 4), (170, 45, 60, 5), (-33, -80, 110, 3)])
def test_tangent_directions_equal_rays_turned_one_by_one(yaw: float, pitch: float, fov: float, size: int) -> None:
    found = sphere.tangent_directions(yaw, pitch, fov, size)
    half = math.tan(math.radians(fov / 2))
    for row in range(size):
        for column in range(size):
            right = ((column + 0.5) / size * 2 - 1) * half
            up = (1 - (row + 0.5) / size * 2) * half
            np.testing.assert_allclose(found[row, column], slow_direction(yaw, pitch, right, up), atol=1e-12)


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (179, 30), (-45, -45), (0, 90), (10, -90)])
def test_tangent_position_inverts_tangent_directions(yaw: float, pitch: float) -> None:
    x, y, angle = sphere.tangent_position(sphere.tangent_directions(yaw, pitch, 100, 6), yaw, pitch, 100)
    centres = (torch.arange(6, dtype=torch.float64) + 0.5) / 6 * 2 - 1
    torch.testing.assert_close(x, centres.expand(6, 6))
    torch.testing.assert_close(y, centres[:, None].expand(6, 6))
    half = math.tan(math.radians(50))
    expected = torch.rad2deg(torch.atan(torch.hypot(x, y) * half))
    torch.testing.assert_close(angle, expected)


def test_tangent_position_is_infinite_behind_the_camera() -> None:
    behind = sphere.direction_of(torch.tensor([180.0, 100.0]), torch.tensor([0.0, 0.0]))
    x, y, angle = sphere.tangent_position(behind, 0, 0, 90)
    assert torch.isinf(x).all()
    assert torch.isinf(y).all()
    np.testing.assert_allclose(angle, [180, 100], atol=1e-4)


def test_solid_angles_of_a_full_sphere_sum_to_4_pi() -> None:
    height, width = 10, 20
    pitch = 90 - (np.arange(height) + 0.5) * 18
    rows = sphere.solid_angle_of_rows(pitch, 18, width)
    assert rows.sum() * width == pytest.approx(4 * math.pi, rel=1e-12)


def test_solid_angle_of_one_row_is_its_integral() -> None:
    steps = 2000
    pitch = np.array([20.0, -61.0])
    found = sphere.solid_angle_of_rows(pitch, 5.0, 36)
    for value, middle in zip(found, pitch, strict=True):
        summed = 0.0
        for step in range(steps):
            summed += math.cos(math.radians(middle - 2.5 + (step + 0.5) * 5 / steps)) * math.radians(5 / steps)
        assert value == pytest.approx(summed * math.radians(10), rel=1e-6)


def test_hann_falls_from_one_to_zero_at_its_reach() -> None:
    distance = torch.tensor([0.0, 10.0, 20.0, 30.0, 45.0, 46.0, 400.0])
    expected = [math.cos(d / 45 * math.pi / 2) ** 2 if d < 45 else 0.0 for d in distance.tolist()]
    np.testing.assert_allclose(sphere.hann(distance, 45.0), expected, atol=1e-7)


def test_hann_copies_sum_to_one() -> None:
    x = torch.linspace(-50, 50, 101, dtype=torch.float64)
    total = sum(sphere.hann((x - 7.0 * copy).abs(), 7.0) for copy in range(-10, 11))
    torch.testing.assert_close(total, torch.ones_like(x))


def slow_position(
    size: tuple[int, int], vfov: float, horizon: float, pitch: float, roll: float, row: int, column: int
) -> tuple[float, float]:
    """Row and column that the pixel of a tilted image has in the level one: two rotation matrices, one pixel."""
    p, r = math.radians(pitch), math.radians(roll)
    about_ahead = np.array([[math.cos(r), math.sin(r), 0], [-math.sin(r), math.cos(r), 0], [0, 0, 1]])
    about_right = np.array([[1, 0, 0], [0, math.cos(p), math.sin(p)], [0, -math.sin(p), math.cos(p)]])
    up = math.radians((horizon - row - 0.5) / size[0] * vfov)
    yaw = math.radians((column + 0.5) / size[1] * 360 - 180)
    ray = np.array([math.cos(up) * math.sin(yaw), math.sin(up), math.cos(up) * math.cos(yaw)])
    x, y, z = about_right @ about_ahead @ ray
    up, yaw = math.degrees(math.atan2(y, math.hypot(x, z))), math.degrees(math.atan2(x, z))
    return horizon - up / vfov * size[0], (yaw + 180) / 360 * size[1]


@pytest.mark.parametrize(
    ("size", "vfov", "horizon"), [((8, 16), 180.0, 4.0), ((6, 20), 70.0, 3.0), ((5, 12), 60.0, 1.5)]
)
@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (5, 0), (0, -7), (-4, 3), (70, 120)])
@pytest.mark.parametrize("window", [None, (0, 0, 4, 8), (2, 7, 3, 11)])
def test_tilted_positions_equal_pixels_turned_one_by_one(
    size: tuple[int, int],
    vfov: float,
    horizon: float,
    pitch: float,
    roll: float,
    window: tuple[int, int, int, int] | None,
) -> None:
    rows, columns = sphere.tilted_positions(size, vfov, horizon, pitch, roll, window)
    top, left, height, width = window or (0, 0, *size)
    assert rows.shape == columns.shape == (height, width)
    assert rows.dtype == columns.dtype == torch.float64
    assert ((columns >= 0) & (columns <= size[1])).all()
    for row in range(height):
        for column in range(width):
            expected = slow_position(size, vfov, horizon, pitch, roll, top + row, left + column)
            assert float(rows[row, column]) == pytest.approx(expected[0], abs=1e-6)  # arcsine beside the poles
            around = (float(columns[row, column]) - expected[1] + size[1] / 2) % size[1] - size[1] / 2
            assert around == pytest.approx(0, abs=1e-9)


def test_without_a_tilt_every_pixel_stays() -> None:
    rows, columns = sphere.tilted_positions((6, 10), 108.0, 2.0, 0, 0)
    torch.testing.assert_close(rows, (torch.arange(6, dtype=torch.float64) + 0.5)[:, None].expand(6, 10))
    torch.testing.assert_close(columns, (torch.arange(10, dtype=torch.float64) + 0.5).expand(6, 10))


def test_pitch_looks_up_ahead_and_roll_takes_the_right_side_down() -> None:
    size, ahead, right = (181, 361), (90, 180), (90, 270)  # a degree per pixel, or nearly; the middle pixel looks ahead
    pitched, rolled = (sphere.tilted_positions(size, 181.0, 90.5, *angles)[0] for angles in ((10, 0), (0, 10)))
    assert float(pitched[ahead]) == pytest.approx(80.5)
    assert float(rolled[ahead]) == pytest.approx(90.5)
    assert float(pitched[right]) == pytest.approx(90.5, abs=0.1)
    assert float(rolled[right]) == pytest.approx(100.5, abs=0.1)


@pytest.mark.parametrize("row", [0, 1, 60, 2047, 4030, 4095])
def test_tilted_positions_are_exact_to_the_hundredth_pixel_at_8192(row: int) -> None:
    rows, columns = sphere.tilted_positions((4096, 8192), 180.0, 2048.0, 1.3, -2.1, (row, 0, 1, 8192))
    for column in range(0, 8192, 129):
        expected = slow_position((4096, 8192), 180.0, 2048.0, 1.3, -2.1, row, column)
        assert float(rows[0, column]) == pytest.approx(expected[0], abs=1e-3)
        assert float(columns[0, column]) == pytest.approx(expected[1], abs=1e-3)
