"""The images on which two subjects differ most, with pictures of what each said, in memory that does not grow."""

import heapq
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from goodsam.bootstrap import miou_of
from goodsam.drawing import jpeg, narrowed
from goodsam.images import read_photo
from goodsam.labels import IGNORE, LabelSet
from goodsam.panorama import Panorama
from goodsam.scoring import Case, Scored

SHOWN = 3
"""Images that are kept of each kind: on which the later subject gains most, and on which it loses most."""
WIDTH = 1024
"""Largest width of a picture, pixels."""
BETTER, WORSE, BOTH, NONE = (0, 158, 115), (213, 94, 0), (176, 176, 176), (0, 0, 0)
"""Colours of `difference_picture`: the later subject alone is right, the first alone is, both are, neither is.
Green and red of Okabe and Ito, which the colour-blind tell apart."""


@dataclass(frozen=True)
class Picture:
    """A picture as the page holds it."""

    kind: str
    """photo, truth, first, later or difference."""
    jpeg: bytes
    width: int
    height: int
    """Pixels."""


@dataclass(frozen=True)
class Example:
    """An image on which two subjects differ."""

    stem: str
    first: float
    later: float
    """mIoU of each on this image, 0..1."""
    pictures: list[Picture]

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, without the pictures."""
        return {"image": self.stem, "first": self.first, "miou": self.later}


class Gallery:
    """Keeps the images on which a later subject gains and loses most on the first, in mIoU of the image.

    Args:
        place: of the later subject among all.
        label_set: of labels and predictions.
    """

    def __init__(self, place: int, label_set: LabelSet) -> None:
        self._place, self._label_set = place, label_set
        self._seen = 0
        self._gains: list[tuple[float, int, Example]] = []
        self._losses: list[tuple[float, int, Example]] = []

    def look(self, scored: Scored) -> None:
        """One more image; its pictures are made only if it is kept."""
        first, later = (float(miou_of(scored.counts[place].confusion)) for place in (0, self._place))
        self._seen += 1
        gain = later - first
        if math.isnan(gain) or gain == 0:  # nothing is labelled, or there is nothing to see
            return
        heap, entry = self._gains if gain > 0 else self._losses, (abs(gain), -self._seen)
        if len(heap) == SHOWN and entry < heap[0][:2]:
            return
        example = Example(scored.case.stem, first, later, self._pictures(scored))
        (heapq.heappush if len(heap) < SHOWN else heapq.heappushpop)(heap, (*entry, example))

    @property
    def gains(self) -> list[Example]:
        """On which the later subject gains, the most first."""
        return [example for _, _, example in sorted(self._gains, reverse=True)]

    @property
    def losses(self) -> list[Example]:
        """On which it loses, the most first."""
        return [example for _, _, example in sorted(self._losses, reverse=True)]

    def _pictures(self, scored: Scored) -> list[Picture]:
        truth = scored.case.labels
        first, later = scored.predictions[0], scored.predictions[self._place]
        drawn = {
            "photo": _photo(scored.case),
            "truth": self._label_set.colorize(truth),
            "first": self._label_set.colorize(np.where(truth == IGNORE, IGNORE, first)),
            "later": self._label_set.colorize(np.where(truth == IGNORE, IGNORE, later)),
            "difference": difference_picture(truth, first, later),
        }
        return [_picture(kind, narrowed(pixels, WIDTH, smooth=kind == "photo")) for kind, pixels in drawn.items()]


def difference_picture(truth: np.ndarray, first: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Who is right where, in the colours above; black too where the truth has no label.

    Args:
        truth, first, later: uint8 (H, W), class ids, 255 for none.
    Returns:
        uint8 (H, W, 3).
    """
    before, after = ((said == truth) & (truth != IGNORE) for said in (first, later))
    return np.array([NONE, WORSE, BETTER, BOTH], dtype=np.uint8)[before + 2 * after.astype(np.uint8)]


def _photo(case: Case) -> np.ndarray:
    """uint8 (H, W, 3); read here where no subject has looked at it."""
    if case.image is None:
        return read_photo(case.path)
    return case.image.pixels if isinstance(case.image, Panorama) else case.image


def _picture(kind: str, pixels: np.ndarray) -> Picture:
    return Picture(kind, jpeg(pixels), pixels.shape[1], pixels.shape[0])
