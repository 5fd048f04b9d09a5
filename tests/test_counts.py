"""What is counted in one image, against counting pixel by pixel and against the field's own libraries."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import jaccard_score
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from goodsam.counts import BANDS, confusion_matrix, count, iou_of
from goodsam.labels import LABEL_SETS
from goodsam.metrics import Scores
from goodsam.panorama import geometry_of


def maps(seed: int, classes: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    coarse = rng.choice([*range(classes), 255], size=(-(-size[0] // 3), -(-size[1] // 3)))
    labels = coarse.repeat(3, axis=0).repeat(3, axis=1)[: size[0], : size[1]]
    prediction = np.where(rng.random(size) < 0.3, rng.integers(0, classes, size), np.roll(labels, 1, axis=1))
    return labels.astype(np.uint8), prediction.astype(np.uint8)


@pytest.mark.parametrize("classes", [1, 2, 13, 150, 254])
def test_every_number_of_classes_is_counted_pixel_by_pixel(classes: int) -> None:
    labels, prediction = maps(classes, classes, (40, 60))
    slow = np.zeros((classes, classes + 1), dtype=np.int64)
    for label, said in zip(labels.flat, prediction.flat, strict=True):
        if label != 255:
            slow[label, min(said, classes)] += 1
    assert np.array_equal(confusion_matrix(labels, prediction, classes), slow)
    assert np.array_equal(count(labels, prediction, classes, geometry_of((40, 60), 120)).confusion, slow)


def test_bands_of_latitude_and_their_solid_angle_against_counting() -> None:
    labels, prediction = maps(0, 3, (36, 24))
    geometry = geometry_of((36, 24), vfov=90, horizon=12)  # pitch 30 to -60
    found = count(labels, prediction, 3, geometry).panorama
    assert found is not None
    bands, area = np.zeros((BANDS, 3, 4), dtype=np.int64), np.zeros(BANDS)
    for row in range(36):
        top = 30 - row * 2.5
        solid_angle = (math.sin(math.radians(top)) - math.sin(math.radians(top - 2.5))) * 2 * math.pi / 24
        band = int((top - 1.25 + 90) // 15)
        for column in range(24):
            if labels[row, column] != 255:
                bands[band, labels[row, column], min(prediction[row, column], 3)] += 1
                area[band] += solid_angle
    assert np.array_equal(found.bands, bands)
    assert np.allclose(found.band_sphere, area)
    assert found.sphere.sum() == pytest.approx(area.sum())


def test_a_tall_map_is_counted_in_stretches_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, prediction = maps(1, 13, (64, 32))
    geometry = geometry_of((64, 32), vfov=180)
    whole = count(labels, prediction, 13, geometry)
    monkeypatch.setattr("goodsam.counts._CELLS", 1000)  # four rows at a time
    assert whole.panorama is not None
    parts = count(labels, prediction, 13, geometry).panorama
    assert parts is not None
    for name, value in vars(whole.panorama).items():
        assert np.allclose(value, getattr(parts, name)), name


@pytest.mark.parametrize("geometry", [geometry_of((4, 8)), None])
def test_values_that_are_no_class_are_named(geometry: object) -> None:
    zeros = np.zeros((4, 8), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"label value 7 is neither a class 0\.\.2 nor 255"):
        count(zeros + np.uint8(7), zeros, 3, geometry)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="predicted value 254 "):
        count(zeros, zeros + np.uint8(254), 3, geometry)  # type: ignore[arg-type]


@pytest.mark.parametrize("label_set", ["cityscapes19", "densepass13"])
def test_torchmetrics_and_scikit_learn_find_the_same(label_set: str) -> None:
    """All classes present, no missing predictions: what all three define alike."""
    classes = len(LABEL_SETS[label_set])
    pairs = [maps(seed, classes, (60, 120)) for seed in range(4)]
    pairs = [(labels, np.where(said == 255, 0, said).astype(np.uint8)) for labels, said in pairs]
    scores = Scores(LABEL_SETS[label_set])
    of_torch = MulticlassConfusionMatrix(classes, ignore_index=255)
    jaccard = MulticlassJaccardIndex(classes, average="none", ignore_index=255)
    for labels, said in pairs:
        scores.add(labels, said)
        for metric in (of_torch, jaccard):
            metric.update(torch.from_numpy(said).long(), torch.from_numpy(labels).long())
    truth, said = (np.concatenate([pair[index].ravel() for pair in pairs]) for index in range(2))
    truth, said = truth[truth != 255], said[truth != 255]
    found = scores.result("", "")
    assert np.array_equal(np.array(found.confusion)[:, :-1], of_torch.compute().numpy())
    assert np.array_equal(
        np.array(found.confusion)[:, :-1], sklearn_confusion(truth, said, labels=list(range(classes)))
    )
    assert np.allclose(list(found.per_class.values()), jaccard.compute().numpy())  # type: ignore[arg-type]
    assert found.miou == pytest.approx(jaccard_score(truth, said, average="macro"))
    assert found.pixel_accuracy == pytest.approx((truth == said).mean())


def test_iou_of_many_matrices_at_once() -> None:
    confusions = np.array([[[6, 2, 1], [0, 3, 0]], [[0, 0, 0], [1, 1, 1]]])
    assert np.allclose(iou_of(confusions), [[6 / 9, 3 / 5], [np.nan, 1 / 3]], equal_nan=True)
