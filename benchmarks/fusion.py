"""Which form of fusion: several of them on the street world's target-dev, and the chosen one on labelled photos.

    python benchmarks/fusion.py [--small] [--json FILE] [--work DIR] [--strips N]
    python benchmarks/fusion.py --photos FOLDER --labels FOLDER --photo-assistant FILE.onnx [--json FILE]

Every form starts from the same merged probabilities and the same masks, joined over views. Masks: of the bundled
teacher, regions of even colour, both, and the true instances. "Thin" is the mean intersection over union of pole,
traffic light, traffic sign and person. Differences are paired bootstraps over images. The options of fusion are those
of the package, chosen on target-dev; nothing is chosen on photos. Seconds are of fusion alone, joining masks included.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ladder_data import rendered
from ladder_steps import majority_vote, true_masks
from torch import Tensor

from goodsam import files, pipeline
from goodsam.bootstrap import miou_of, paired_bootstrap
from goodsam.boundary_f1 import boundary_f1
from goodsam.config import FusionOptions, parse_size, run_options
from goodsam.dar.fusion import fuse, mean_probabilities
from goodsam.dar.merging import MergedMasks, merge_masks
from goodsam.ego import find_mounts, hidden, mount_of
from goodsam.images import read_label_map, read_photo
from goodsam.labels import LABEL_SETS, LabelSet
from goodsam.masks import Masks, PanoramaMasks, join_masks, read_masks
from goodsam.metrics import confusion_matrix, iou_of
from goodsam.panorama import Geometry, Panorama, geometry_of
from goodsam.teachers import Teacher
from goodsam.teachers.assistant import Assistant, load_assistant, merged_probabilities, predict_image
from goodsam.views import WHOLE, cut, lay_views

THIN = ("pole", "traffic light", "traffic sign", "person")
OURS = "logarithmic pool"


@dataclass(frozen=True)
class Case:
    """One image before fusion."""

    merged: Tensor
    """P, float32 (C, H, W)."""
    labels: np.ndarray
    """True label map, uint8 (H, W)."""
    geometry: Geometry
    masks: dict[str, PanoramaMasks]
    """By the name of who made them."""
    wraps: bool


Form = Callable[[Case, PanoramaMasks, MergedMasks], np.ndarray]


def pooled(**options: float) -> Form:
    """Our fusion with some options."""
    return lambda case, _, masks: arg_max(fuse(case.merged, masks, FusionOptions(**options)))


def arg_max(probabilities: Tensor) -> np.ndarray:
    """uint8 (H, W)."""
    return probabilities.argmax(0).byte().numpy()


def alone(case: Case, _: PanoramaMasks, __: MergedMasks) -> np.ndarray:
    """No fusion."""
    return arg_max(case.merged)


def voted(case: Case, masks: PanoramaMasks, _: MergedMasks) -> np.ndarray:
    """Each mask takes the class of most of its pixels; view by view, small over large."""
    return majority_vote(arg_max(case.merged), masks, case.geometry)


def equal_scores(case: Case, _: PanoramaMasks, masks: MergedMasks) -> np.ndarray:
    """The pool without the teacher's predicted IoU and stability."""
    return arg_max(fuse(case.merged, replace(masks, scores=np.ones_like(masks.scores)), FusionOptions()))


def agreeing(case: Case, _: PanoramaMasks, masks: MergedMasks) -> np.ndarray:
    """The pool with the gate of agreement as a further factor of each mask's score."""
    gates = gates_of(case.merged, masks)
    return arg_max(fuse(case.merged, replace(masks, scores=masks.scores * gates), FusionOptions()))


def painted(case: Case, _: PanoramaMasks, masks: MergedMasks) -> np.ndarray:
    """Masks painted from large to small with a gate: E <- (1 - g_m) E + g_m q_m, g_m = score_m * gate_m."""
    said, gates = mean_probabilities(case.merged, masks), gates_of(case.merged, masks) * masks.scores
    ensemble = case.merged.flatten(1).T.numpy().copy()
    member = masks.member
    for number in np.argsort(-masks.areas, kind="stable"):
        inside = member.indices[member.indptr[number] : member.indptr[number + 1]]
        ensemble[inside] += gates[number] * (said[number] - ensemble[inside])
    return ensemble.argmax(1).astype(np.uint8).reshape(case.labels.shape)


