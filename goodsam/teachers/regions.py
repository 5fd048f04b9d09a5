"""A training-free teacher for machines without SAM weights: regions of even colour at several scales.

Not from the paper: our stand-in. Graph-based regions (Felzenszwalb and Huttenlocher, IJCV 2004) are merged pair by
pair, the pair first whose union adds least to the squared colour error (Ward's criterion, on neighbours alone). The
states on the way down are the scales, so masks are nested: small ones keep outlines, large ones keep objects together.
`benchmarks/regions.py` measures what such regions can reach at best.
"""

import heapq
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco
from skimage.color import rgb2lab
from skimage.segmentation import felzenszwalb

from goodsam.masks import Masks
from goodsam.weights import WeightFile


@dataclass(frozen=True)
class RegionOptions:
    """How images are cut into regions; figures chosen on CamVid for accuracy within 0.35 s a view of 400x512."""

    scale: float = 60.0
    """Felzenszwalb's k, no unit: how much more two regions must differ than within themselves to stay apart."""
    sigma: float = 0.8
    """Smoothing before the regions are grown, pixels at the working resolution."""
    smallest: float = 0.0003
    """Smallest region of the finest scale, share of the image's area; smaller ones join a neighbour."""
    numbers: tuple[int, ...] = (128,)
    """Numbers of regions at the coarser scales, made by merging the finest; 64 and fewer swallow small objects."""
    working_pixels: int = 512 * 512
    """Larger images are reduced to this many pixels, cut, and the regions enlarged to nearest neighbours."""


