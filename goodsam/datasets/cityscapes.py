"""Cityscapes: ordinary street photos in 19 classes, to train assistants on and to compare with.

Layout: `leftImg8bit/SPLIT/CITY/*_leftImg8bit.png` with `gtFine/SPLIT/CITY/*_gtFine_labelTrainIds.png`, or
`*_gtFine_labelIds.png` as distributed, whose 34 ids are mapped by the published table
(mcordts/cityscapesScripts, cityscapesscripts/helpers/labels.py). The name of a file decides which it is; its values
never do. Train ids are taken where both are there.
"""

from functools import partial
from pathlib import Path

import numpy as np

from goodsam.datasets.city_folders import labelled
from goodsam.datasets.ids import Ids, mapped_ids, own_ids, read_ids
from goodsam.datasets.published import PublishedData, parse_where
from goodsam.errors import GoodSAMError
from goodsam.label_tables import CITYSCAPES19_TO_13, CITYSCAPES34_TO_19
from goodsam.labels import LABEL_SETS

_KIND = "cityscapes"
_GROUPS = {"label set": ("cityscapes19", "densepass13"), "split": ("train", "val")}
LABELLED = {"train": 2975, "val": 500}
_TRAIN_IDS, _LABEL_IDS = "_gtFine_labelTrainIds", "_gtFine_labelIds"


def cityscapes_data(where: str) -> PublishedData:
    """The data set `ROOT[,train|val][,densepass13]`: val by default.

    Raises:
        GoodSAMError: another form, a folder that is missing or empty, a photo without a label map or the reverse.
    """
    root, chosen = parse_where(_KIND, where, _GROUPS)
    split, label_set = chosen.get("split", "val"), LABEL_SETS[chosen.get("label set", "cityscapes19")]
    last = () if label_set.name == "cityscapes19" else (CITYSCAPES19_TO_13,)
    train_ids = mapped_ids("cityscapes19", label_set, *last) if last else own_ids(label_set)
    # -1, a licence plate, is never drawn, so that 255 stands in no file of label ids.
    label_ids = mapped_ids("Cityscapes' label ids", label_set, CITYSCAPES34_TO_19, *last, ignored=False)
    read = partial(_read, train_ids=train_ids, label_ids=label_ids)
    items = labelled(_KIND, root, split, ("_leftImg8bit",), (_TRAIN_IDS, _LABEL_IDS))
    return PublishedData(label_set, items, read, LABELLED[split], projection="photo")


def _read(path: Path, train_ids: Ids, label_ids: Ids) -> np.ndarray:
    return read_ids(path, train_ids if path.stem.endswith(_TRAIN_IDS) else label_ids)


def cityscapes_images(where: str) -> dict[str, Path]:
    """Cityscapes has no panoramas.

    Raises:
        GoodSAMError: always.
    """
    raise GoodSAMError(
        f"cityscapes:{where}: holds ordinary photos, not panoramas; give panoramas here, and Cityscapes to `goodsam "
        "assistant train --data`."
    )
