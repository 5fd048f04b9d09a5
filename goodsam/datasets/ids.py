"""Values of label maps: checked as they stand in the file, then mapped to a label set by one table."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from goodsam.errors import GoodSAMError
from goodsam.images import read_label_map
from goodsam.label_tables import LabelTable
from goodsam.labels import IGNORE, LabelSet

_CITYSCAPES_IDS = 34
_NO_ID = 64
"""No vocabulary of label maps has ids from here on; grey levels and colours do."""


@dataclass(frozen=True)
class Ids:
    """What the values in a data set's files mean, and what they become."""

    vocabulary: str
    """Whose ids they are, for messages."""
    number: int
    """The files hold 0..number-1."""
    label_set: LabelSet
    """The classes that they become."""
    table: np.ndarray
    """uint8 (256,): value in the file -> id in the label set, 255 for none."""
    ignored: bool = True
    """Whether 255 may stand in the files."""
    reaches: bool = False
    """Whether every real file holds an id that the label set does not have; one without it was mapped before."""


def own_ids(label_set: LabelSet) -> Ids:
    """The values of label maps that hold a label set's own ids."""
    table = np.full(256, IGNORE, dtype=np.uint8)
    table[: len(label_set)] = np.arange(len(label_set))
    return Ids(label_set.name, len(label_set), label_set, table)


def mapped_ids(
    vocabulary: str, label_set: LabelSet, *tables: LabelTable, ignored: bool = True, reaches: bool = False
) -> Ids:
    """The values of label maps that one table, or several in turn, lead to a label set."""
    table = tables[0].lookup()
    for later in tables[1:]:
        table = later.lookup()[table]
    return Ids(vocabulary, len(tables[0].source), label_set, table, ignored, reaches)


def read_ids(path: Path, ids: Ids) -> np.ndarray:
    """A label map in the ids of its label set: uint8 (H, W), 255 ignored.

    Raises:
        GoodSAMError: unreadable, or a value that the vocabulary does not have; the file and the value are named.
    """
    return map_ids(path, read_label_map(path), ids)


def map_ids(path: Path, values: np.ndarray, ids: Ids) -> np.ndarray:
    """The values of a file, uint8 (H, W), checked and mapped: uint8 (H, W).

    Raises:
        GoodSAMError: a value that the vocabulary does not have.
    """
    found = [int(value) for value in np.flatnonzero(np.bincount(values.ravel(), minlength=256))]
    wrong = [value for value in found if value >= ids.number and not (value == IGNORE and ids.ignored)]
    classes = [value for value in found if value != IGNORE]
    mapped_before = IGNORE in found and bool(classes) and classes[-1] < len(ids.label_set)
    if wrong:
        ignored = f", with {IGNORE} ignored" if ids.ignored else f"; {IGNORE} is none"
        raise GoodSAMError(
            f"{path}: value {wrong[-1]} is no class of {ids.vocabulary}, whose ids are 0..{ids.number - 1}{ignored}."
            f"{_hint(ids, wrong, mapped_before)}"
        )
    if ids.reaches and mapped_before:
        raise GoodSAMError(
            f"{path}: values {classes[0]}..{classes[-1]} and {IGNORE} look like ids of {ids.label_set.name}, mapped "
            f"already; every file of {ids.vocabulary} has some above {len(ids.label_set) - 1}. Give the files as "
            f"published, or these as folder:IMAGES,LABELS,{ids.label_set.name}."
        )
    return ids.table[values]


def _hint(ids: Ids, wrong: list[int], mapped_before: bool) -> str:
    if wrong == [IGNORE] and mapped_before and ids.number > len(ids.label_set):
        name = ids.label_set.name
        return (
            f" These look like ids of {name}, mapped already; give the files as published, or these as "
            f"folder:IMAGES,LABELS,{name}."
        )
    if ids.vocabulary == "cityscapes19" and wrong[-1] < _CITYSCAPES_IDS:
        return " These look like Cityscapes' 34 label ids; give the files with train ids."
    if wrong[-1] >= _NO_ID and wrong != [IGNORE]:
        return " These look like colours or grey levels; give the files with class ids."
    return ""
