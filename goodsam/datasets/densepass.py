"""DensePASS: 100 labelled street panoramas, 2048x400 pixels, 360 x 70 degrees, in Cityscapes' 19 train ids.

Layout: `leftImg8bit/val/cs/100_.png` with `gtFine/val/cs/100_labelTrainIds.png` (jamycheung/Trans4PASS,
adaptations/dataset/densepass_list/val.txt and segmentron/data/dataloader/densepass.py). Copies also name images
`100.png` or `100_.jpg`, and labels `100__labelTrainIds.png` where the ending was put after the image's whole name. The
2,000 unlabelled training images of 40 cities lie in `leftImg8bit/train/CITY` (densepass_list/train.txt); a bare
`train` folder is our reading.
"""

from functools import partial
from pathlib import Path

from goodsam.datasets.city_folders import labelled, unlabelled
from goodsam.datasets.ids import mapped_ids, own_ids, read_ids
from goodsam.datasets.published import PublishedData, parse_where
from goodsam.label_tables import CITYSCAPES19_TO_13
from goodsam.labels import LABEL_SETS

_KIND = "densepass"
_GROUPS = {"label set": ("cityscapes19", "densepass13")}
LABELLED = 100
UNLABELLED = 2000
VFOV = 70.0
"""Degrees, as the paper gives it."""


def densepass_data(where: str) -> PublishedData:
    """The data set `ROOT[,densepass13]`.

    Raises:
        GoodSAMError: another form, a folder that is missing or empty, an image without a label map or the reverse.
    """
    root, chosen = parse_where(_KIND, where, _GROUPS)
    name = chosen.get("label set", "cityscapes19")
    ids = own_ids(LABEL_SETS[name])
    if name == "densepass13":
        ids = mapped_ids("cityscapes19", LABEL_SETS[name], CITYSCAPES19_TO_13)
    endings = ("_gtFine_labelTrainIds", "__labelTrainIds", "_labelTrainIds")
    items = labelled(_KIND, root, "val", ("_", ""), endings)
    return PublishedData(ids.label_set, items, partial(read_ids, ids=ids), LABELLED, VFOV)


def densepass_images(where: str) -> dict[str, Path]:
    """The unlabelled training panoramas of `ROOT` by stem.

    Raises:
        GoodSAMError: another form, or no training images there.
    """
    return unlabelled(_KIND, parse_where(_KIND, where, _GROUPS)[0])
