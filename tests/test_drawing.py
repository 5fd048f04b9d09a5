"""Pictures: what is drawn where."""

import numpy as np

from goodsam.dar.merging import merge_masks
from goodsam.drawing import borders, heat, legend, mask_picture
from goodsam.labels import LABEL_SETS
from goodsam.masks import masks_from_arrays
from goodsam.panorama import geometry_of
from goodsam.views import Crop


def test_masks_are_drawn_where_they_are_and_a_small_one_is_seen_on_a_large_one() -> None:
    arrays = np.zeros((2, 40, 50), dtype=bool)
    arrays[0, 20:30, 20:30] = True
    arrays[1, 10:36, 10:40] = True
    empty = masks_from_arrays(np.zeros((0, 40, 50), dtype=bool))
    seen = [(Crop(yaw, 90.0), masks_from_arrays(arrays) if yaw == -90 else empty) for yaw in range(-180, 180, 90)]
    pixels = np.full((40, 200, 3), 100, dtype=np.uint8)
    picture = mask_picture(pixels, merge_masks(seen, geometry_of((40, 200), 72.0)))
    assert picture.shape == pixels.shape
    plain = picture[0, 0]
    assert plain.tolist() == [100, 100, 100]
    view = picture[:, 25:75]  # 90 degrees around yaw -90
    assert (picture[:, 75:] == plain).all()
    assert (view[:10] == plain).all()
    large, small = view[15, 15], view[25, 25]
    assert len({tuple(color) for color in (plain, large, small)}) == 3
    assert view[20, 25].min() > max(large.min(), small.min())  # an outline, near white


def test_borders_are_beside_another_value_and_wrap() -> None:
    values = np.zeros((4, 6), dtype=np.uint8)
    values[1:3, 0:2] = 1
    expected = np.zeros((4, 6), dtype=bool)
    for row in range(4):
        for column in range(6):
            around = [(row, (column + 1) % 6), (row, (column - 1) % 6)]
            around += [(r, column) for r in (row - 1, row + 1) if 0 <= r < 4]
            expected[row, column] = any(values[place] != values[row, column] for place in around)
    np.testing.assert_array_equal(borders(values), expected)
    assert expected[1, 5]


def test_heat_grows_in_brightness() -> None:
    shown = heat(np.linspace(0, 1, 50)[None]).astype(float)[0] @ [0.299, 0.587, 0.114]
    assert (np.diff(shown) > 0).all()


def test_the_legend_names_every_class_in_its_colour() -> None:
    label_set = LABEL_SETS["densepass13"]
    picture = legend(label_set, np.full(13, 1 / 13), 700)
    assert picture.shape[1] == 700
    found = {tuple(color) for color in picture.reshape(-1, 3).tolist()}
    assert set(label_set.colors) <= found