class RegionTeacher:
    """Regions of even colour as masks; no weights, no scores, the same masks for the same image."""

    name = "regions"
    weights: tuple[WeightFile, ...] = ()

    def __init__(self, options: RegionOptions) -> None:
        self._options = options

    def options(self) -> dict[str, Any]:
        """Every option of `RegionOptions`, as JSON values."""
        return {**asdict(self._options), "numbers": list(self._options.numbers)}

    def masks(self, image: np.ndarray) -> Masks:
        """Regions of one image at all scales, large before small, equal ones once.

        Args:
            image: uint8 (h, w, 3), RGB.
        Returns:
            Masks on the image's own pixels; each scale covers the image, `ious` and `stabilities` are None.
        Raises:
            ValueError: not such an image.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(f"expected uint8 (h, w, 3) with h and w above 0, got {image.dtype} {image.shape}")
        finest, numbered = cut_regions(image, self._options)
        counts, areas = _run_lengths(_enlarged(finest, image.shape[:2]), numbered)
        order = sorted(range(len(counts)), key=lambda n: (-areas[n], n))
        none = (None,) * len(counts)
        size = (image.shape[0], image.shape[1])
        return Masks(size, tuple(counts[n] for n in order), tuple(areas[n] for n in order), none, none)


def load_regions(options: RegionOptions | None = None) -> RegionTeacher:
    """The teacher named `regions`; None for the default options."""
    return RegionTeacher(options or RegionOptions())


def cut_regions(image: np.ndarray, options: RegionOptions) -> tuple[np.ndarray, list[np.ndarray]]:
    """Nested regions of an image.

    Args:
        image: uint8 (h, w, 3), RGB.
        options: see there.
    Returns:
        the finest scale, int64 (h', w') region numbers 0..R-1 at the working resolution, and per scale, finest first,
        int64 (R,): the number of the region that each finest region belongs to.
    """
    small = _reduced(image, options.working_pixels)
    area = small.shape[0] * small.shape[1]
    smallest = max(1, int(options.smallest * area))
    regions = felzenszwalb(small, scale=options.scale, sigma=options.sigma, min_size=smallest)
    finest = np.unique(regions, return_inverse=True)[1].reshape(regions.shape)
    return finest, merge_regions(finest, rgb2lab(small), options.numbers)


def _reduced(image: np.ndarray, pixels: int) -> np.ndarray:
    height, width = image.shape[:2]
    if height * width <= pixels:
        return image
    factor = (pixels / (height * width)) ** 0.5
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _enlarged(regions: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (np.arange(large) * small // large for large, small in zip(size, regions.shape, strict=True))
    return regions if regions.shape == tuple(size) else regions[rows[:, None], columns]


def merge_regions(finest: np.ndarray, values: np.ndarray, numbers: Iterable[int]) -> list[np.ndarray]:
    """Merge neighbouring regions by Ward's criterion: cheapest |a| |b| / (|a| + |b|) * ||mean_a - mean_b||^2 first.

    Args:
        finest: int64 (h, w), region numbers 0..R-1.
        values: float (h, w, D), what regions are compared by.
        numbers: of regions to stop at on the way; those of R and above are left out.
    Returns:
        `cut_regions`'s list: the finest scale's own numbers first, then one int64 (R,) per number, descending.
    """
    tree = _Merging(finest, values)
    scales = [tree.roots()]
    for number in sorted({n for n in numbers if 0 < n < tree.left}, reverse=True):
        tree.merge_down_to(number)
        scales.append(tree.roots())
    return scales


class _Merging:
    """Regions being merged: who is alive, who touches whom, and a heap of what each merge would cost."""

    def __init__(self, finest: np.ndarray, values: np.ndarray) -> None:
        flat = finest.ravel()
        area = np.bincount(flat)
        sums = [np.bincount(flat, channel) for channel in values.reshape(flat.size, -1).T]
        self.left = len(area)
        self._area: list[float] = area.astype(float).tolist()
        self._mean: list[list[float]] = (np.stack(sums, axis=1) / area[:, None]).tolist()
        self._parent = list(range(self.left))
        self._touching = _neighbours(finest, self.left)
        self._changes = [0] * self.left
        self._heap = [(self._cost(a, b), a, b, 0, 0) for a in range(self.left) for b in self._touching[a] if a < b]
        heapq.heapify(self._heap)

    def _cost(self, a: int, b: int) -> float:
        distance = sum((x - y) ** 2 for x, y in zip(self._mean[a], self._mean[b], strict=True))
        return self._area[a] * self._area[b] / (self._area[a] + self._area[b]) * distance

    def merge_down_to(self, number: int) -> None:
        """Merge the cheapest pair until `number` regions are left, or nothing touches any more."""
        while self.left > number and self._heap:
            _, a, b, changes_a, changes_b = heapq.heappop(self._heap)
            if (changes_a, changes_b) == (self._changes[a], self._changes[b]):
                self._merge(a, b)

    def _merge(self, a: int, b: int) -> None:
        area = self._area[a] + self._area[b]
        share = self._area[b] / area
        self._mean[a] = [x + share * (y - x) for x, y in zip(self._mean[a], self._mean[b], strict=True)]
        self._area[a] = area
        self._parent[b] = a
        self._changes[a] += 1
        self._changes[b] = -1  # no entry of the heap matches it again
        self.left -= 1
        self._touching[a] = (self._touching[a] | self._touching[b]) - {a, b}
        for other in self._touching[b] - {a}:
            self._touching[other] = (self._touching[other] - {b}) | {a}
        # Sorted, so that ties are broken alike however a set is laid out in memory.
        for other in sorted(self._touching[a]):
            entry = (self._cost(a, other), a, other, self._changes[a], self._changes[other])
            heapq.heappush(self._heap, entry)

    def roots(self) -> np.ndarray:
        """int64 (R,): the region that each finest region has become part of."""
        roots = np.array(self._parent)
        while not np.array_equal(roots[roots], roots):
            roots = roots[roots]
        return roots


def _neighbours(regions: np.ndarray, number: int) -> list[set[int]]:
    """Per region, those that share an edge of a pixel with it."""
    along, down = (regions[:, :-1], regions[:, 1:]), (regions[:-1], regions[1:])
    pairs = np.concatenate([(a * number + b)[a != b] for a, b in (along, down)])
    touching: list[set[int]] = [set() for _ in range(number)]
    for a, b in zip(*(side.tolist() for side in np.divmod(np.unique(pairs), number)), strict=True):
        touching[a].add(b)
        touching[b].add(a)
    return touching


def _run_lengths(finest: np.ndarray, scales: list[np.ndarray]) -> tuple[list[bytes], list[int]]:
    """COCO run-lengths and areas of all distinct regions, without a dense array per mask.

    Equal ones are dropped: a region that no merge touched between two scales has the same parts in both.
    """
    height, width = finest.shape
    columns = finest.T.ravel()  # COCO counts down the columns
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    lengths = np.diff(starts, append=columns.size)
    labels = columns[starts]
    counts: list[bytes] = []
    areas: list[int] = []
    parts_before = np.zeros(len(scales[0]), dtype=np.int64)  # number of finest parts of each root, one scale finer
    for scale in scales:
        parts = np.bincount(scale, minlength=len(scale))
        # Merging only ever adds parts to a root, so the same root with as many parts is the same region.
        new = np.flatnonzero(parts != parts_before)
        new = new[parts[new] > 0]
        parts_before = parts
        for ends, area in _runs_of(scale[labels], starts, lengths, new):
            areas.append(area)
            counts.append(_compressed(ends, height, width))
    return counts, areas


def _runs_of(
    labels: np.ndarray, starts: np.ndarray, lengths: np.ndarray, wanted: np.ndarray
) -> Iterable[tuple[np.ndarray, int]]:
    """Per wanted label, its runs (n, 2) of first pixel and first pixel after, neighbours joined, and its area."""
    order = np.argsort(labels, kind="stable")
    first, last = np.searchsorted(labels[order], wanted), np.searchsorted(labels[order], wanted, side="right")
    for begin, end in zip(first, last, strict=True):
        chosen = order[begin:end]
        opening, closing = starts[chosen], starts[chosen] + lengths[chosen]
        gap = opening[1:] != closing[:-1]  # runs of two merged regions may touch
        runs = np.stack([opening[np.r_[True, gap]], closing[np.r_[gap, True]]], axis=1)
        yield runs, int(lengths[chosen].sum())


def _compressed(runs: np.ndarray, height: int, width: int) -> bytes:
    """COCO compressed counts of runs (n, 2) of first pixel and first pixel after, column-major."""
    counts = np.diff(runs.ravel(), prepend=0, append=height * width)
    if counts[-1] == 0:
        counts = counts[:-1]
    encoded = coco.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return bytes(encoded["counts"])
