"""WildPASS: 500 labelled street panoramas of 25 cities in 8 classes, and 2,000 unlabelled ones of 40 (WildPASS2K).

Layout: `leftImg8bit/val/...` with the label map of the same name in `gtFine/val/...` (elnino9ykl/WildPASS,
segment/eval_color_fusion.py). Label maps hold ids among 25 classes of Mapillary Vistas (segment/dataset_loader.py), of
which eight are evaluated: car, truck, bus, road, sidewalk, person, curb, crosswalk. What marks pixels that are not
labelled is not published; 25 and 255 are accepted, which is our reading. So is that WildPASS2K lies in
`leftImg8bit/train` or `train`, as in DensePASS's list of it.
"""

from functools import partial
from pathlib import Path

from goodsam.datasets.city_folders import labelled, unlabelled
from goodsam.datasets.ids import mapped_ids, read_ids
from goodsam.datasets.published import PublishedData, parse_where
from goodsam.label_tables import WILDPASS26_TO_8
from goodsam.labels import LABEL_SETS

_KIND = "wildpass"
_GROUPS = {"label set": ("wildpass8",)}
LABELLED = 500
UNLABELLED = 2000
VFOV = 70.0
"""Degrees; the images have DensePASS's size and camera."""


def wildpass_data(where: str) -> PublishedData:
    """The data set `ROOT`.

    Raises:
        GoodSAMError: another form, a folder that is missing or empty, an image without a label map or the reverse.
    """
    root, _ = parse_where(_KIND, where, _GROUPS)
    # A street always shows road (id 11), so a file whose ids end at 7 was mapped by someone.
    ids = mapped_ids("WildPASS", LABEL_SETS["wildpass8"], WILDPASS26_TO_8, reaches=True)
    items = labelled(_KIND, root, "val", ("",), ("",))
    return PublishedData(ids.label_set, items, partial(read_ids, ids=ids), LABELLED, VFOV)


def wildpass_images(where: str) -> dict[str, Path]:
    """The unlabelled training panoramas of `ROOT` by stem.

    Raises:
        GoodSAMError: another form, or no training images there.
    """
    return unlabelled(_KIND, parse_where(_KIND, where, _GROUPS)[0])
