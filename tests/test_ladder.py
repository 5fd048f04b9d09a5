"""What the ladder compares our method with, against loops over pixels; and its tables."""

import importlib
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from goodsam.masks import PanoramaMasks, masks_from_arrays
from goodsam.panorama import geometry_of
from goodsam.views import Crop, Tangent, View, footprint, lay_views

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def module(name: str) -> ModuleType:
    """A module of the benchmarks, which are scripts and not a package."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


def slow_vote(labels: np.ndarray, masks: PanoramaMasks) -> np.ndarray:
    """`majority_vote` pixel by pixel."""
    geometry = geometry_of(labels.shape)
    painted = []
    for view, seen in masks.views:
        foot = footprint(view, geometry, labels.shape)
        pairs = list(zip(foot.index.tolist(), foot.nearest.tolist(), strict=True))
        for array in seen.to_arrays():
            member, names = array.ravel().tolist(), labels.ravel().tolist()
            inside = [pixel for pixel, nearest in pairs if member[nearest]]
            votes = Counter(names[pixel] for pixel in inside)
            winner = min(votes, key=lambda name: (-votes[name], name)) if votes else 0
            painted.append((int(array.sum()), inside, winner))
    after = labels.copy()
    for _, inside, winner in sorted(painted, key=lambda entry: -entry[0]):
        for pixel in inside:
            after.flat[pixel] = winner
    return after


@pytest.mark.parametrize("views", [(Crop(0.0, 180.0), Crop(170.0, 90.0)), (Tangent(180.0, 30.0, 90.0),)])
def test_majority_vote_equals_a_loop_over_pixels(views: tuple[View, ...]) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, (32, 64)).astype(np.uint8)
    sizes = {"crop": lambda view: (32, round(view.width / 360 * 64)), "tangent": lambda view: (32, 32)}
    seen = []
    for view in views:
        height, width = sizes[view.kind](view)
        rows, columns = np.mgrid[:height, :width]
        middles = random.uniform(0, 1, (9, 2)) * (height, width)
        arrays = [np.hypot(rows - y, columns - x) < r for (y, x), r in zip(middles, range(3, 12), strict=True)]
        seen.append((view, masks_from_arrays(np.array(arrays))))
    masks = PanoramaMasks((32, 64), "disks", (*seen, (Crop(90.0, 90.0), masks_from_arrays(np.zeros((0, 32, 16))))))
    found = module("ladder_steps").majority_vote(labels, masks, geometry_of((32, 64)))
    assert found.dtype == np.uint8
    assert np.array_equal(found, slow_vote(labels, masks))
    assert not np.array_equal(found, labels)


@pytest.mark.parametrize("size", [(16, 128), (64, 128)])
def test_true_masks_are_the_instances_and_leave_out_none(size: tuple[int, int]) -> None:
    instances = np.repeat(np.repeat(np.arange(8, dtype=np.uint16).reshape(2, 4) * 700, size[0] // 2, 0), 32, 1)
    geometry = geometry_of(size)
    masks = module("ladder_steps").true_masks(instances, geometry)
    assert [view for view, _ in masks.views] == list(lay_views(geometry))
    for view, seen in masks.views:
        foot = footprint(view, geometry, size)
        arrays = seen.to_arrays().reshape(len(seen), -1)[:, foot.nearest.numpy()]
        assert set(seen.ious) | set(seen.stabilities) <= {1.0}
        assert arrays.sum(0).max(initial=0) <= 1
        if view.kind == "crop":  # pixels of a tangent view lie beside the panorama's
            assert np.array_equal(arrays.any(0), instances.ravel()[foot.index.numpy()] > 0)
            for array in arrays:
                assert len(np.unique(instances.ravel()[foot.index.numpy()][array])) == 1
    named = module("ladder_steps").majority_vote((instances // 700).astype(np.uint8), masks, geometry)
    assert (named == instances // 700).mean() > 0.95


def test_markdown_names_every_rung_and_reference() -> None:
    difference = {"reference": "start", "difference": 0.0512, "low": -0.01, "high": 0.1, "seeds": 1}
    row = {"data": "strips", "images": 2, "miou": 0.5, "boundary_f1": None, "seam_miou": 0.25, "seconds": 3.0}
    result = {
        "rows": [row | {"rung": "start", "compared": []}, row | {"rung": "student", "compared": [difference] * 2}],
        "data": {"strips": {"images": 2, "size": [400, 2048]}, "unlabelled": {"images": 9, "size": [400, 2048]}},
        "scales": [{"data": "strips", "scale": 0.5, "confidence": 0.9, "dev_miou": 0.4, "chosen": True}],
        "stages": {"train": 61.2},
        "machine": {"cpu": "abacus", "cores": 2, "threads": 1, "device": "cpu"},
        "options": dict.fromkeys(("start", "steps", "batch_size", "train_size", "sam", "assistant"), "x"),
        "versions": {"torch": "2"},
    }
    text = module("ladder_table").markdown(result)
    assert "| start | 50.00 | - | 25.00 | 1.50 | - | - |" in text
    assert "| student | 50.00 | - | 25.00 | 1.50 | +5.12 [-1.00, +10.00] | start |" in text
    assert "|  |  |  |  |  | +5.12 [-1.00, +10.00] | start |" in text
    assert "| strips | 0.5 | 0.9000 | 40.00 | yes |" in text
    assert "train 61 s" in text
