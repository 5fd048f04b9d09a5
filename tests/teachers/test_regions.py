"""Regions as masks: nested, covering, without doubles, the same every time."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from goodsam.masks import masks_from_arrays
from goodsam.teachers import Teacher
from goodsam.teachers.region_merging import merge_regions
from goodsam.teachers.regions import RegionOptions, cut_regions, load_regions

SHARED = Path(__file__).resolve().parents[3] / "shared" / "panoramas" / "panoramax"


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """Sky over ground with a red square and a small blue one, and grain."""
    image = np.zeros((96, 128, 3), dtype=np.int64)
    image[:40], image[40:] = (120, 170, 230), (90, 90, 90)
    image[30:70, 20:60] = (200, 30, 30)
    image[50:58, 90:98] = (20, 20, 200)
    grain = np.random.default_rng(0).integers(-3, 4, image.shape)
    return (image + grain).clip(0, 255).astype(np.uint8)


def test_finds_objects(scene: np.ndarray) -> None:
    arrays = load_regions(RegionOptions(numbers=(8, 4))).masks(scene).to_arrays()
    for rows, columns in ((slice(30, 70), slice(20, 60)), (slice(50, 58), slice(90, 98))):
        truth = np.zeros(scene.shape[:2], dtype=bool)
        truth[rows, columns] = True
        ious = (arrays & truth).sum((1, 2)) / (arrays | truth).sum((1, 2))
        assert ious.max() > 0.9


def test_interface(scene: np.ndarray) -> None:
    teacher: Teacher = load_regions(RegionOptions(scale=50))
    assert teacher.name == "regions"
    assert teacher.weights == ()
    assert teacher.options()["scale"] == 50
    assert teacher.options()["numbers"] == [128]
    masks = teacher.masks(scene)
    assert set(masks.ious) == set(masks.stabilities) == {None}
    assert list(masks.areas) == sorted(masks.areas, reverse=True)


def test_run_lengths_are_those_of_the_dense_masks() -> None:
    """Written without dense arrays; pycocotools makes the same bytes from the dense ones, more than 255 of them."""
    image = np.random.default_rng(1).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    masks = load_regions(RegionOptions(scale=1, sigma=0, smallest=0.001)).masks(image)
    assert len(masks) > 255
    arrays = masks.to_arrays()
    assert masks == masks_from_arrays(arrays)
    assert len(set(masks.counts)) == len(masks)
    assert arrays.any(0).all()
    assert min(masks.areas) >= 0.0002 * image.shape[0] * image.shape[1]


def test_same_image_same_bytes(scene: np.ndarray) -> None:
    assert load_regions().masks(scene) == load_regions().masks(scene.copy())


def test_scales_are_nested_and_have_the_numbers_asked_for() -> None:
    image = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    _, scales = cut_regions(image, RegionOptions(scale=1, sigma=0, numbers=(5, 20)))
    assert [len(np.unique(scale)) for scale in scales[1:]] == [20, 5]
    for fine, coarse in pairwise(scales):
        pairs = {(int(a), int(b)) for a, b in zip(fine, coarse, strict=True)}
        assert len(pairs) == len(np.unique(fine))  # each fine region lies in one coarse region


def test_merges_the_cheapest_pair_first() -> None:
    """Against a slow search over all neighbouring pairs."""
    rng = np.random.default_rng(3)
    finest = np.arange(12).reshape(3, 4).repeat(2, axis=0).repeat(3, axis=1)
    values = rng.normal(size=(12, 2))[finest]
    for number in (9, 4, 2):
        found = merge_regions(finest, values, [number])[1]
        expected = _slow_merge(finest, values, number)
        assert {tuple(np.flatnonzero(found == root)) for root in found} == expected


def _slow_merge(finest: np.ndarray, values: np.ndarray, number: int) -> set[tuple[int, ...]]:
    groups = [{region} for region in range(finest.max() + 1)]
    while len(groups) > number:
        best = None
        for i, a in enumerate(groups):
            for j, b in enumerate(groups[:i]):
                in_a, in_b = np.isin(finest, list(a)), np.isin(finest, list(b))
                touch = (in_a[1:] & in_b[:-1]).any() or (in_b[1:] & in_a[:-1]).any()
                touch |= (in_a[:, 1:] & in_b[:, :-1]).any() or (in_b[:, 1:] & in_a[:, :-1]).any()
                both = in_a | in_b
                added = sum(
                    sign * ((values[part] - values[part].mean(0)) ** 2).sum()
                    for part, sign in ((both, 1), (in_a, -1), (in_b, -1))
                )
                if touch and (best is None or added < best[0]):
                    best = (added, i, j)
        assert best is not None
        groups[best[2]] |= groups.pop(best[1])
    return {tuple(sorted(group)) for group in groups}


def test_large_images_are_cut_at_the_working_resolution(scene: np.ndarray) -> None:
    large = scene.repeat(5, axis=0).repeat(5, axis=1)
    finest, _ = cut_regions(large, RegionOptions(working_pixels=96 * 128))
    assert finest.shape == (96, 128)
    masks = load_regions(RegionOptions(working_pixels=96 * 128)).masks(large)
    assert masks.size == (480, 640)
    small = load_regions().masks(scene).to_arrays()
    assert np.array_equal(masks.to_arrays(), small.repeat(5, axis=1).repeat(5, axis=2))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1)])
def test_tiny_and_even_images(size: tuple[int, int]) -> None:
    masks = load_regions().masks(np.zeros((*size, 3), dtype=np.uint8))
    assert masks.areas == (size[0] * size[1],)


def test_refuses_other_arrays() -> None:
    with pytest.raises(ValueError, match="uint8"):
        load_regions().masks(np.zeros((4, 4, 3), dtype=np.float32))


@pytest.mark.shared
def test_on_a_street_panorama() -> None:
    paths = sorted(SHARED.glob("*.jpg"))
    if not paths:
        pytest.skip(f"no panoramas at {SHARED}")
    with Image.open(paths[0]) as image:
        view = np.array(image)[:, 600:1112]
    masks = load_regions(RegionOptions(numbers=(128, 16))).masks(view)
    assert 100 < len(masks) < 1500
    shares = np.array(masks.areas) / (view.shape[0] * view.shape[1])
    assert shares.max() > 0.1  # the sky or the road, whole
    assert shares.min() > 0.0002
