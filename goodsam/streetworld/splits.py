"""The fixed splits of the street world: which style and seed each purpose uses.

A scene depends on seed, index and style alone, so splits of different seeds share no scene, however many are rendered.

- `source-train`: labelled pinhole photos to train the bundled assistant, student start and teacher on.
- `source-test`: how good those are in the city they were trained in.
- `target-unlabelled`: panoramas to adapt and distil on; their labels are never used for that.
- `target-dev`: every choice of an option, threshold or weight is made here.
- `target-test`: final tables only; nothing is chosen by looking at it.

Frozen: results and bundled weights rest on this table (`tests/streetworld/test_frozen.py`).
"""

from dataclasses import dataclass

from goodsam.errors import GoodSAMError


@dataclass(frozen=True)
class Split:
    """All scenes of one style and seed."""

    name: str
    style: str
    """source or target, see `styles`."""
    seed: int
    """Of the world; no two splits share it."""


SPLITS: dict[str, Split] = {
    split.name: split
    for split in (
        Split("source-train", "source", 101),
        Split("source-test", "source", 102),
        Split("target-unlabelled", "target", 201),
        Split("target-dev", "target", 202),
        Split("target-test", "target", 203),
    )
}
"""Name -> split."""


def split_named(name: str) -> Split:
    """A split by name.

    Raises:
        GoodSAMError: no such split.
    """
    if name not in SPLITS:
        raise GoodSAMError(f"--split {name}: must be one of {', '.join(SPLITS)}.")
    return SPLITS[name]


def split_of(style: str, seed: int) -> Split | None:
    """The split that the scenes of a style and seed belong to; None for scenes outside all splits."""
    return next((split for split in SPLITS.values() if (split.style, split.seed) == (style, seed)), None)
