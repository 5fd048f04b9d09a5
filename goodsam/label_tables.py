"""Tables from one vocabulary of classes to another: of label ids in files, and of what assistants name.

A table whose origin begins with "our reading" was published nowhere: it is our choice.
"""

from dataclasses import dataclass

import numpy as np

from goodsam.label_colors import CLASS_COLORS
from goodsam.vocabularies import (
    ADE150_NAMES,
    CITYSCAPES34_NAMES,
    MAPILLARY65_NAMES,
    STANFORD14_NAMES,
    WILDPASS_NAMES,
)

NONE = 255
"""The id that is no class of the target."""


@dataclass(frozen=True)
class LabelTable:
    """What each class of a source vocabulary is in a label set."""

    name: str
    source: tuple[str, ...]
    """Names of the source, by id; a model that has them all, in whatever order, is mapped by this table."""
    target: str
    """Name of the built-in label set."""
    ids: tuple[int, ...]
    """Per class of the source, its id in the target; 255 for none."""
    origin: str
    """Where the numbers are from."""

    def lookup(self) -> np.ndarray:
        """The ids as a table to index with label maps: uint8 (256,), 255 for all that the source does not have."""
        table = np.full(256, NONE, dtype=np.uint8)
        table[: len(self.ids)] = self.ids
        return table


def _by_names(
    name: str, source: tuple[str, ...], target: str, made_of: dict[str, list[str]], origin: str
) -> LabelTable:
    """The table in which every class of the target is made of a list of source classes, which must exist."""
    ids = [NONE] * len(source)
    for number, own in enumerate(CLASS_COLORS[target]):
        for given in made_of[own]:
            ids[source.index(given)] = number
    return LabelTable(name, source, target, tuple(ids), origin)


CITYSCAPES34_TO_19 = LabelTable(
    "cityscapes34 -> cityscapes19",
    CITYSCAPES34_NAMES,
    "cityscapes19",
    (
        255, 255, 255, 255, 255, 255, 255, 0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, 6, 7, 8, 9, 10, 11, 12, 13,
        14, 15, 255, 255, 16, 17, 18,
    ),
    "mcordts/cityscapesScripts, cityscapesscripts/helpers/labels.py (trainId)",
)  # fmt: skip
CITYSCAPES19_TO_13 = LabelTable(
    "cityscapes19 -> densepass13",
    tuple(CLASS_COLORS["cityscapes19"]),
    "densepass13",
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 12, 12, 12, 255, 12, 12),
    "jamycheung/Trans4PASS, adaptations/dataset/dp13_dataset.py; a train has no place among the 13",
)
SYNPASS23_TO_13 = LabelTable(
    "synpass23 -> densepass13",
    tuple(CLASS_COLORS["synpass23"]),
    "densepass13",
    (255, 2, 4, 255, 11, 5, 0, 0, 1, 8, 12, 3, 7, 10, 255, 255, 255, 255, 6, 255, 255, 255, 9),
    "jamycheung/Trans4PASS, adaptations/dataset/sp13_dataset.py",
)
WILDPASS26_TO_8 = LabelTable(
    "wildpass26 -> wildpass8",
    WILDPASS_NAMES,
    "wildpass8",
    (
        255, 255, 255, 255, 0, 1, 255, 255, 2, 255, 255, 3, 4, 6, 255, 255, 255, 5, 255, 255, 255, 255, 255, 255, 7,
        255,
    ),
    "elnino9ykl/WildPASS, segment/eval_color_fusion.py (WILDPASS_IN_MAP_ID) and segment/dataset_loader.py",
)  # fmt: skip
STANFORD14_TO_13 = LabelTable(
    "stanford14 -> stanford13",
    STANFORD14_NAMES,
    "stanford13",
    (255, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
    "jamycheung/Trans4PASS, name2label.json and segmentron/data/dataloader/stanford2d3d_pan.py (less one, 0 ignored)",
)
STANFORD13_TO_8 = LabelTable(
    "stanford13 -> stanford8",
    tuple(CLASS_COLORS["stanford13"]),
    "stanford8",
    (255, 255, 255, 0, 1, 255, 255, 2, 3, 4, 5, 6, 7),
    "jamycheung/Trans4PASS, adaptations/dataset/stanford_pan8_dataset.py",
)
MAPILLARY65_TO_WILDPASS8 = _by_names(
    "mapillary65 -> wildpass8",
    MAPILLARY65_NAMES,
    "wildpass8",
    {
        "car": ["Car"],
        "truck": ["Truck"],
        "bus": ["Bus"],
        # What lies in a road or is painted on it; WildPASS's own evaluation takes markings for road.
        "road": [
            "Road", "Lane Marking - General", "Service Lane", "Bike Lane", "Parking", "Manhole", "Catch Basin",
            "Pothole",
        ],
        "sidewalk": ["Sidewalk", "Pedestrian Area"],
        "person": ["Person"],  # riders are classes of their own among the 25
        "curb": ["Curb", "Curb Cut"],
        "crosswalk": ["Lane Marking - Crosswalk", "Crosswalk - Plain"],
    },
    "our reading; names as in id2label of facebook/mask2former-swin-large-mapillary-vistas-semantic",
)  # fmt: skip
ADE150_TO_STANFORD8 = _by_names(
    "ade150 -> stanford8",
    ADE150_NAMES,
    "stanford8",
    {
        "ceiling": ["ceiling"],
        "chair": ["chair", "armchair", "swivel chair", "seat", "stool"],
        "door": ["door", "screen door"],
        "floor": ["floor", "rug"],
        "sofa": ["sofa"],
        "table": ["table", "desk", "coffee table"],
        "wall": ["wall"],
        "window": ["windowpane", "blind"],
    },
    "our reading; names as in id2label of nvidia/segformer-b5-finetuned-ade-640-640",
)

TABLES = (
    CITYSCAPES34_TO_19,
    CITYSCAPES19_TO_13,
    SYNPASS23_TO_13,
    WILDPASS26_TO_8,
    STANFORD14_TO_13,
    STANFORD13_TO_8,
    MAPILLARY65_TO_WILDPASS8,
    ADE150_TO_STANFORD8,
)
