"""A training-free teacher for machines without SAM weights: regions of even colour at several scales.

Not from the paper: our stand-in. Graph-based regions (Felzenszwalb and Huttenlocher, IJCV 2004) are merged pair by
pair, the pair first whose union adds least to the squared colour error (Ward's criterion, on neighbours alone). The
states on the way down are the scales, so masks are nested: small ones keep outlines, large ones keep objects together.
`benchmarks/regions.py` measures what such regions can reach at best.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco
from skimage.color import rgb2lab
from skimage.segmentation import felzenszwalb

from goodsam.masks import Masks
from goodsam.teachers.placing import Hint
from goodsam.teachers.region_merging import merge_regions
from goodsam.weights import WeightFile


@dataclass(frozen=True)
class RegionOptions:
    """How images are cut into regions; figures chosen on CamVid (`benchmarks/regions.py`)."""

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
    asked = 0
    hinted = False

    def __init__(self, options: RegionOptions) -> None:
        self._options = options

    def options(self) -> dict[str, Any]:
        """Every option of `RegionOptions`, as JSON values."""
        return {**asdict(self._options), "numbers": list(self._options.numbers)}

    def masks_of_views(self, images: Sequence[np.ndarray], hints: Sequence[Hint | None]) -> list[Masks]:
        """`masks` of each image."""
        return [self.masks(image) for image in images]

    def masks(self, image: np.ndarray, hint: Hint | None = None) -> Masks:
        """Regions of one image at all scales, large before small, equal ones once.

        Args:
            image: uint8 (h, w, 3), RGB.
            hint: not looked at; colours are enough.
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
