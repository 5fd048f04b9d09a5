"""Metrics against slow, independent counting, and at the edges of their definition."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest

from goodsam.boundary_f1 import boundary_f1
from goodsam.labels import LABEL_SETS, LabelSet
from goodsam.metrics import Scores, confusion_matrix, iou_of
from goodsam.panorama import geometry_of

THREE = LabelSet("three", ("road", "sky", "car"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
Maps = list[tuple[np.ndarray, np.ndarray]]


def random_maps(seed: int, size: tuple[int, int] = (14, 24), classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Blobs rather than noise, so that boundaries are apart; both with some 255."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice([*range(classes), 255], size=(-(-size[0] // 4), -(-size[1] // 4)), p=_shares(classes))
    labels = coarse.repeat(4, axis=0).repeat(4, axis=1)[: size[0], : size[1]]
    prediction = np.roll(labels, int(rng.integers(-2, 3)), axis=1)
    flipped = rng.random(size) < 0.05
    prediction = np.where(flipped, rng.choice([*range(classes), 255], size=size), prediction)
    return labels.astype(np.uint8), prediction.astype(np.uint8)


def _shares(classes: int) -> list[float]:
    return [0.9 / classes] * classes + [0.1]


def slow_confusion(labels: np.ndarray, prediction: np.ndarray, classes: int, weights: np.ndarray) -> np.ndarray:
    counts = np.zeros((classes, classes + 1))
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            if labels[row, column] != 255:
                predicted = min(int(prediction[row, column]), classes)
                counts[labels[row, column], predicted] += weights[row]
    return counts


def slow_iou(maps: Maps, class_id: int, weights: np.ndarray, columns: list[int]) -> float | None:
    """By sets of pixels: |label and prediction| / |label or prediction|, over all images."""
    both = either = present = 0.0
    for labels, prediction in maps:
        for row in range(labels.shape[0]):
            for column in columns:
                if labels[row, column] == 255:
                    continue
                is_label, is_predicted = labels[row, column] == class_id, prediction[row, column] == class_id
                present += is_label
                both += weights[row] * (is_label and is_predicted)
                either += weights[row] * (is_label or is_predicted)
    return both / either if present else None


def mean(values: list[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None


@pytest.mark.parametrize("seed", range(3))
def test_confusion_matrix(seed: int) -> None:
    labels, prediction = random_maps(seed)
    weights = np.random.default_rng(seed).random(labels.shape[0])
    ones = np.ones(labels.shape[0])
    assert np.array_equal(confusion_matrix(labels, prediction, 3), slow_confusion(labels, prediction, 3, ones))
    found = confusion_matrix(labels, prediction, 3, weights)
    assert np.allclose(found, slow_confusion(labels, prediction, 3, weights))
    assert confusion_matrix(labels, prediction, 3).dtype == np.int64


def test_confusion_matrix_refuses_other_values_and_sizes() -> None:
    zeros = np.zeros((2, 2), dtype=np.uint8)
    with pytest.raises(ValueError, match="label value 7 "):
        confusion_matrix(zeros + np.uint8(7), zeros, 3)
    with pytest.raises(ValueError, match="predicted value 3 "):
        confusion_matrix(zeros, zeros + np.uint8(3), 3)
    with pytest.raises(ValueError, match="differ in size"):
        confusion_matrix(zeros, zeros[:1], 3)


def test_iou_by_hand() -> None:
    confusion = np.array([[6, 2, 0, 1], [0, 3, 0, 0], [0, 0, 0, 0]])
    assert np.allclose(iou_of(confusion), [6 / 9, 3 / 5, np.nan], equal_nan=True)


def slow_boundary_f1(labels: np.ndarray, prediction: np.ndarray, class_id: int, wrap: bool) -> float:
    height, width = labels.shape

    def around(row: int, column: int) -> list[tuple[int, int]]:
        cells = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        if wrap:
            cells = [(r, c % width) for r, c in cells]
        return [(r, c) for r, c in cells if 0 <= r < height and 0 <= c < width]

    def outline(ids: np.ndarray) -> list[tuple[int, int]]:
        return [
            (r, c)
            for r in range(height)
            for c in range(width)
            if ids[r, c] == class_id and any(ids[cell] != class_id for cell in around(r, c))
        ]

    def counts(cell: tuple[int, int]) -> bool:
        return labels[cell] != 255 and all(labels[other] != 255 for other in around(*cell))

    def distance(a: tuple[int, int], b: tuple[int, int]) -> float:
        across = abs(a[1] - b[1])
        return math.hypot(a[0] - b[0], min(across, width - across) if wrap else across)

    def share(own: list[tuple[int, int]], other: list[tuple[int, int]]) -> float | None:
        counted = [cell for cell in own if counts(cell)]
        met = [cell for cell in counted if any(distance(cell, target) <= 3 for target in other)]
        return len(met) / len(counted) if counted else None

    recall, precision = share(outline(labels), outline(prediction)), share(outline(prediction), outline(labels))
    if recall is None:
        return math.nan
    return 2 * recall * precision / (recall + precision) if precision and recall else 0.0


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_boundary_f1(seed: int, wrap: bool) -> None:
    labels, prediction = random_maps(seed)
    if seed == 5:
        labels, prediction = np.ascontiguousarray(labels[:2, :2]), np.ascontiguousarray(prediction[:2, :2])
    expected = [slow_boundary_f1(labels, prediction, class_id, wrap) for class_id in range(3)]
    assert np.allclose(boundary_f1(labels, prediction, 3, wrap), expected, equal_nan=True)


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (3, 1.0), (4, 0.0)])
def test_boundary_tolerance_is_three_pixels(shift: int, expected: float) -> None:
    labels = np.zeros((8, 40), dtype=np.uint8)
    labels[:, 20:] = 1
    f1 = boundary_f1(labels, np.roll(labels, shift, axis=1), 2, wrap=True)
    assert np.allclose(f1, expected)


def test_boundary_meets_across_the_seam() -> None:
    """The edge of class 1 lies at column 39 in the labels and at column 1 in the prediction: two apart."""
    labels, prediction = np.zeros((6, 40), dtype=np.uint8), np.zeros((6, 40), dtype=np.uint8)
    labels[:, 20:39] = 1
    prediction[:, 20:] = 1
    prediction[:, 0:1] = 1
    assert np.allclose(boundary_f1(labels, prediction, 2, wrap=True), 1)
    assert boundary_f1(labels, prediction, 2, wrap=False).min() < 1


def test_scores_against_slow_counting() -> None:
    maps = [random_maps(seed, (12, 72)) for seed in range(3)]
    geometry = geometry_of((12, 72), vfov=120)
    scores = Scores(THREE)
    for labels, prediction in maps:
        scores.add(labels, prediction, geometry)
    found = scores.result("labels:x", "folder:y")
    ones, everywhere = np.ones(12), list(range(72))
    pitch = [math.radians(60 - 10 * row) for row in range(13)]
    solid_angle = np.array([math.sin(upper) - math.sin(lower) for upper, lower in pairwise(pitch)])
    per_class = [slow_iou(maps, class_id, ones, everywhere) for class_id in range(3)]
    assert list(found.per_class.values()) == pytest.approx(per_class)
    assert found.miou == pytest.approx(mean(per_class))
    assert found.miou_sphere == pytest.approx(mean([slow_iou(maps, c, solid_angle, everywhere) for c in range(3)]))
    assert found.seam_miou == pytest.approx(mean([slow_iou(maps, c, ones, [0, 71]) for c in range(3)]))
    f1 = [[slow_boundary_f1(*pair, c, True) for pair in maps] for c in range(3)]
    assert found.boundary_f1 == pytest.approx(np.nanmean(np.nanmean(np.array(f1), axis=1)))
    pairs = [(a, b) for m in maps for a, b in zip(m[0].flat, m[1].flat, strict=True) if a != 255]
    assert found.pixel_accuracy == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert found.coverage == pytest.approx(sum(b != 255 for _, b in pairs) / len(pairs))
    assert (found.images, found.pixels, found.ignored) == (3, 3 * 12 * 72, 3 * 12 * 72 - len(pairs))
    assert np.array(found.confusion).shape == (3, 4)


def test_seam_counts_columns_within_five_degrees() -> None:
    labels = np.zeros((4, 360), dtype=np.uint8)
    right = labels.copy()
    right[:, 5:355] = 1  # wrong everywhere but near the seam
    scores = Scores(THREE)
    scores.add(labels, right, geometry_of((4, 360), vfov=60))
    assert scores.result("", "").seam_miou == 1
    right[:, 354] = 0
    right[:, 355] = 1
    scores = Scores(THREE)
    scores.add(labels, right, geometry_of((4, 360), vfov=60))
    assert scores.result("", "").seam_miou == pytest.approx(0.9)


def test_metrics_json_has_the_keys_of_the_design_in_order() -> None:
    scores = Scores(LABEL_SETS["densepass13"])
    scores.add(*random_maps(0, classes=13))
    value = json.loads(json.dumps(scores.result("student:a", "folder:b").to_json(), allow_nan=False))
    assert list(value) == [
        *("subject", "data", "label_set", "images", "pixels", "ignored", "ignored_share", "coverage", "miou"),
        *("miou_interval", "miou_sphere", "pixel_accuracy", "seam_miou", "latitudes", "boundary_f1", "per_class"),
        *("confusion", "weights"),
    ]
    assert (value["subject"], value["data"], value["label_set"]) == ("student:a", "folder:b", "densepass13")
    assert list(value["per_class"]) == list(LABEL_SETS["densepass13"].names)


def test_flat_photos_have_no_seam_and_no_sphere() -> None:
    scores = Scores(THREE)
    scores.add(*random_maps(1))
    result = scores.result("", "")
    assert result.miou is not None
    assert result.boundary_f1 is not None
    assert result.miou_sphere is result.seam_miou is None


def test_class_only_predicted_is_no_class_but_its_pixels_are_wrong() -> None:
    labels = np.zeros((4, 8), dtype=np.uint8)
    prediction = labels.copy()
    prediction[:, :2] = 2
    scores = Scores(THREE)
    scores.add(labels, prediction)
    result = scores.result("", "")
    assert result.per_class == {"road": 0.75, "sky": None, "car": None}
    assert (result.miou, result.pixel_accuracy, result.coverage) == (0.75, 0.75, 1)


def test_predicted_255_is_wrong_and_not_covered() -> None:
    labels = np.zeros((4, 8), dtype=np.uint8)
    labels[:, 4:] = 1
    prediction = labels.copy()
    prediction[:, :1] = 255
    scores = Scores(THREE)
    scores.add(labels, prediction)
    result = scores.result("", "")
    assert (result.per_class["road"], result.per_class["sky"]) == (0.75, 1)
    assert (result.pixel_accuracy, result.coverage) == (0.875, 0.875)


@pytest.mark.parametrize("geometry", [geometry_of((4, 8)), None])
def test_all_ignored(geometry: object) -> None:
    scores = Scores(THREE)
    scores.add(np.full((4, 8), 255, dtype=np.uint8), np.zeros((4, 8), dtype=np.uint8), geometry)  # type: ignore[arg-type]
    result = scores.result("", "")
    assert result.pixels == result.ignored == 32
    assert result.miou is result.miou_sphere is result.seam_miou is result.boundary_f1 is None
    assert result.coverage is result.pixel_accuracy is None
    assert set(result.per_class.values()) == {None}


def test_nothing_added() -> None:
    result = Scores(THREE).result("", "")
    assert result.images == result.pixels == 0
    assert result.miou is result.boundary_f1 is None


def test_what_was_added_up_can_be_kept_and_gone_on_with() -> None:
    pairs = [random_maps(seed, (12, 72)) for seed in range(4)]
    geometry = geometry_of((12, 72), vfov=120)
    whole, first = Scores(THREE), Scores(THREE)
    for index, pair in enumerate(pairs):
        whole.add(*pair, geometry)
        if index < 2:
            first.add(*pair, geometry)
    second = Scores(THREE)
    second.restore({name: value.copy() for name, value in first.state().items()})
    for pair in pairs[2:]:
        second.add(*pair, geometry)
    assert second.result("a", "b") == whole.result("a", "b")


def test_latitudes_add_up_to_the_whole_and_each_is_its_own_rows() -> None:
    labels, prediction = random_maps(2, (36, 72))
    scores = Scores(THREE)
    scores.add(labels, prediction, geometry_of((36, 72), vfov=180))
    bands = scores.result("", "").latitudes or []
    assert [(band["from"], band["to"]) for band in bands] == [(low, low + 15) for low in range(75, -91, -15)]
    assert sum(band["share"] or 0 for band in bands) == pytest.approx(1)
    for index, band in enumerate(bands):
        rows = slice(3 * index, 3 * index + 3)
        only = Scores(THREE)
        only.add(labels[rows], prediction[rows])
        assert band["miou"] == only.result("", "").miou


def test_the_share_of_ignored_pixels() -> None:
    labels = np.zeros((4, 8), dtype=np.uint8)
    labels[:, :2] = 255
    scores = Scores(THREE)
    scores.add(labels, labels)
    found = scores.result("", "")
    assert (found.ignored, found.ignored_share) == (8, 0.25)


def test_an_interval_over_images() -> None:
    scores = Scores(THREE)
    for seed in range(12):
        scores.add(*random_maps(seed))
    found = scores.result("", "")
    assert found.miou is not None
    assert found.miou_interval is not None
    assert 0 < found.miou_interval[0] < found.miou < found.miou_interval[1] < 1
