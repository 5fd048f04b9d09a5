"""Where the pixels of a panorama lie, and which images are no panorama."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from goodsam.errors import UnreadableImageError
from goodsam.panorama import Panorama, geometry_of, read_panorama, wrap_pad


def test_square_pixels_by_default() -> None:
    assert geometry_of((400, 2048)).vfov == 70.3125
    full = geometry_of((8, 16))
    assert (full.vfov, full.horizon, full.degrees_per_row) == (180, 4, 22.5)


def test_pitch_of_rows_counts_down_from_the_upper_edge() -> None:
    geometry = geometry_of((6, 36), vfov=60, horizon=2)
    assert geometry.pitch_of_rows().tolist() == [15, 5, -5, -15, -25, -35]
    np.testing.assert_allclose(geometry.pitch_of_rows(3), [10, -10, -30])
    np.testing.assert_allclose(geometry_of((4, 8)).pitch_of_rows(), [67.5, 22.5, -22.5, -67.5])


def test_solid_angles_sum_to_the_full_sphere() -> None:
    geometry = geometry_of((16, 32))
    assert geometry.solid_angle_of_rows().sum() * 32 == pytest.approx(4 * math.pi, rel=1e-12)


@pytest.mark.parametrize("rows", [None, 5, 40])
def test_solid_angles_of_a_strip_sum_to_its_band(rows: int | None) -> None:
    geometry = geometry_of((20, 100), vfov=70, horizon=8)
    top, bottom = 8 * 3.5, -12 * 3.5
    band = 2 * math.pi * (math.sin(math.radians(top)) - math.sin(math.radians(bottom)))
    assert geometry.solid_angle_of_rows(rows).sum() * 100 == pytest.approx(band, rel=1e-12)


def test_scaled_keeps_the_band() -> None:
    geometry = geometry_of((20, 100), vfov=70, horizon=8)
    small = geometry.scaled(50)
    assert (small.height, small.width, small.vfov, small.horizon) == (10, 50, 70, 4)
    before, after = geometry.pitch_of_rows(), small.pitch_of_rows()
    np.testing.assert_allclose(after, (before[::2] + before[1::2]) / 2)


@pytest.mark.parametrize(("yaw", "column"), [(-180, 0), (0, 18), (-170, 1), (180, 0), (350, 17), (-190, 35)])
def test_column_of_yaw_wraps(yaw: float, column: int) -> None:
    assert geometry_of((10, 36)).column_of_yaw(yaw) == column


def test_rolled_moves_pixels_to_the_right_past_the_seam() -> None:
    pixels = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)
    rolled = Panorama(pixels, geometry_of((2, 5))).rolled(2).pixels
    for column in range(5):
        assert (rolled[:, (column + 2) % 5] == pixels[:, column]).all()


@pytest.mark.parametrize("columns", [0, 1, 3, 7])
def test_wrap_pad_repeats_the_other_edge(columns: int) -> None:
    pixels = np.arange(2 * 3 * 2).reshape(2, 3, 2)
    padded = wrap_pad(pixels, columns)
    assert padded.shape == (2, 3 + 2 * columns, 2)
    for column in range(3 + 2 * columns):
        assert (padded[:, column] == pixels[:, (column - columns) % 3]).all()


def test_an_image_taller_than_half_its_width_needs_vfov() -> None:
    with pytest.raises(ValueError, match=r"100x51 pixels is taller than half its width.*--vfov DEGREES.*2:1"):
        geometry_of((51, 100))
    assert geometry_of((51, 100), vfov=120).degrees_per_row == pytest.approx(120 / 51)
    assert geometry_of((50, 100)).vfov == 180


@pytest.mark.parametrize(
    ("vfov", "horizon", "message"),
    [
        (181, None, "181 degrees"),
        (0, None, "0 degrees"),
        (-5, None, "-5 degrees"),
        (100, 0, "-100.0 to 0.0"),
        (100, 10, "0.0 to 100.0"),
    ],
)
def test_a_band_that_leaves_the_sphere_is_refused(vfov: float, horizon: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=rf"{message}.*-90 to 90 \(--vfov, --horizon\)"):
        geometry_of((10, 40), vfov, horizon)


def test_a_tall_panorama_file_is_refused_by_name_and_taken_with_vfov(tmp_path: Path) -> None:
    path = tmp_path / "tall.png"
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    with pytest.raises(UnreadableImageError, match=r"tall\.png: 40x30 pixels is taller than half its width"):
        read_panorama(path)
    panorama = read_panorama(path, vfov=120, horizon=10)
    assert (panorama.pixels == pixels).all()
    assert (panorama.geometry.vfov, panorama.geometry.horizon) == (120, 10)
