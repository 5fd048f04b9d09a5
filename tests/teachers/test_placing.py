"""Where prompts go: on what the assistant sees, then on what is open, each place once."""

import numpy as np
import pytest
from scipy import ndimage

from goodsam.teachers.placing import SURE, Hint, one_per_area, one_per_cell, still_open

SIDE = 1
"""Cells along each side of the lattice: one of 24 x 36 cells of the hint has 864, a 64th of which are 13.5."""


def hint_of(labels: np.ndarray, confidence: float = 1.0) -> Hint:
    return Hint(labels.astype(np.uint8), np.full(labels.shape, confidence, dtype=np.float32))


def blobs(seed: int, size: tuple[int, int] = (24, 36)) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 4, (size[0] // 6, size[1] // 6))
    return coarse.repeat(6, axis=0).repeat(6, axis=1)


def cells(points: np.ndarray, size: tuple[int, int]) -> list[tuple[int, int]]:
    assert ((points > 0) & (points < 1)).all()
    return [(int(y * size[0]), int(x * size[1])) for x, y in points]


@pytest.mark.parametrize("seed", range(4))
def test_every_area_is_asked_about_once_and_inside(seed: int) -> None:
    labels = blobs(seed)
    labels[0:2, 0:2] = 9  # too small for a question of its own
    asked = cells(one_per_area(hint_of(labels), SIDE), labels.shape)
    expected = 0
    for value in np.unique(labels):
        areas, number = ndimage.label(labels == value)
        for area in range(1, number + 1):
            inside = sum(areas[cell] == area for cell in asked)
            large = (areas == area).sum() >= 24 * 36 / (64 * SIDE**2)
            assert inside == large
            expected += large
    assert len(asked) == expected


def test_the_innermost_point_is_farthest_from_other_areas() -> None:
    labels = np.zeros((20, 40), dtype=int)
    labels[4:15, 10:31] = 1
    (cell,) = (cell for cell in cells(one_per_area(hint_of(labels), SIDE), labels.shape) if labels[cell] == 1)
    assert cell[0] == 9  # rows 4..14
    assert 14 <= cell[1] <= 26


def test_outside_the_panorama_nothing_is_asked() -> None:
    labels = np.full((20, 20), 255)
    assert one_per_area(hint_of(labels), SIDE).shape == (0, 2)
    assert not still_open(hint_of(labels, 0.0), np.zeros(labels.shape, dtype=bool)).any()


def test_open_is_uncovered_or_unsure_or_on_a_border() -> None:
    labels = np.zeros((6, 12))
    labels[:, 6:] = 1
    hint = hint_of(labels)
    hint.confidence[0, 0] = SURE - 0.01
    covered = np.ones(labels.shape, dtype=bool)
    covered[5, 11] = False
    expected = np.zeros(labels.shape, dtype=bool)
    expected[:, 5:7] = expected[0, 0] = expected[5, 11] = True
    assert np.array_equal(still_open(hint, covered), expected)


def test_a_cell_of_the_lattice_is_asked_once_and_only_where_something_is_open() -> None:
    wanted = np.zeros((16, 16), dtype=bool)
    wanted[0:8, 0:8] = True  # the upper left quarter: cells 0, 1, 4, 5 of a lattice of 4
    wanted[15, 15] = True  # a corner alone
    asked = np.array([[0.05, 0.05]])  # cell 0 has been asked
    points = cells(one_per_cell(wanted, asked, 4), wanted.shape)
    assert sorted((row // 4, column // 4) for row, column in points) == [(0, 1), (1, 0), (1, 1)]
    assert all(wanted[cell] for cell in points)
    again = np.concatenate([asked, one_per_cell(wanted, asked, 4)])
    assert one_per_cell(wanted, again, 4).shape == (0, 2)


def test_nothing_open_asks_nothing() -> None:
    assert one_per_cell(np.zeros((8, 8), dtype=bool), np.zeros((0, 2)), 4).shape == (0, 2)
