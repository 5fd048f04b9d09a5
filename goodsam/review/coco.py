"""COCO instances: JSON with one annotation per class and image, its mask a compressed run-length.

An annotation that stands for a collection of objects has `iscrowd: 1`, and run-lengths in the place of polygons: that
is the format's own rule, and tools take it as a mask.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco

from goodsam import __version__
from goodsam.errors import GoodSAMError
from goodsam.labels import LabelSet
from goodsam.masks import decode_runs
from goodsam.review.page import Page, class_named, classes_in, naming, unlabelled, without_suffix

log = logging.getLogger(__name__)

FILE = "annotations/instances_default.json"
"""Where tools that take a COCO folder look for it; the images lie in `images`."""


def annotations_of(labels: np.ndarray, label_set: LabelSet) -> list[dict[str, Any]]:
    """A label map uint8 (H, W) as annotations, one per class that occurs; ids are given by `files_of`."""
    columns = np.asfortranarray(labels)  # pycocotools goes down the columns
    found = []
    for number in classes_in(labels, label_set):
        rle = coco.encode((columns == number).view(np.uint8))
        found.append(
            {
                "category_id": number + 1,
                "segmentation": {"size": list(labels.shape), "counts": rle["counts"].decode("ascii")},
                "area": int(coco.area(rle)),
                "bbox": coco.toBbox(rle).tolist(),
                "iscrowd": 1,
            }
        )
    return found


def label_map_of(
    annotations: Sequence[Mapping[str, Any]],
    size: tuple[int, int],
    categories: Mapping[int, str],
    label_set: LabelSet,
) -> np.ndarray:
    """The annotations of one image as a label map, uint8 (H, W); where they overlap, the later one holds.

    Args:
        annotations: with polygons, run-lengths or compressed run-lengths.
        size: (H, W) of the image, pixels.
        categories: id -> name, of the file.
        label_set: of the run.
    Raises:
        GoodSAMError: an unknown category or class, or a mask that is damaged or of another size.
    """
    labels = np.asfortranarray(unlabelled(size))  # down the columns, as pycocotools' masks lie
    for item in annotations:
        if item["category_id"] not in categories:
            raise GoodSAMError(f"category_id {item['category_id']} is none of the file's categories.")
        number = class_named(categories[item["category_id"]], label_set)
        rle = _compressed(item.get("segmentation"), size)
        left, top, width, height = (int(value) for value in coco.toBbox(rle))
        part = slice(top, top + height), slice(left, left + width)
        np.copyto(labels[part], number, where=coco.decode(rle)[part].view(bool))
    return np.ascontiguousarray(labels)


def _compressed(segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Any of COCO's three forms of a mask as pycocotools' own."""
    if not segmentation:
        raise GoodSAMError("an annotation has no segmentation; draw a mask or polygon in the place of a box.")
    if isinstance(segmentation, list):
        return dict(coco.merge(coco.frPyObjects(segmentation, *size)))
    counts = segmentation["counts"]
    if list(segmentation["size"]) != list(size):
        raise GoodSAMError(
            f"a mask is of {segmentation['size'][1]}x{segmentation['size'][0]} pixels, not {_size(size)}."
        )
    if isinstance(counts, list):
        if sum(counts) != size[0] * size[1] or min(counts) < 0:
            raise GoodSAMError(f"run-lengths of {sum(counts)} pixels in an image of {_size(size)}; it is damaged.")
        return dict(coco.frPyObjects(segmentation, *size))
    data = counts.encode("ascii")
    groups = np.frombuffer(data, dtype=np.uint8).astype(int) - 48
    whole = len(groups) > 0 and ((groups >= 0) & (groups < 64)).all() and groups[-1] < 32
    starts, lengths, _ = decode_runs((data,)) if whole else (np.zeros(1), np.full(1, -1), None)
    # pycocotools trusts what it is given, so that a number out of range is refused before it sees it.
    if (lengths < 0).any() or (starts < 0).any() or (starts + lengths > size[0] * size[1]).any():
        raise GoodSAMError(f"the run-lengths {counts[:20]!r}... do not fit {_size(size)} pixels; it is damaged.")
    return {"size": list(size), "counts": data}


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def files_of(pages: Iterable[Page], label_set: LabelSet) -> dict[str, str]:
    """What is written beside `images`: name -> text."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, page in enumerate(pages, 1):
        height, width = page.labels.shape
        images.append({"id": number, "file_name": page.image, "width": width, "height": height, "license": 0})
        for item in annotations_of(page.labels, label_set):
            annotations.append({"id": len(annotations) + 1, "image_id": number, **item})
    value = {
        "info": {"description": "Labels to be corrected", "version": "", "contributor": f"goodsam {__version__}"},
        "licenses": [{"id": 0, "name": "", "url": ""}],
        "categories": [{"id": n, "name": name, "supercategory": ""} for n, name in enumerate(label_set.names, 1)],
        "images": images,
        "annotations": annotations,
    }
    return {FILE: json.dumps(value, ensure_ascii=False) + "\n"}


def read(value: Mapping[str, Any], label_set: LabelSet, file: str) -> Iterator[tuple[str, np.ndarray]]:
    """Name without suffix and label map of every image that has annotations; `file` is for messages."""
    with naming(file):
        categories = {item["id"]: item["name"] for item in value["categories"]}
        images = [(item["id"], item["file_name"], (item["height"], item["width"])) for item in value["images"]]
        drawn: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
        for item in value["annotations"]:
            drawn[item["image_id"]].append(item)
        strangers = sorted(map(str, drawn.keys() - {number for number, _, _ in images}))
        if strangers:
            raise GoodSAMError(f"has annotations of image_id {strangers[0]}, but no such image.")
    for number, name, size in images:
        if not drawn[number]:
            log.info("review: %s: nothing is drawn on %s; it stays as it is.", file, name)
            continue
        with naming(f"{file}: {name}"):
            labels = label_map_of(drawn[number], size, categories, label_set)
        yield without_suffix(name), labels
