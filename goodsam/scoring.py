"""One pass over a data set: images are read ahead, labelled by one or several subjects, and counted, in threads.

Networks label in the caller's thread, one image at a time; reading before it and counting after it go on beside it.
What comes out is in the order of the data, and does not depend on how many threads there are.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from goodsam.ahead import ahead
from goodsam.counts import Counts, count
from goodsam.datasets import Dataset
from goodsam.errors import UnreadableImageError
from goodsam.images import read_photo, read_size
from goodsam.panorama import Geometry, geometry_of, read_panorama
from goodsam.subjects import Image, Subject


@dataclass(frozen=True)
class Sight:
    """How the images of a data set are looked at."""

    projection: Literal["panorama", "photo"]
    """Whether they wrap."""
    vfov: float | None
    """Vertical field of view of panoramas, degrees; None for square pixels."""
    horizon: float | None
    """Row of pitch 0 in the image, pixels from the upper edge; None for the middle."""


@dataclass(frozen=True)
class Case:
    """An image and its labels."""

    stem: str
    path: Path
    labels: np.ndarray
    """uint8 (H, W)."""
    image: Image | None
    """None where no subject looks at it."""
    geometry: Geometry | None
    """Of the panorama at the labels' size; None for a flat photo."""


@dataclass(frozen=True)
class Scored:
    """An image with what the subjects said of it."""

    case: Case
    predictions: list[np.ndarray]
    """Per subject, uint8 (H, W), at the labels' size."""
    counts: list[Counts]


def score(
    subjects: Sequence[Subject],
    dataset: Dataset,
    sight: Sight,
    *,
    first: int = 0,
    limit: int | None = None,
    workers: int,
) -> Iterator[Scored]:
    """Label and count the images of a data set.

    Args:
        subjects: what is evaluated, each in the data's label set.
        dataset: images with labels.
        sight: how its images are looked at.
        first: images to pass over.
        limit: the place of the image before which to stop; None for all.
        workers: threads that read and count.
    Yields:
        images in the order of the data.
    Raises:
        GoodSAMError: an image or label map that cannot be read, or holds what is no class.
    """
    look = any(subject.looks for subject in subjects)
    classes = len(dataset.label_set)
    items = list(dataset)[first:limit]

    def read(item: tuple[str, Path, Path]) -> Case:
        return _read(dataset, item, sight, look)

    def by_networks(cases: Iterable[Case]) -> Iterator[tuple[Case, list[np.ndarray | None]]]:
        for case in cases:
            yield case, [subject.predict(case.stem, case.image) if subject.looks else None for subject in subjects]

    def counted(found: tuple[Case, list[np.ndarray | None]]) -> Scored:
        case, said = found
        raw = [
            subject.predict(case.stem, None) if prediction is None else prediction
            for subject, prediction in zip(subjects, said, strict=True)
        ]
        sized = [resize_labels(prediction, case.labels.shape) for prediction in raw]
        return Scored(case, sized, [count(case.labels, prediction, classes, case.geometry) for prediction in sized])

    with ThreadPoolExecutor(workers) as pool:
        yield from ahead(pool, counted, by_networks(ahead(pool, read, items, workers)), workers)


def _read(dataset: Dataset, item: tuple[str, Path, Path], sight: Sight, look: bool) -> Case:
    stem, path, label_path = item
    labels = dataset.read_labels(label_path)
    if sight.projection == "photo":
        return Case(stem, path, labels, read_photo(path) if look else None, None)
    if look:
        panorama = read_panorama(path, sight.vfov, sight.horizon)
        return Case(stem, path, labels, panorama, _at_size(panorama.geometry, labels.shape))
    try:
        geometry = geometry_of(read_size(path), sight.vfov, sight.horizon)
    except ValueError as error:
        raise UnreadableImageError(f"{path}: {error}.") from error
    return Case(stem, path, labels, None, _at_size(geometry, labels.shape))


def _at_size(geometry: Geometry, size: tuple[int, ...]) -> Geometry:
    """The same band of the sphere on a grid of another size (H, W)."""
    return Geometry(size[0], size[1], geometry.vfov, geometry.horizon * size[0] / geometry.height)


def resize_labels(labels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A label map (h, w) at another size (H, W), nearest neighbour."""
    if labels.shape == tuple(size):
        return labels
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64) for new, old in zip(size, labels.shape, strict=True)
    )
    return labels[rows[:, None], columns]
