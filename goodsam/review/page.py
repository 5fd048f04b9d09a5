"""What the formats share: one panorama with its label map, class names, and whose fault an error is."""

import contextlib
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from goodsam.errors import GoodSAMError, first_line
from goodsam.labels import IGNORE, LabelSet

_UNFIT = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError)
"""What taking a value apart raises that has another form."""


@dataclass(frozen=True)
class Page:
    """One panorama on its way out."""

    stem: str
    image: str
    """Path of its image below `images`, with `/` and suffix."""
    labels: np.ndarray
    """uint8 (H, W), 255 where there is nothing to show."""
    confidence: float
    """Mean of the ensemble's confidence where there is a scene, 0..1."""


def classes_in(labels: np.ndarray, label_set: LabelSet) -> list[int]:
    """Ids of the classes that occur in a label map, ascending; 255 is none."""
    counts = np.bincount(labels.ravel(), minlength=256)
    return [int(number) for number in np.flatnonzero(counts[: len(label_set)])]


def class_named(name: str, label_set: LabelSet) -> int:
    """Id of a class.

    Raises:
        GoodSAMError: the label set has no such class.
    """
    if name in label_set.names:
        return label_set.names.index(name)
    near = difflib.get_close_matches(name, label_set.names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise GoodSAMError(f"class {name!r} is not one of the run's.{hint} It has {', '.join(label_set.names)}.")


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """(left, top, width, height) of the pixels of a bool mask (H, W) that holds at least one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)


def unlabelled(size: tuple[int, int]) -> np.ndarray:
    """A label map to paint on: uint8 (H, W), 255 everywhere."""
    if min(size) < 1:
        raise GoodSAMError(f"its size is {size[1]}x{size[0]} pixels; it must be that of the panorama.")
    return np.full(size, IGNORE, dtype=np.uint8)


def without_suffix(name: str) -> str:
    """The name of an image file as the run names panoramas: "left/0001.png" -> "left/0001"."""
    return PurePosixPath(name.replace("\\", "/")).with_suffix("").as_posix()


@contextlib.contextmanager
def naming(where: str) -> Iterator[None]:
    """Put file and image before what is wrong in them, and make a sentence of a value that has another form."""
    try:
        yield
    except GoodSAMError as error:
        raise GoodSAMError(f"{where}: {error}") from error
    except _UNFIT as error:
        missing = f"{error} is missing" if isinstance(error, KeyError) else first_line(error)
        raise GoodSAMError(f"{where}: not as the annotation tool writes it ({missing}); export it again.") from error
