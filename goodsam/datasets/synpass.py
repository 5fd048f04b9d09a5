"""SynPASS: 9,080 synthetic street panoramas, 2048x1024 pixels, full spheres, in 22 classes under four weathers.

Layout: `img/WEATHER/SPLIT/MAP_1_point2/000000.jpg` with `semantic/WEATHER/SPLIT/MAP_1_point2/000000_trainID.png`;
weathers are cloud, fog, rain and sun (jamycheung/Trans4PASS, README.md and adaptations/dataset/synpass_list; the loader
is segmentron/data/dataloader/synpass.py of jamycheung/360BEV). Files hold ids 0..22, of which 0 is not labelled and is
ignored; that loader also ignores 255.
"""

from functools import partial
from pathlib import Path

from goodsam.datasets.ids import Ids, mapped_ids, own_ids, read_ids
from goodsam.datasets.pairing import pair_by_name
from goodsam.datasets.published import PublishedData, list_parts, parse_where
from goodsam.label_tables import NONE, SYNPASS23_TO_13
from goodsam.labels import LABEL_SETS

_KIND = "synpass"
_GROUPS = {"label set": ("synpass23", "densepass13"), "split": ("train", "val", "test")}
LABELLED = {"train": 5700, "val": 1690, "test": 1690}
VFOV = 180.0
_WEATHERS = ("cloud", "fog", "rain", "sun")


def synpass_data(where: str) -> PublishedData:
    """The data set `ROOT[,train|val|test][,densepass13]`: val by default.

    Raises:
        GoodSAMError: another form, a folder that is missing or empty, an image without a label map or the reverse.
    """
    root, chosen = parse_where(_KIND, where, _GROUPS)
    split, ids = chosen.get("split", "val"), _ids(chosen.get("label set", "synpass23"))
    images, labels = (list_parts(_KIND, _parts(root / folder, split)) for folder in ("img", "semantic"))
    items = pair_by_name(images, labels, ("",), ("_trainID",))
    return PublishedData(ids.label_set, items, partial(read_ids, ids=ids), LABELLED[split], VFOV)


def synpass_images(where: str) -> dict[str, Path]:
    """The panoramas of the training split of `ROOT` by stem.

    Raises:
        GoodSAMError: another form, or no such images there.
    """
    root, _ = parse_where(_KIND, where, _GROUPS)
    return list_parts(_KIND, _parts(root / "img", "train"))


def _parts(folder: Path, split: str) -> dict[str, Path]:
    return {f"{weather}/{split}": folder / weather / split for weather in _WEATHERS}


def _ids(name: str) -> Ids:
    if name == "densepass13":
        # Full spheres show sky (id 13), so a file whose ids end at 12 was mapped by someone.
        return mapped_ids("synpass23", LABEL_SETS[name], SYNPASS23_TO_13, reaches=True)
    ids = own_ids(LABEL_SETS[name])
    ids.table[0] = NONE
    return ids
