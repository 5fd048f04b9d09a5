"""The bootstrap against the same draws done slowly, pixel sets instead of confusion matrices."""

import numpy as np
import pytest

from goodsam.bootstrap import Resampled, miou_of, paired_bootstrap
from goodsam.metrics import confusion_matrix, iou_of

CLASSES = 4


def some_maps(images: int, wrong: float, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Label maps (8, 10) in which a class or two may be missing, and predictions of which a share is wrong."""
    truth = np.random.default_rng(7)
    random = np.random.default_rng(seed)
    labels, predictions = [], []
    for index in range(images):
        label = truth.integers(0, CLASSES - index % 2, (8, 10)).astype(np.uint8)  # every other image lacks class 3
        label[truth.random(label.shape) < 0.1] = 255
        guess = np.where(label == 255, 0, label)
        guess = np.where(random.random(label.shape) < wrong, random.integers(0, CLASSES, label.shape), guess)
        guess[random.random(label.shape) < 0.05] = 255
        labels.append(label)
        predictions.append(guess.astype(np.uint8))
    return labels, predictions


def slow_miou(labels: list[np.ndarray], predictions: list[np.ndarray]) -> float:
    """From the pixels of all images side by side, class by class."""
    label, guess = np.concatenate(labels), np.concatenate(predictions)
    label, guess = label[label != 255], guess[label != 255]
    ious = [
        ((label == number) & (guess == number)).sum() / ((label == number) | (guess == number)).sum()
        for number in range(CLASSES)
        if (label == number).any()
    ]
    return float(np.mean(ious))


def counted(labels: list[np.ndarray], predictions: list[np.ndarray]) -> np.ndarray:
    return np.array([confusion_matrix(a, b, CLASSES) for a, b in zip(labels, predictions, strict=True)])


@pytest.mark.parametrize("images", [1, 6])
def test_equals_resampling_the_pixels_themselves(images: int) -> None:
    labels, poor = some_maps(images, 0.5, seed=1)
    same, good = some_maps(images, 0.2, seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(labels, same, strict=True))
    differences = []
    for drawn in np.random.default_rng(3).integers(images, size=(200, images)):
        scores = [slow_miou([labels[i] for i in drawn], [maps[i] for i in drawn]) for maps in (poor, good)]
        differences.append(scores[1] - scores[0])
    found = paired_bootstrap(counted(labels, poor), counted(labels, good), resamples=200, seed=3)
    assert found.difference == pytest.approx(slow_miou(labels, good) - slow_miou(labels, poor), abs=1e-12)
    assert found.low == pytest.approx(np.percentile(differences, 2.5), abs=1e-12)
    assert found.high == pytest.approx(np.percentile(differences, 97.5), abs=1e-12)


def test_the_interval_of_a_clear_difference_leaves_out_zero_and_of_none_holds_it() -> None:
    labels, poor = some_maps(30, 0.5, seed=1)
    good, other = (counted(labels, some_maps(30, share, seed=2)[1]) for share in (0.3, 0.5))
    poor_counts = counted(labels, poor)
    clear, none = paired_bootstrap(poor_counts, good), paired_bootstrap(poor_counts, other)
    assert 0 < clear.low < clear.difference < clear.high
    assert none.low < 0 < none.high
    back = paired_bootstrap(good, poor_counts)
    assert (back.difference, back.low, back.high) == pytest.approx((-clear.difference, -clear.high, -clear.low))
    same = paired_bootstrap(good, good)
    assert (same.difference, same.low, same.high) == (0, 0, 0)


def test_mean_over_classes_as_in_the_metrics() -> None:
    labels, predictions = some_maps(4, 0.4, seed=5)
    confusions = counted(labels, predictions)
    assert miou_of(confusions) == pytest.approx([np.nanmean(iou_of(item)) for item in confusions], abs=1e-12)
    assert np.isnan(miou_of(np.zeros((CLASSES, CLASSES + 1))))


def test_different_images_are_refused() -> None:
    labels, predictions = some_maps(3, 0.4, seed=5)
    confusions = counted(labels, predictions)
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_bootstrap(confusions, confusions[[1, 0, 2]])
    with pytest.raises(ValueError, match="not of the same images"):
        paired_bootstrap(confusions, confusions[:2])
    with pytest.raises(ValueError, match="not of the same images"):
        paired_bootstrap(confusions[:0], confusions[:0])


def resampled(confusions: np.ndarray) -> Resampled:
    found = Resampled(CLASSES)
    for index, confusion in enumerate(confusions):
        found.add(confusion, index)
    return found


def noisy(number: int, error: float, seed: int = 0) -> np.ndarray:
    """Confusion matrices of `number` images of which each has its own difficulty, the same for every `error`."""
    rng = np.random.default_rng(seed)
    found = []
    for hard in rng.random(number):
        labels = rng.integers(0, CLASSES, (30, 40)).astype(np.uint8)
        wrong = rng.random(labels.shape) < error * (0.5 + hard)
        found.append(
            confusion_matrix(labels, np.where(wrong, (labels + 1) % CLASSES, labels).astype(np.uint8), CLASSES)
        )
    return np.array(found)


def test_image_by_image_is_the_bootstrap_of_all_at_once() -> None:
    """Poisson draws instead of draws with replacement: the same interval, within what 2,000 resamples scatter by."""
    first, second = noisy(80, 0.3), noisy(80, 0.28)
    expected = paired_bootstrap(first, second)
    low, high = resampled(second).interval(resampled(first)) or [np.nan, np.nan]
    width = expected.high - expected.low
    assert abs(low - expected.low) < 0.15 * width
    assert abs(high - expected.high) < 0.15 * width
    alone = resampled(first).interval() or [np.nan, np.nan]
    assert alone[0] < miou_of(first.sum(0)) < alone[1]
    assert alone[1] - alone[0] > 2 * width  # what makes an image hard for both falls out of the difference


def test_each_resample_is_the_miou_of_its_own_draw() -> None:
    confusions = noisy(6, 0.3)
    found = resampled(confusions)
    times = [np.random.default_rng([0, index]).poisson(1.0, 2000) for index in range(6)]
    for resample in range(5):
        drawn = sum(times[index][resample] * confusions[index] for index in range(6))
        assert found.mious()[resample] == pytest.approx(miou_of(np.asarray(drawn)))


def test_one_image_has_no_interval() -> None:
    assert resampled(noisy(1, 0.3)).interval() is None
    assert Resampled(CLASSES).interval() is None
