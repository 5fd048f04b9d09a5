"""Label Studio: tasks with predictions, one brush region per class, and the labelling configuration for them."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from goodsam.errors import GoodSAMError
from goodsam.labels import LabelSet
from goodsam.review import brush
from goodsam.review.page import Page, class_named, classes_in, naming, unlabelled

log = logging.getLogger(__name__)

FILE, CONFIG = "tasks.json", "labels.xml"
SERVED = "/data/local-files/?d="
"""Where Label Studio serves the files below its document root."""


def results_of(labels: np.ndarray, label_set: LabelSet) -> list[dict[str, Any]]:
    """A label map uint8 (H, W) as brush regions, one per class that occurs."""
    height, width = labels.shape
    found = []
    for number in classes_in(labels, label_set):
        value = {"format": "rle", "rle": brush.encode(labels == number), "brushlabels": [label_set.names[number]]}
        shared = {"type": "brushlabels", "from_name": "label", "to_name": "image", "image_rotation": 0}
        found.append(
            {"id": f"class{number}", **shared, "original_width": width, "original_height": height, "value": value}
        )
    return found


def label_map_of(results: Sequence[Mapping[str, Any]], label_set: LabelSet) -> np.ndarray:
    """The brush regions of one image as a label map, uint8 (H, W); where they overlap, the later one holds.

    Raises:
        GoodSAMError: a region without one known class, of another kind or size, turned, or damaged.
    """
    size = (int(results[0]["original_height"]), int(results[0]["original_width"]))
    labels = unlabelled(size)
    for item in results:
        value, own = item["value"], (item["original_height"], item["original_width"])
        if value.get("format") != "rle":
            raise GoodSAMError(
                f"a region of type {item.get('type')} is drawn on it; use the brush, as {CONFIG} offers."
            )
        if own != size or item.get("image_rotation", 0):
            raise GoodSAMError(
                f"a region of {own[1]}x{own[0]} pixels, turned by {item.get('image_rotation', 0)} degrees."
            )
        names = value.get("brushlabels") or value.get("labels") or []
        if len(names) != 1:
            raise GoodSAMError(f"a region with {len(names)} classes; it must have one, or be deleted.")
        number = class_named(names[0], label_set)
        labels[brush.decode(value["rle"], size)] = number
    return labels


def files_of(pages: Iterable[Page], label_set: LabelSet) -> dict[str, str]:
    """What is written beside `images`: name -> text."""
    tasks = [
        {
            "data": {"image": f"{SERVED}{quote(f'images/{page.image}')}", "stem": page.stem},
            "predictions": [
                {
                    "model_version": "goodsam",
                    "score": round(page.confidence, 4),
                    "result": results_of(page.labels, label_set),
                }
            ],
        }
        for page in pages
    ]
    return {FILE: json.dumps(tasks, ensure_ascii=False) + "\n", CONFIG: _configuration(label_set)}


def _configuration(label_set: LabelSet) -> str:
    view = Element("View")
    SubElement(view, "Image", {"name": "image", "value": "$image", "zoom": "true", "zoomControl": "true"})
    brushes = SubElement(view, "BrushLabels", {"name": "label", "toName": "image"})
    for name, color in zip(label_set.names, label_set.colors, strict=True):
        SubElement(brushes, "Label", {"value": name, "background": "#{:02x}{:02x}{:02x}".format(*color)})
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def read(tasks: Sequence[Mapping[str, Any]], label_set: LabelSet, file: str) -> Iterator[tuple[str, np.ndarray]]:
    """Stem and label map of every task that a person has submitted with regions; `file` is for messages."""
    for number, task in enumerate(tasks, 1):
        with naming(f"{file}: task {task.get('id', number)}"):
            if "stem" not in task["data"]:
                raise GoodSAMError(f"its data has no stem; make the project from the {FILE} that review writes.")
            stem = str(task["data"]["stem"])
        with naming(f"{file}: {stem}"):
            regions = _regions(task.get("annotations", []))
            labels = label_map_of(regions, label_set) if regions else None
        if labels is None:
            log.info("review: %s: nothing was submitted for %s; it stays as it is.", file, stem)
            continue
        yield stem, labels


def _regions(annotations: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What is drawn in the annotation that was changed last; answers of other kinds, such as comments, left out."""
    submitted = [item for item in annotations if not item.get("was_cancelled")]
    if not submitted:
        return []
    _, _, last = max((str(item.get("updated_at", "")), place, item) for place, item in enumerate(submitted))
    return [item for item in last["result"] if "original_width" in item]