def gates_of(merged: Tensor, masks: MergedMasks) -> np.ndarray:
    """clip((a_m - 0.5) / 0.4, 0, 1), a_m the share of a mask's pixels whose arg max is that of the mask: float (M,)."""
    winner = mean_probabilities(merged, masks).argmax(1)
    owner = np.repeat(np.arange(len(masks.areas)), np.diff(masks.member.indptr))
    same = merged.argmax(0).numpy().ravel()[masks.member.indices] == winner[owner]
    agreement = np.bincount(owner, weights=same, minlength=len(masks.areas)) / np.maximum(masks.areas, 1)
    return ((agreement - 0.5) / 0.4).clip(0, 1)


FORMS: dict[str, Form] = {
    "assistant alone": alone,
    "majority vote": voted,
    "painted with a gate": painted,
    OURS: pooled(),
    "pool, weight 0.5": pooled(mask_weight=0.5),
    "pool, weight 1": pooled(mask_weight=1.0),
    "pool, weight 4": pooled(mask_weight=4.0),
    "pool, weight 8": pooled(mask_weight=8.0),
    "pool, equal scores": equal_scores,
    "pool, gate of agreement": agreeing,
}
ON_PHOTOS = ("assistant alone", "majority vote", OURS)


def strip_cases(options: argparse.Namespace, assistant: Assistant) -> Iterator[Case]:
    """Strips of target-dev, their camera car hidden."""
    size = parse_size(options.size, "--size")
    pictures = rendered(options.work, "target-dev", "strip", size, 0, options.strips, 1)
    cars = find_mounts([pictures.root / "images" / f"{stem}.jpg" for stem in pictures.stems])
    teachers = {name: load_teacher(name, options.preset) for name in ("street", "regions")}
    for stem in pictures.stems:
        panorama, path = pictures.panorama(stem), options.work / "fusion-masks" / f"{size[0]}x{size[1]}"
        car = mount_of(panorama.pixels, cars)
        seen = panorama if car is None else hidden(panorama, car.mask)
        masks = {
            name: kept_masks(path / f"{name}-{options.preset}" / f"{stem}.json.gz", teacher, panorama)
            for name, teacher in teachers.items()
        }
        masks["street and regions"] = both(masks["street"], masks["regions"])
        masks["true instances"] = true_masks(pictures.instances(stem), panorama.geometry)
        merged = merged_probabilities(assistant, seen, lay_views(panorama.geometry))
        yield Case(merged, pictures.labels(stem), panorama.geometry, masks, True)


def kept_masks(path: Path, teacher: Teacher, panorama: Panorama) -> PanoramaMasks:
    """A teacher's masks of all views; made once, kept on disk."""
    if not path.exists():
        geometry = panorama.geometry
        views = tuple((view, teacher.masks(cut(panorama, view))) for view in lay_views(geometry))
        PanoramaMasks((geometry.height, geometry.width), teacher.name, views).write(path)
    return read_masks(path)


def both(first: PanoramaMasks, second: PanoramaMasks) -> PanoramaMasks:
    """The masks of two teachers of the same views."""
    views = [(view, join_masks([a, b])) for (view, a), (_, b) in zip(first.views, second.views, strict=True)]
    return PanoramaMasks(first.size, f"{first.teacher}+{second.teacher}", tuple(views))


def photo_cases(options: argparse.Namespace, assistant: Assistant) -> Iterator[Case]:
    """Photos with labels, seen whole."""
    maps = files.list_images(options.labels)
    teachers = {name: load_teacher(name, options.preset) for name in ("street", "regions")}
    for stem, path in list(files.list_images(options.photos).items())[:: 10 if options.small else 1]:
        pixels = read_photo(path)
        size = pixels.shape[:2]
        found: dict[str, Masks] = {name: teacher.masks(pixels) for name, teacher in teachers.items()}
        found["street and regions"] = join_masks([found["street"], found["regions"]])
        masks = {name: PanoramaMasks(size, name, ((WHOLE, item),)) for name, item in found.items()}
        merged = predict_image(assistant, pixels, (1.0,)).probabilities[0].cpu()
        geometry = geometry_of(size, vfov=90.0)  # of no meaning here: one view sees everything, and alike
        yield Case(merged, read_label_map(maps[stem]), geometry, masks, False)


def load_teacher(name: str, preset: str) -> Teacher:
    """A teacher by its name."""
    return pipeline.load_teacher(run_options(sam=name, preset=preset), torch.device("cpu"))


