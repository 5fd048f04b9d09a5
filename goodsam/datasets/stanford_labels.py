"""Label maps of Stanford 2D-3D-S, as distributed and as copies store them.

As distributed, a pixel's red, green and blue are one number, 65536 R + 256 G + B, an index into
assets/semantic_labels.json; its entries are named like "chair_1_conferenceRoom_1_1", class first, and #0D0D0D, beyond
the last, stands where data is missing (alexsax/2D-3D-Semantics, README.md and assets/utils.py). Copies with one channel
hold 0 for unknown and the 13 classes from 1 on (the loader of HoHoNet and of what follows it takes 1 away). Where the
image is black nothing was seen, and the label is ignored (jamycheung/Trans4PASS,
segmentron/data/dataloader/stanford2d3d_pan.py).
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from goodsam.datasets.ids import Ids, map_ids, read_ids
from goodsam.errors import GoodSAMError, UnreadableImageError
from goodsam.files import read_json
from goodsam.images import read_photo
from goodsam.labels import IGNORE
from goodsam.vocabularies import STANFORD14_NAMES

MISSING = 0x0D0D0D
"""The index where data is missing."""


def read_stanford(path: Path, root: Path, images: Mapping[Path, Path], ids: Ids) -> np.ndarray:
    """A label map in the ids of its label set, 255 where it is unknown or the image is black: uint8 (H, W).

    Args:
        path: the label map.
        root: of the data set, for assets/semantic_labels.json.
        images: label map -> its image; one that is of another size, or not listed, is not looked at.
        ids: what 0..13 become.
    Raises:
        GoodSAMError: unreadable, or a value that the data set does not have.
    """
    colors = _colors(path)
    labels = read_ids(path, ids) if colors is None else map_ids(path, _from_indices(path, colors, root), ids)
    if path in images:
        black = ~read_photo(images[path]).any(2)
        if black.shape == labels.shape:  # `check` names the two that differ
            labels[black] = IGNORE
    return labels


def _colors(path: Path) -> np.ndarray | None:
    """RGB of a label map as distributed, uint8 (H, W, 3); None for one channel.

    Raises:
        UnreadableImageError: not an image.
    """
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB")) if image.mode in ("RGB", "RGBA") else None
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableImageError(f"{path}: cannot be read as a label map ({error}).") from error


def _from_indices(path: Path, colors: np.ndarray, root: Path) -> np.ndarray:
    """Colours that are indices, uint8 (H, W, 3) -> 0 for unknown, the 13 classes from 1 on: uint8 (H, W)."""
    indices = (colors.astype(np.int32) * (65536, 256, 1)).sum(2)
    classes = _classes(root)
    missing = indices == MISSING
    wrong = indices[(indices >= len(classes)) & ~missing]
    if len(wrong):
        raise GoodSAMError(
            f"{path}: colour #{wrong[0]:06X} is index {wrong[0]} of {len(classes)} entries in semantic_labels.json. "
            "These look like colours to look at; give the files of `semantic`, not of `semantic_pretty`."
        )
    return np.where(missing, np.uint8(0), classes[np.where(missing, 0, indices)])


@cache
def _classes(root: Path) -> np.ndarray:
    """Index in semantic_labels.json -> 0 for unknown, the 13 classes from 1 on: uint8 (n,)."""
    choices = (root / "assets/semantic_labels.json", root / "semantic_labels.json")
    path = next((path for path in choices if path.is_file()), None)
    if path is None:
        raise GoodSAMError(
            f"{choices[0]}: missing; label maps in colours are indices into it. It is part of the data set, and of "
            "https://github.com/alexsax/2D-3D-Semantics."
        )
    names = [str(name).split("_")[0] for name in read_json(path)]
    unknown = sorted(set(names) - set(STANFORD14_NAMES))
    if unknown:
        raise GoodSAMError(f"{path}: class {unknown[0]!r} is none of {', '.join(STANFORD14_NAMES)}.")
    return np.array([STANFORD14_NAMES.index(name) for name in names], dtype=np.uint8)
