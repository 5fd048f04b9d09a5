"""CVAT for images 1.1: XML with one `<mask>` per class and image.

The run-lengths of a mask are those of its bounding box, row by row, off first.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from pycocotools import mask as coco

from goodsam.errors import GoodSAMError
from goodsam.labels import LabelSet
from goodsam.review.page import Page, box_of, class_named, classes_in, naming, unlabelled, without_suffix
from goodsam.review.runs import from_run_lengths, run_lengths

log = logging.getLogger(__name__)

FILE, LABELS = "annotations.xml", "labels.json"
AREAS = ("mask", "polygon")
"""What is painted."""
OTHERS = ("box", "ellipse", "polyline", "points", "cuboid", "skeleton")
"""What is refused rather than lost without a word."""


def masks_of(labels: np.ndarray, label_set: LabelSet) -> list[Element]:
    """A label map uint8 (H, W) as `<mask>` elements, one per class that occurs."""
    found = []
    for number in classes_in(labels, label_set):
        mask = labels == number
        left, top, width, height = box_of(mask)
        counts = run_lengths(mask[top : top + height, left : left + width].ravel())
        attributes = {"label": label_set.names[number], "source": "auto", "occluded": "0"}
        attributes |= {"rle": ", ".join(map(str, counts.tolist())), "left": str(left), "top": str(top)}
        attributes |= {"width": str(width), "height": str(height), "z_order": "0"}
        found.append(Element("mask", attributes))
    return found


def label_map_of(shapes: Sequence[Element], size: tuple[int, int], label_set: LabelSet) -> np.ndarray:
    """The shapes of one image as a label map, uint8 (H, W).

    Args:
        shapes: `<mask>` and `<polygon>` elements; where they overlap the one with the higher z_order holds, and of
            those with the same the later one.
        size: (H, W) of the image, pixels.
        label_set: of the run.
    Raises:
        GoodSAMError: an unknown class, or a mask that is damaged or leaves the image.
    """
    labels = unlabelled(size)
    for shape in sorted(shapes, key=lambda item: int(item.get("z_order", 0))):
        number = class_named(shape.attrib["label"], label_set)
        if shape.tag == "polygon":
            points = [float(value) for pair in shape.attrib["points"].split(";") for value in pair.split(",")]
            labels[coco.decode(coco.merge(coco.frPyObjects([points], *size))) > 0] = number
            continue
        left, top, width, height = (int(shape.attrib[name]) for name in ("left", "top", "width", "height"))
        if min(left, top) < 0 or min(width, height) < 1 or left + width > size[1] or top + height > size[0]:
            raise GoodSAMError(
                f"a mask of {width}x{height} pixels at {left}, {top} leaves the {size[1]}x{size[0]} image."
            )
        counts = np.array(shape.attrib["rle"].split(","), dtype=np.int64)
        mask = from_run_lengths(counts, width * height).reshape(height, width)
        labels[top : top + height, left : left + width][mask] = number
    return labels


def files_of(pages: Iterable[Page], label_set: LabelSet) -> dict[str, str]:
    """What is written beside `images`: name -> text."""
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    task = SubElement(SubElement(root, "meta"), "task")
    for number, page in enumerate(pages):
        height, width = page.labels.shape
        attributes = {"id": str(number), "name": page.image, "width": str(width), "height": str(height)}
        SubElement(root, "image", attributes).extend(masks_of(page.labels, label_set))
    number = len(root.findall("image"))
    facts = {"name": "goodsam", "size": number, "mode": "annotation", "overlap": 0, "start_frame": 0}
    for name, value in (facts | {"stop_frame": number - 1}).items():
        SubElement(task, name).text = str(value)
    described = SubElement(task, "labels")
    for entry in _labels(label_set):
        label = SubElement(described, "label")
        for name in ("name", "color", "type"):
            SubElement(label, name).text = str(entry[name])
        SubElement(label, "attributes")
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return {
        FILE: f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n',
        LABELS: json.dumps(_labels(label_set), indent=2, ensure_ascii=False) + "\n",
    }


def _labels(label_set: LabelSet) -> list[dict[str, object]]:
    """The classes as CVAT's raw label editor takes them."""
    return [
        {"name": name, "color": "#{:02x}{:02x}{:02x}".format(*color), "type": "mask", "attributes": []}
        for name, color in zip(label_set.names, label_set.colors, strict=True)
    ]


def read(root: Element, label_set: LabelSet, file: str) -> Iterator[tuple[str, np.ndarray]]:
    """Name without suffix and label map of every image that has shapes; `file` is for messages."""
    if root.find("track") is not None:
        raise GoodSAMError(f'{file}: is of a video; export the task as "CVAT for images 1.1".')
    for image in root.iter("image"):
        with naming(f"{file}: image {image.get('id')}"):
            name, size = image.attrib["name"], (int(image.attrib["height"]), int(image.attrib["width"]))
        with naming(f"{file}: {name}"):
            other = next((shape.tag for shape in image if shape.tag in OTHERS), None)
            if other is not None:
                raise GoodSAMError(f"a {other} is drawn on it, which has no pixels; use masks and polygons.")
            shapes = [shape for shape in image if shape.tag in AREAS]
            labels = label_map_of(shapes, size, label_set) if shapes else None
        if labels is None:
            log.info("review: %s: nothing is drawn on %s; it stays as it is.", file, name)
            continue
        yield without_suffix(name), labels