def measure(cases: Iterator[Case], forms: tuple[str, ...], label_set: LabelSet) -> list[dict[str, Any]]:
    """A row for every teacher and form."""
    confusions: dict[tuple[str, str], list[np.ndarray]] = {}
    boundaries: dict[tuple[str, str], list[np.ndarray]] = {}
    seconds: dict[tuple[str, str], float] = {}
    for case in cases:
        for teacher, masks in case.masks.items():
            start = time.perf_counter()
            merged_masks = merge_masks(masks.views, case.geometry)
            joining = time.perf_counter() - start
            for form in forms:
                start = time.perf_counter()
                made = FORMS[form](case, masks, merged_masks)
                key = (teacher, form)
                seconds[key] = seconds.get(key, 0) + time.perf_counter() - start + joining
                classes = len(label_set)
                confusions.setdefault(key, []).append(confusion_matrix(case.labels, made, classes))
                boundaries.setdefault(key, []).append(boundary_f1(case.labels, made, classes, wrap=case.wraps))
    rows = []
    for (teacher, form), found in confusions.items():
        confusion, reference = np.array(found), np.array(confusions[teacher, "assistant alone"])
        ious = dict(zip(label_set.names, iou_of(confusion.sum(0)), strict=True))
        shown = np.array(boundaries[teacher, form])
        thin = [ious[name] for name in THIN if not np.isnan(ious.get(name, np.nan))]
        per_class = [np.nanmean(column) for column in shown.T if not np.isnan(column).all()]
        interval = paired_bootstrap(reference, confusion)
        rows.append(
            {
                "masks": teacher,
                "form": form,
                "images": len(found),
                "miou": float(miou_of(confusion.sum(0))),
                "boundary_f1": float(np.mean(per_class)),
                "thin": float(np.mean(thin)) if thin else 0.0,
                "more": [interval.difference, interval.low, interval.high],
                "seconds": seconds[teacher, form] / len(found),
            }
        )
    return rows


def show(rows: list[dict[str, Any]]) -> str:
    """A Markdown table, percent."""
    lines = ["| masks | fusion | mIoU | more than alone, 95 % interval | boundary F1 | thin | s |", "|" + "---|" * 7]
    for row in rows:
        more = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*(100 * value for value in row["more"]))
        figures = (100 * row["miou"], 100 * row["boundary_f1"], 100 * row["thin"])
        lines.append(
            f"| {row['masks']} | {row['form']} | {figures[0]:.2f} | {more} | {figures[1]:.2f} | {figures[2]:.2f} | "
            f"{row['seconds']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="one small strip, every tenth photo")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--work", type=Path, help="keeps strips and masks; default a temporary folder")
    parser.add_argument("--strips", type=int, help="strips of target-dev; default 12, with --small 1, with photos 0")
    parser.add_argument("--size", help="HxW of the strips; default 400x2048, with --small 160x832")
    parser.add_argument("--preset", default="fast", help="of the bundled teacher's prompts")
    parser.add_argument("--photos", type=Path, help="folder of photos; needs --labels and --photo-assistant")
    parser.add_argument("--labels", type=Path, help="uint8 ids of the assistant's classes, 255 ignored, same stems")
    parser.add_argument("--photo-assistant", help="as of goodsam distill")
    options = parser.parse_args()
    if options.photos and not (options.labels and options.photo_assistant):
        parser.error("--photos needs --labels and --photo-assistant")
    options.strips = (
        options.strips if options.strips is not None else 0 if options.photos else 1 if options.small else 12
    )
    options.size = options.size or ("160x832" if options.small else "400x2048")
    result: dict[str, Any] = {"fusion": FusionOptions().__dict__, "preset": options.preset}
    with tempfile.TemporaryDirectory() as temporary:
        options.work = options.work or Path(temporary)
        if options.strips:
            cases = strip_cases(options, load_assistant("street", "densepass13"))
            result["strips"] = measure(cases, tuple(FORMS), LABEL_SETS["densepass13"])
            print(show(result["strips"]))
        if options.photos:
            assistant = load_assistant(options.photo_assistant)
            result["photos"] = measure(photo_cases(options, assistant), ON_PHOTOS, assistant.label_set)
            print(show(result["photos"]))
    if options.json:
        files.write_json(options.json, result)


if __name__ == "__main__":
    main()
