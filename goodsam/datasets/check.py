"""`goodsam data check`: every label map read and every image measured; what was found beside what was published."""

import logging
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from goodsam.datasets import Dataset, densepass, parse_data, training_images, wildpass
from goodsam.datasets.published import PublishedData
from goodsam.errors import GoodSAMError
from goodsam.images import read_size
from goodsam.labels import IGNORE, LabelSet
from goodsam.progress import Progress, Silent

log = logging.getLogger(__name__)

UNLABELLED = {"densepass": densepass.UNLABELLED, "wildpass": wildpass.UNLABELLED}
"""Kind -> number of its unlabelled images as published."""


@dataclass(frozen=True)
class Checked:
    """What a data set holds."""

    data: str
    """As it was asked for."""
    label_set: LabelSet
    sizes: dict[tuple[int, int], int]
    """Height and width, pixels -> images of that size."""
    pixels: np.ndarray
    """int64 (256,): pixels by id, ignored ones at 255."""
    seen_in: np.ndarray
    """int64 (256,): images in which an id is found."""
    images: int
    expected: int | None
    """Number of labelled images as published; None for data of one's own."""
    unlabelled: int | None
    """Unlabelled images that are there; None for kinds without them."""
    expected_unlabelled: int | None


def check_data(data: str, workers: int | None = None, progress: Progress | None = None) -> Checked:
    """Read all of a data set; other numbers of images than published are warned of.

    Args:
        data: as `datasets.parse_data` takes it.
        workers: threads that read; None for one per core, four at most.
        progress: shows how far it has come.
    Raises:
        GoodSAMError: what `parse_data` finds wrong, else of the first wrong file in sorted order: unreadable, a value
            that is no class, or a label map of another size than its image.
    """
    if workers is not None and workers < 1:
        raise GoodSAMError(f"--workers {workers}: must be at least 1.")
    dataset = parse_data(data)
    sizes: Counter[tuple[int, int]] = Counter()
    pixels, seen_in = np.zeros(256, dtype=np.int64), np.zeros(256, dtype=np.int64)
    pool = ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1))
    try:
        found = pool.map(lambda item: _check_item(dataset, item), dataset)
        for size, counts in (progress or Silent()).track(found, len(dataset), "data check"):
            sizes[size] += 1
            pixels += counts
            seen_in += counts > 0
    finally:
        pool.shutdown(cancel_futures=True)
    expected = dataset.expected if isinstance(dataset, PublishedData) else None
    kind = data.partition(":")[0]
    unlabelled = _unlabelled(data) if kind in UNLABELLED else None
    checked = Checked(
        data, dataset.label_set, dict(sizes.most_common()), pixels, seen_in, len(dataset), expected, unlabelled,
        UNLABELLED.get(kind),
    )  # fmt: skip
    for number, published, what in _numbers(checked):
        if published is not None and number != published:
            log.warning("%s: %d %s; published are %d.", data, number, what, published)
    return checked


def _check_item(dataset: Dataset, item: tuple[str, Path, Path]) -> tuple[tuple[int, int], np.ndarray]:
    """Size, and pixels by id, int64 (256,), of an image and its label map."""
    _, image, path = item
    labels = dataset.read_labels(path)
    return same_size(image, path, labels), np.bincount(labels.ravel(), minlength=256)


def same_size(image: Path, path: Path, labels: np.ndarray) -> tuple[int, int]:
    """Height and width of a label map, pixels, which must be those of its image; the image is not decoded.

    Args:
        image: the image.
        path: of the label map, for the message.
        labels: the label map (H, W).
    Raises:
        GoodSAMError: they differ; both files and sizes are named.
    """
    size = read_size(image)
    if labels.shape != size:
        raise GoodSAMError(
            f"{path}: {labels.shape[1]}x{labels.shape[0]} pixels, but its image {image} has {size[1]}x{size[0]}; they "
            "must be the same."
        )
    return size


def _unlabelled(data: str) -> int:
    try:
        return len(training_images(data))
    except GoodSAMError as error:  # labelled images alone are all that evaluation needs
        log.info("%s", error)
        return 0


def _numbers(checked: Checked) -> list[tuple[int, int | None, str]]:
    """What was counted, what was published, and of what."""
    numbers = [(checked.images, checked.expected, "labelled images")]
    if checked.unlabelled is not None:
        numbers.append((checked.unlabelled, checked.expected_unlabelled, "unlabelled images"))
    return numbers


def table(checked: Checked) -> Table:
    """Classes with their share of the labelled pixels and the images that show them, then sizes and numbers."""
    result = Table(title=f"{checked.data}\n{checked.label_set.name}", min_width=min(len(checked.data), 100))
    result.add_column("id", justify="right")
    result.add_column("class")
    result.add_column("labelled pixels, %", justify="right")
    result.add_column("images", justify="right")
    labelled = max(1, int(checked.pixels[:IGNORE].sum()))
    for number, name in enumerate(checked.label_set.names):
        share = f"{100 * checked.pixels[number] / labelled:.2f}" if checked.pixels[number] else "none"
        result.add_row(str(number), name, share, str(checked.seen_in[number]))
    result.add_section()
    ignored = 100 * checked.pixels[IGNORE] / max(1, int(checked.pixels.sum()))
    result.add_row(str(IGNORE), "ignored (% of all pixels)", f"{ignored:.2f}", str(checked.seen_in[IGNORE]))
    result.add_section()
    for (height, width), number in checked.sizes.items():
        result.add_row("", f"{width}x{height} pixels", "", str(number))
    for number, published, what in _numbers(checked):
        result.add_row("", what if published is None else f"{what} (published: {published})", "", str(number))
    return result
