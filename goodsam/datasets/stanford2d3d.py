"""Stanford 2D-3D-S: 1,413 indoor panoramas, 4096x2048 pixels, full spheres, and 70,496 photos, in 13 classes.

Layout: `AREA/pano/rgb/*_rgb.png` with `AREA/pano/semantic/*_semantic.png`, photos in `AREA/data/...`; areas are area_1
to area_4, area_5a, area_5b and area_6 (alexsax/2D-3D-Semantics, README.md). Copies of the panoramas alone leave `pano`
out (the preparation scripts of HoHoNet and what follows it). How labels are coded: `stanford_labels`. Areas of each
fold: jamycheung/Trans4PASS, segmentron/data/dataloader/stanford2d3d_pan.py. How many panoramas
and photos an area has is as the field quotes it, not read from a list: `goodsam data check` warns where it differs,
and nothing else depends on it.
"""

from functools import partial
from pathlib import Path

from goodsam.datasets.ids import mapped_ids
from goodsam.datasets.pairing import pair_by_name
from goodsam.datasets.published import PublishedData, list_parts, parse_where
from goodsam.datasets.stanford_labels import read_stanford
from goodsam.label_tables import STANFORD13_TO_8, STANFORD14_TO_13
from goodsam.labels import LABEL_SETS

_KIND = "stanford2d3d"
_GROUPS = {
    "label set": ("stanford13", "stanford8"),
    "fold": ("fold1", "fold2", "fold3"),
    "camera": ("pinhole",),
    "split": ("train", "val"),
}
AREAS = ("area_1", "area_2", "area_3", "area_4", "area_5a", "area_5b", "area_6")
FOLDS = {
    "fold1": ("area_5a", "area_5b"),
    "fold2": ("area_2", "area_4"),
    "fold3": ("area_1", "area_3", "area_6"),
}
"""The areas that a fold evaluates on; it trains on the others."""
PANORAMAS = {
    "area_1": 190, "area_2": 299, "area_3": 85, "area_4": 258, "area_5a": 143, "area_5b": 230, "area_6": 208,
}  # fmt: skip
PHOTOS = {"area_1": 10327, "area_2": 15714, "area_3": 3704, "area_4": 13268, "area_5a": 17593, "area_6": 9890}
"""Those of area_5b are counted with area_5a; every fold has both on one side."""
VFOV = 180.0


def stanford2d3d_data(where: str) -> PublishedData:
    """The data set `ROOT[,stanford8][,fold1|fold2|fold3][,pinhole][,train|val]`.

    Fold 1 by default. Panoramas are those to evaluate on by default, and photos (`pinhole`) those to train an assistant
    on, so that no area is seen on both sides unless it is asked for.

    Raises:
        GoodSAMError: another form, a folder that is missing or empty, an image without a label map or the reverse.
    """
    root, chosen = parse_where(_KIND, where, _GROUPS)
    pinhole = "camera" in chosen
    label_set = LABEL_SETS[chosen.get("label set", "stanford13")]
    areas = areas_of(chosen.get("fold", "fold1"), chosen.get("split", "train" if pinhole else "val"))
    images, labels = (list_parts(_KIND, _parts(root, areas, pinhole, folder)) for folder in ("rgb", "semantic"))
    items = pair_by_name(images, labels, ("_rgb",), ("_semantic",))
    tables = (STANFORD14_TO_13,) if label_set.name == "stanford13" else (STANFORD14_TO_13, STANFORD13_TO_8)
    ids = mapped_ids("Stanford2D3D with 0 for unknown", label_set, *tables, ignored=False)
    read = partial(read_stanford, root=root, images={labels: image for _, image, labels in items}, ids=ids)
    expected = sum((PHOTOS if pinhole else PANORAMAS).get(area, 0) for area in areas)
    if pinhole:
        return PublishedData(label_set, items, read, expected, projection="photo")
    return PublishedData(label_set, items, read, expected, VFOV)


def stanford2d3d_images(where: str) -> dict[str, Path]:
    """The panoramas of the areas that a fold of `ROOT` trains on, by stem.

    Raises:
        GoodSAMError: another form, or no such images there.
    """
    root, chosen = parse_where(_KIND, where, _GROUPS)
    return list_parts(_KIND, _parts(root, areas_of(chosen.get("fold", "fold1"), "train"), False, "rgb"))


def areas_of(fold: str, split: str) -> tuple[str, ...]:
    """The areas of "train" or "val" of a fold."""
    return FOLDS[fold] if split == "val" else tuple(area for area in AREAS if area not in FOLDS[fold])


def _parts(root: Path, areas: tuple[str, ...], pinhole: bool, folder: str) -> dict[str, Path]:
    choices = ("data",) if pinhole else ("pano", "")
    parts = {area: [root / area / choice / folder for choice in choices] for area in areas}
    return {area: next((path for path in paths if path.is_dir()), paths[0]) for area, paths in parts.items()}
