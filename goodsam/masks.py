"""Masks without names, as the teacher makes them: run-lengths with scores; to and from arrays and disk."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

from goodsam import files
from goodsam.errors import GoodSAMError
from goodsam.views import View, view_from_json, view_to_json

_AT_ONCE = 16  # arrays turned to run-lengths, which takes two copies of each


@dataclass(frozen=True)
class Masks:
    """N masks of one image. They may overlap and need not cover it; fusion says what becomes of both."""

    size: tuple[int, int]
    """(h, w) of the image, pixels."""
    counts: tuple[bytes, ...]
    """N COCO compressed run-lengths, column-major."""
    areas: tuple[int, ...]
    """N areas, pixels."""
    ious: tuple[float | None, ...]
    """N intersections over union predicted by the teacher, 0..1; None where it predicts none."""
    stabilities: tuple[float | None, ...]
    """N stability scores, 0..1: overlap of the mask under two thresholds; None where the teacher has none."""

    def __len__(self) -> int:
        return len(self.counts)

    def to_arrays(self) -> np.ndarray:
        """bool (N, h, w)."""
        if not self.counts:
            return np.zeros((0, *self.size), dtype=bool)
        return coco.decode(self.to_coco()).transpose(2, 0, 1).astype(bool)

    def to_coco(self) -> list[dict[str, Any]]:
        """What pycocotools takes: a dictionary of size and counts per mask."""
        return [{"size": list(self.size), "counts": counts} for counts in self.counts]

    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """All masks' pixels, one mask after the other, by index arithmetic on the run-lengths.

        Returns:
            flat row-major pixel indices, int64 (sum of areas,), and offsets, int64 (N + 1,): mask n has
            `index[offsets[n]:offsets[n + 1]]`.
        """
        starts, lengths, owner = decode_runs(self.counts)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        column_major = np.repeat(starts - ends[:-1], lengths) + np.arange(ends[-1])
        column, row = np.divmod(column_major, self.size[0])
        areas = np.bincount(owner, weights=lengths, minlength=len(self)).astype(np.int64)
        return row * self.size[1] + column, np.concatenate([[0], np.cumsum(areas)])

    def non_empty(self) -> "Masks":
        """Those that hold a pixel."""
        return self.select(number for number, area in enumerate(self.areas) if area)

    def select(self, numbers: Iterable[int]) -> "Masks":
        """Some of the masks, in the order given."""
        numbers = list(numbers)
        return Masks(
            self.size,
            tuple(self.counts[n] for n in numbers),
            tuple(self.areas[n] for n in numbers),
            tuple(self.ious[n] for n in numbers),
            tuple(self.stabilities[n] for n in numbers),
        )


def join_masks(parts: Sequence[Masks]) -> Masks:
    """The masks of all parts, which are of one image, in order."""
    return Masks(
        parts[0].size,
        tuple(item for part in parts for item in part.counts),
        tuple(item for part in parts for item in part.areas),
        tuple(item for part in parts for item in part.ious),
        tuple(item for part in parts for item in part.stabilities),
    )


def decode_runs(counts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs of ones of many COCO compressed run-lengths at once, which pycocotools can only decode to full arrays.

    The format: numbers as little-endian groups of 5 bits plus 48, bit 6 saying that more follow, sign-extended; from
    the fourth on, each is stored less the one two before. Runs of zeros and ones alternate, zeros first.

    Args:
        counts: N run-lengths.
    Returns:
        starts, lengths and owners (which of the N), each int64 (number of runs of ones,); starts are column-major.
    """
    if not counts:
        return (np.zeros(0, dtype=np.int64),) * 3
    data = np.frombuffer(b"".join(counts), dtype=np.uint8).astype(np.int64) - 48
    last = (data & 32) == 0  # of a number's groups
    number = np.concatenate([[0], np.cumsum(last)[:-1]])  # which number each group belongs to
    first = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    place = np.arange(len(data)) - first[number]
    value = np.zeros(len(first), dtype=np.int64)
    np.add.at(value, number, (data & 31) << (5 * place))
    groups = np.bincount(number)
    value -= np.where(data[last] & 16, np.int64(1) << (5 * groups), 0)

    numbers_of = np.add.reduceat(last.astype(np.int64), np.cumsum([0, *map(len, counts[:-1])]))
    owner = np.repeat(np.arange(len(counts)), numbers_of)
    begin = np.concatenate([[0], np.cumsum(numbers_of)[:-1]])
    position = np.arange(len(value)) - begin[owner]
    run = _undo_differences(value, owner, position)
    ends = np.cumsum(run)
    starts = ends - run
    starts -= starts[begin][owner]
    ones = position % 2 == 1
    return starts[ones], run[ones], owner[ones]


