"""How well the teacher outlines what is under a point, in the street world, on photographs and on real panoramas.

    python benchmarks/teacher.py [--sam street] [--small] [--json FILE] [--photos FOLDER --labels FOLDER]
        [--panoramas FOLDER --assistant FILE.onnx]

Street world: views (crops) of target-dev strips. Each object of at least 400 pixels of a view is prompted once, at its
pixel farthest from its border (as in SAM's paper, section 7.1): intersection over union of the best of the three masks
with the object; beside it the best among all automatic masks that contain the point, of the teacher and of
`regions`. Photographs: the share of label borders within 2 pixels of an automatic mask's border. Real panoramas have no
labels: there it is the share of borders of an assistant's label map, which says how the two agree.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from skimage.segmentation import find_boundaries

from goodsam.config import RunOptions, TeacherOptions, parse_size
from goodsam.files import list_images
from goodsam.images import read_label_map, read_photo
from goodsam.labels import LABEL_SETS
from goodsam.panorama import Geometry, geometry_of, read_panorama
from goodsam.pipeline import load_teacher
from goodsam.streetworld import split_named, write_scenes
from goodsam.teachers import Teacher
from goodsam.teachers.assistant import load_assistant, predict_views
from goodsam.teachers.mask_generator import SamTeacher
from goodsam.views import cut, cut_labels, lay_views

LABELS = LABEL_SETS["densepass13"]
LEAST = 400
"""Smallest object that is prompted, pixels of a view."""
SIZES = {"400 to 1,000": (400, 1000), "1,000 to 4,000": (1000, 4000), "4,000 to 16,000": (4000, 16000),
         "16,000 and more": (16000, 1 << 30)}  # fmt: skip
THIN = 5.0
"""An object is thin where its largest inscribed circle has a radius below this, pixels."""


@dataclass(frozen=True)
class Object:
    """One object of one view."""

    mask: np.ndarray
    """bool (h, w)."""
    point: tuple[int, int]
    """Row and column of its pixel farthest from its border."""
    radius: float
    """Of its largest inscribed circle, pixels."""
    label: int
    """Its class."""


def objects_of(instances: np.ndarray, labels: np.ndarray) -> Iterator[Object]:
    """The objects of a view that are large enough; id 0 is what has no label."""
    areas = np.bincount(instances.ravel())
    for number in np.flatnonzero(areas >= LEAST):
        if number == 0:
            continue
        mask = instances == number
        inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]  # a view's border is a border
        place = int(inside.argmax())
        point = (place // mask.shape[1], place % mask.shape[1])
        yield Object(mask, point, float(inside.max()), int(labels[point]))


def iou_of(masks: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Intersection over union of N masks (N, h, w) with one (h, w): (N,)."""
    if not len(masks):
        return np.zeros(1)
    flat, own = masks.reshape(len(masks), -1).astype(np.float32), mask.ravel().astype(np.float32)
    both = flat @ own
    return both / (flat.sum(1) + own.sum() - both)


def views_of(root: Path) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pixels, instances and labels of every other crop of the strips in a folder: they cover all yaw once."""
    for stem, path in list_images(root / "images").items():
        panorama = read_panorama(path, 70.0)
        labels = read_label_map(root / "labels" / f"{stem}.png")
        instances = np.asarray(Image.open(root / "instances" / f"{stem}.png")).astype(np.int32)
        for view in lay_views(panorama.geometry, "crops")[::2]:
            geometry: Geometry = panorama.geometry
            yield (
                cut(panorama, view),
                cut_labels(instances, geometry, view, ignore=0),
                cut_labels(labels, geometry, view),
            )


def street_world(root: Path, teacher: Teacher, regions: Teacher, automatic: int) -> dict[str, object]:
    """Rows of objects, and what they come to; automatic masks are made of the first `automatic` views."""
    rows, predicted, true, counts, seconds = [], [], [], [], 0.0
    for number, (pixels, instances, labels) in enumerate(views_of(root)):
        found = list(objects_of(instances, labels))
        if not found:
            continue
        with_masks = number < automatic
        start = time.perf_counter()
        own = teacher.masks(pixels).to_arrays() if with_masks else None
        seconds += time.perf_counter() - start
        other = regions.masks(pixels).to_arrays() if with_masks else None
        prompted, scores = prompts_of(teacher, pixels, found)
        if own is not None:
            counts.append(len(own))
        for index, item in enumerate(found):
            row, column = item.point
            row_of = {"area": int(item.mask.sum()), "radius": item.radius, "label": item.label}
            if prompted is not None and scores is not None:
                ious = iou_of(prompted[index], item.mask)
                predicted += scores[index].tolist()
                true += ious.tolist()
                row_of |= {"prompt": float(ious.max()), "chosen": float(ious[scores[index].argmax()])}
            for name, masks in (("automatic", own), ("regions", other)):
                if masks is not None:
                    row_of[name] = float(iou_of(masks[masks[:, row, column]], item.mask).max())
            rows.append(row_of)
    result: dict[str, object] = {"table": table(rows), "objects": len(rows)}
    if predicted:
        result["correlation"] = float(np.corrcoef(predicted, true)[0, 1])
    return result | {"masks_per_view": float(np.mean(counts)), "seconds_per_view": seconds / max(1, len(counts))}


def prompts_of(
    teacher: Teacher, pixels: np.ndarray, found: list[Object]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Three masks and predicted IoUs for each object's point; None for a teacher that takes no prompts."""
    if not isinstance(teacher, SamTeacher):
        return None, None
    points = np.array([[item.point[1] + 0.5, item.point[0] + 0.5] for item in found], np.float32)
    return teacher.prompt(pixels, points)


