"""Label sets: names, colours, and how one is mapped to another."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from goodsam.errors import GoodSAMError
from goodsam.label_colors import CITYSCAPES, CLASS_COLORS
from goodsam.label_tables import NONE, TABLES, LabelTable

IGNORE = 255
"""The id that is no class: no scene there, or not labelled."""


@dataclass(frozen=True)
class LabelSet:
    """Named classes with colours; a class's id is its place."""

    name: str
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    """RGB, 0..255."""
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Per class, the assistant's classes that it is made of; a class not listed is made of the one with its name."""

    def __len__(self) -> int:
        return len(self.names)

    def colorize(self, labels: np.ndarray) -> np.ndarray:
        """Label map uint8 (H, W) -> RGB uint8 (H, W, 3); ids without a class are black."""
        table = np.zeros((256, 3), dtype=np.uint8)
        table[: len(self.colors)] = self.colors
        return table[labels]


# For models that name the classes below but not all 19; `label_tables` has those that do.
_SOURCES: dict[str, dict[str, tuple[str, ...]]] = {
    "densepass13": {"person": ("person", "rider"), "car": ("car", "truck", "bus", "motorcycle", "bicycle")},
}
LABEL_SETS = {
    name: LabelSet(name, tuple(colors), tuple(colors.values()), _SOURCES.get(name, {}))
    for name, colors in CLASS_COLORS.items()
}


def palette(number: int) -> tuple[tuple[int, int, int], ...]:
    """Distinct colours for classes without their own: the bit-reversal colours of PASCAL VOC, black left out."""
    colors = []
    for index in range(1, number + 1):
        channels = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                channels[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
        colors.append((channels[0], channels[1], channels[2]))
    return tuple(colors)


def own_label_set(names: Sequence[str]) -> LabelSet:
    """The label set of an assistant's own classes, in the built-in colours where the names are known."""
    for known in LABEL_SETS.values():
        if tuple(names) == known.names:
            return known
    generated = palette(len(names))
    colors = tuple(CITYSCAPES.get(name, color) for name, color in zip(names, generated, strict=True))
    return LabelSet("own", tuple(names), colors)


def load_label_set(name: str) -> LabelSet:
    """A built-in label set by name, or one from a YAML file.

    The file holds `name` and `classes`; each class has a `color` [R, G, B] and `from`, the assistant's classes that it
    is made of, both optional:

        name: parking
        classes:
          ground: {color: [128, 64, 128], from: [road, sidewalk]}
          car: {from: [car, truck, bus]}

    Raises:
        GoodSAMError: no such name or file, or a file of another form.
    """
    if name in LABEL_SETS:
        return LABEL_SETS[name]
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise GoodSAMError(f"label set {name!r}: must be one of {', '.join(LABEL_SETS)} or a .yaml file.")
    try:
        value = yaml.safe_load(path.read_text())
        classes = {str(key): entry or {} for key, entry in value["classes"].items()}
        colors = palette(len(classes))
        chosen = tuple(
            _rgb(entry.get("color", CITYSCAPES.get(key, color)))
            for (key, entry), color in zip(classes.items(), colors, strict=True)
        )
        sources = {key: _list_of(entry["from"]) for key, entry in classes.items() if "from" in entry}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise GoodSAMError(
            f"{path}: cannot be read as a label set ({error}); expected `name` and `classes`, each class with an "
            "optional `color: [R, G, B]` and `from: [assistant classes]`."
        ) from error
    if not 0 < len(classes) < IGNORE:
        raise GoodSAMError(f"{path}: {len(classes)} classes; a label set has 1 to {IGNORE - 1}.")
    return LabelSet(str(value.get("name", path.stem)), tuple(classes), chosen, sources)


def _rgb(value: Sequence[int]) -> tuple[int, int, int]:
    red, green, blue = (int(channel) for channel in value)
    if not all(0 <= channel <= 255 for channel in (red, green, blue)):
        raise ValueError(f"color {value} is outside 0..255")
    return red, green, blue


def _list_of(value: Sequence[str]) -> tuple[str, ...]:
    if isinstance(value, str):  # a sequence of letters to Python
        raise ValueError(f"`from: {value}` is not a list")
    return tuple(map(str, value))


def mapping(classes: Sequence[str], target: LabelSet) -> Tensor:
    """How an assistant's probabilities become those of a label set: float32 (C_target, C_assistant) of zeros and ones.

    A built-in label set is reached by the table whose source classes the assistant has all, where there is one; any
    label set by equal names, or by its `from` lists. Case and blanks around names do not count.

    Args:
        classes: the assistant's names, in its order.
        target: the label set to reach. An assistant's class that no target class is made of is dropped; one whose
            classes are the label set's own, in that order, has been mapped already.
    Raises:
        GoodSAMError: a class of the label set that the assistant cannot give.
    """
    if tuple(map(_plain, classes)) == tuple(map(_plain, target.names)):
        return torch.eye(len(target))
    places: dict[str, int] = {}
    for place, name in enumerate(classes):
        places.setdefault(_plain(name), place)
    table = table_for(classes, target)
    matrix = torch.zeros(len(target), len(classes))
    if table is not None:
        for source, own in zip(table.source, table.ids, strict=True):
            if own != NONE:
                matrix[own, places[_plain(source)]] = 1
        return matrix
    for row, name in enumerate(target.names):
        for source in target.sources.get(name, (name,)):
            if _plain(source) not in places:
                raise GoodSAMError(_misfit(name, source, classes, target, places))
            matrix[row, places[_plain(source)]] = 1
    return matrix


def table_for(classes: Sequence[str], target: LabelSet) -> LabelTable | None:
    """The published table from an assistant's classes to a built-in label set: that of the most source classes.

    A label set with `from` lists of its own is mapped by these alone.
    """
    known = {_plain(name) for name in classes}
    fitting = [
        table
        for table in TABLES
        if LABEL_SETS[table.target].names == target.names
        and target.sources in ({}, LABEL_SETS[table.target].sources)
        and known.issuperset(map(_plain, table.source))
    ]
    return max(fitting, key=lambda table: len(table.source), default=None)


def _plain(name: str) -> str:
    """A name without what models of one vocabulary spell differently."""
    return " ".join(name.split()).casefold()


def _misfit(name: str, source: str, classes: Sequence[str], target: LabelSet, places: dict[str, int]) -> str:
    near = difflib.get_close_matches(source, classes, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    missing = [other for other in target.names if other not in target.sources and _plain(other) not in places]
    what = f"class {name!r} is made of {source!r}, which the assistant does not have."
    if source == name and len(missing) > 1:
        what = f"classes {', '.join(map(repr, missing))} are not among those of the assistant."
    elif source == name:
        what = f"class {name!r} is not among those of the assistant."
    return (
        f"label set {target.name}: {what}{hint} Its classes: {', '.join(classes)}. Give a --label-set FILE.yaml with "
        "`from` lists of these."
    )


def map_probabilities(probabilities: Tensor, matrix: Tensor) -> Tensor:
    """Apply `mapping` to probabilities (B, C, h, w) and renormalise; uniform where nothing of the target is left."""
    if matrix.shape[0] == matrix.shape[1] and torch.equal(matrix, torch.eye(len(matrix))):
        return probabilities
    mapped = torch.einsum("tc,bchw->bthw", matrix.to(probabilities), probabilities)
    total = mapped.sum(1, keepdim=True)
    return torch.where(total > 1e-6, mapped / total.clamp_min(1e-6), 1 / matrix.shape[0])