def _undo_differences(value: np.ndarray, owner: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Number i > 2 of a mask is stored less number i - 2: a running sum along each mask's odd and its even places."""
    chain = owner * 3 + np.where(position == 0, 0, 1 + position % 2)  # place 0 is a chain of its own
    order = np.argsort(chain, kind="stable")
    total = np.cumsum(value[order])
    begins = np.flatnonzero(np.diff(chain[order], prepend=-1))
    lengths = np.diff(np.append(begins, len(order)))
    before = total[begins] - value[order][begins]
    run = np.empty_like(value)
    run[order] = total - np.repeat(before, lengths)
    return run


def masks_from_arrays(
    arrays: np.ndarray,
    ious: Sequence[float | None] | None = None,
    stabilities: Sequence[float | None] | None = None,
) -> Masks:
    """Run-lengths of bool or uint8 arrays (N, h, w); scores default to None."""
    number, *size = arrays.shape
    encoded = []
    for start in range(0, number, _AT_ONCE):
        part = arrays[start : start + _AT_ONCE].transpose(1, 2, 0)
        encoded += coco.encode(np.asfortranarray(part.astype(np.uint8)))
    none: tuple[None, ...] = (None,) * number
    return Masks(
        (size[0], size[1]),
        tuple(item["counts"] for item in encoded),
        # coco.area of more than 255 masks overflows (pycocotools 2.0.11 with numpy 2).
        tuple(np.count_nonzero(arrays, axis=(1, 2)).tolist()),
        tuple(ious) if ious is not None else none,
        tuple(stabilities) if stabilities is not None else none,
    )


@dataclass(frozen=True)
class PanoramaMasks:
    """All masks of one panorama, view by view."""

    size: tuple[int, int]
    """(H, W) of the panorama, pixels."""
    teacher: str
    """Which teacher made them."""
    views: tuple[tuple[View, Masks], ...]
    """Each view with its masks, on the view's own pixels."""

    def write(self, path: Path) -> None:
        """Write `RUN/masks/<stem>.json.gz`."""
        views = [
            {"view": view_to_json(view), "size": list(masks.size), "masks": _masks_to_json(masks)}
            for view, masks in self.views
        ]
        files.write_json_gz(path, {"size": list(self.size), "teacher": self.teacher, "views": views})


def _masks_to_json(masks: Masks) -> list[dict[str, Any]]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(float(value), 4)

    return [
        {"rle": counts.decode("ascii"), "area": area, "iou": rounded(iou), "stability": rounded(stability)}
        for counts, area, iou, stability in zip(masks.counts, masks.areas, masks.ious, masks.stabilities, strict=True)
    ]


def read_masks(path: Path) -> PanoramaMasks:
    """Read what `PanoramaMasks.write` wrote.

    Raises:
        GoodSAMError: the file is missing or damaged.
    """
    value = files.read_json(path)
    try:
        views = tuple((view_from_json(item["view"]), _masks_from_json(item)) for item in value["views"])
        return PanoramaMasks((value["size"][0], value["size"][1]), value["teacher"], views)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise GoodSAMError(f"{path}: not a masks file ({error!r}). Delete it to have it made again.") from error


def _masks_from_json(value: dict[str, Any]) -> Masks:
    masks = value["masks"]
    return Masks(
        (value["size"][0], value["size"][1]),
        tuple(mask["rle"].encode("ascii") for mask in masks),
        tuple(mask["area"] for mask in masks),
        tuple(mask["iou"] for mask in masks),
        tuple(mask["stability"] for mask in masks),
    )