def table(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Means by size, for thin objects and by class."""
    groups = {"all": rows}
    groups |= {name: [row for row in rows if low <= row["area"] < high] for name, (low, high) in SIZES.items()}
    groups["thin"] = [row for row in rows if row["radius"] < THIN]
    groups |= {name: [row for row in rows if row["label"] == index] for index, name in enumerate(LABELS.names)}
    return {name: summed(group) for name, group in groups.items() if group}


def summed(rows: list[dict[str, float]]) -> dict[str, float]:
    """Number of objects and mean of each figure that any of them has."""
    result: dict[str, float] = {"objects": len(rows)}
    for name in ("prompt", "chosen", "automatic", "regions"):
        values = [row[name] for row in rows if name in row]
        if values:
            result[name] = float(np.mean(values))
    return result


def border_recall(masks: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Share of label borders within 2 pixels of a mask's border, and share of all pixels that are."""
    valid = labels != 255
    border = find_boundaries(labels, mode="inner") & ~ndimage.binary_dilation(~valid, iterations=2)
    lines = np.zeros(labels.shape, bool)
    for mask in masks:
        lines |= mask & ~ndimage.binary_erosion(mask, border_value=1)  # the photo's edge is no border
    near = ndimage.binary_dilation(lines, iterations=2)
    return float((border & near).sum() / max(1, border.sum())), float(near.mean())


def mean_recall(teacher: Teacher, pairs: Iterator[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Means over images of `border_recall`, masks and the share of pixels that any mask covers."""
    rows = []
    for pixels, labels in pairs:
        masks = teacher.masks(pixels).to_arrays()
        rows.append((*border_recall(masks, labels), len(masks), masks.any(0).mean() if len(masks) else 0.0))
    recall, near, count, covered = np.mean(rows, axis=0).tolist()
    return {"recall": recall, "near_any_border": near, "masks": count, "covered": covered, "images": len(rows)}


def photo_pairs(images: Path, labels: Path, step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every `step`-th photo with its labels."""
    maps = list_images(labels)
    for stem, path in list(list_images(images).items())[::step]:
        yield read_photo(path), read_label_map(maps[stem])


def panorama_pairs(folder: Path, assistant: str, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every other crop of the first panoramas with what an assistant says of it."""
    segmenter = load_assistant(assistant)
    for path in list(list_images(folder).values())[:count]:
        panorama = read_panorama(path)
        views = lay_views(geometry_of(panorama.pixels.shape[:2]), "crops")[::2]
        for view, output in predict_views(segmenter, panorama, views):
            yield cut(panorama, view), output.probabilities[0].argmax(0).numpy().astype(np.uint8)


def show(name: str, rows: dict[str, dict[str, float]]) -> None:
    """Print a table of figures by row."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    print(f"\n{name:18}" + "".join(f"{column:>16}" for column in columns))
    for label, row in rows.items():
        print(f"{label:18}" + "".join(f"{row[column]:16.3f}" if column in row else " " * 16 for column in columns))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sam", default="street")
    parser.add_argument("--strips", type=int, default=40, help="strips of target-dev")
    parser.add_argument("--size", default="400x2048", help="HxW of a strip")
    parser.add_argument("--automatic", type=int, default=48, help="views of them that automatic masks are made of")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--panoramas", type=Path)
    parser.add_argument("--assistant", help="an .onnx file, for --panoramas")
    parser.add_argument("--small", action="store_true", help="a tenth of everything")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    share = 10 if options.small else 1
    teacher = load_teacher(RunOptions(teacher=TeacherOptions(sam=options.sam)), torch.device("cpu"))
    regions = load_teacher(RunOptions(teacher=TeacherOptions(sam="regions")), torch.device("cpu"))
    split = split_named("target-dev")
    result: dict[str, object] = {"sam": options.sam, "options": teacher.options()}
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write_scenes(
            root, max(1, options.strips // share), split.seed, "strip", split.style, parse_size(options.size, "--size")
        )
        street = street_world(root, teacher, regions, max(1, options.automatic // share))
    result["street_world"] = street
    show("street world", street["table"])  # type: ignore[arg-type]
    print({name: value for name, value in street.items() if name != "table"})
    teachers = {options.sam: teacher, "regions": regions}
    if options.photos and options.labels:
        rows = {k: mean_recall(v, photo_pairs(options.photos, options.labels, 4 * share)) for k, v in teachers.items()}
        result["photos"] = rows
        show("photos", rows)
    if options.panoramas and options.assistant:
        count = max(1, 10 // share)
        rows = {
            k: mean_recall(v, panorama_pairs(options.panoramas, options.assistant, count)) for k, v in teachers.items()
        }
        result["panoramas"] = rows
        show("real panoramas", rows)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
