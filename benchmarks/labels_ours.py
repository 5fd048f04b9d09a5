"""Our side of `labels.py`, one job a process: the assistant, our masks, fusion of any masks, a network of full size.

python benchmarks/labels_ours.py JOB      # JOB: JSON, as labels.py writes it
"""

import io
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from labels_shared import Watch, middle, network, peak_mb, read_views, say, use_threads
from ladder_scores import LABEL_SET, counts

from goodsam import files
from goodsam.config import FusionOptions
from goodsam.dar.fusion import fuse
from goodsam.dar.merging import merge_masks
from goodsam.ego import hidden, mount_of, read_mounts
from goodsam.hints import hints_of
from goodsam.images import read_label_map
from goodsam.masks import Masks, PanoramaMasks, read_masks
from goodsam.panorama import Panorama, read_panorama
from goodsam.teachers import placing, prompts
from goodsam.teachers.assistant import Assistant, load_assistant, merged_probabilities
from goodsam.teachers.normalisation import IMAGENET_MEAN, IMAGENET_STD
from goodsam.teachers.placing import Hint
from goodsam.teachers.preprocessing import Preprocessing
from goodsam.teachers.sam import PRESETS, STREET_PRESETS, SamOptions, SamTeacher, load_sam
from goodsam.views import View, cut, lay_views
from goodsam.weights import STREET

EVERYTHING: dict[str, Any] = {"iou_threshold": 0.0, "stability_threshold": 0.0, "nms_threshold": 1.0, "min_area": 0}
"""Options under which every mask that is not empty is kept."""


def our_masks(
    teacher: SamTeacher, panorama: Panorama, views: tuple[View, ...], assistant: Assistant | None
) -> tuple[list[Masks], float]:
    """Masks of a panorama's views as the masks stage makes them, and the seconds that the hints took of it."""
    start = time.perf_counter()
    hints: list[Hint | None] = [None] * len(views)
    if assistant is not None:
        hints = [*hints_of(assistant, panorama, views)]
    seconds = time.perf_counter() - start
    return teacher.masks_of_views([cut(panorama, view) for view in views], hints), seconds


def one_prompt(teacher: SamTeacher, image: np.ndarray) -> np.ndarray:
    """The raw logits of one prompt, float32 (3, h', w'), to compare with those of the others."""
    # Private parts: the teacher itself gives masks only, at the image's size.
    model, (height, width) = teacher._model, teacher._preprocessing.scaled_size(image.shape[:2])
    points = torch.from_numpy(middle(image)) * torch.tensor([width / image.shape[1], height / image.shape[0]])
    with torch.inference_mode():
        outputs = model(input_points=points[None, None], multimask_output=True, **teacher._embed(image))
    return outputs.pred_masks[0, 0].numpy()


def ask_assistant(job: dict[str, Any]) -> dict[str, Any]:
    """P of the panorama, its camera car hidden: the same for all ways, so asked once and kept."""
    panorama = read_panorama(Path(job["panorama"]), job["vfov"])
    assistant = load_assistant(job["assistant"], LABEL_SET.name)
    mounts = read_mounts(Path(job["cars"]))[0]
    assistant.predict(torch.zeros(1, 3, 64, 64))  # the first use takes longer
    start = time.perf_counter()
    car = mount_of(panorama.pixels, mounts)
    seen = panorama if car is None else hidden(panorama, car.mask)
    merged = merged_probabilities(assistant, seen, lay_views(panorama.geometry))
    seconds = time.perf_counter() - start
    buffer = io.BytesIO()
    np.save(buffer, merged.numpy(), allow_pickle=False)
    files.write_bytes(Path(job["probabilities"]), buffer.getvalue())
    return {"seconds": seconds}


def make_masks(job: dict[str, Any]) -> dict[str, Any]:
    """Our masks of every view of a panorama with the bundled teacher."""
    panorama = read_panorama(Path(job["panorama"]), job["vfov"])
    teacher, views = load_sam(STREET, STREET_PRESETS[job["preset"]]), lay_views(panorama.geometry)
    assistant = load_assistant(job["assistant"], LABEL_SET.name) if teacher.hinted else None
    watch = Watch(teacher._model)
    np.save(job["logits"], one_prompt(teacher, cut(panorama, views[0])))  # the first use takes longer, so before
    if assistant is not None:
        assistant.predict(torch.zeros(1, 3, 64, 64))
    watch.reset()
    start = time.perf_counter()
    masks, hints = our_masks(teacher, panorama, views, assistant)
    facts = {"seconds": time.perf_counter() - start, "hints": hints, **watch.seconds(), "peak_mb": peak_mb()}
    size = (panorama.geometry.height, panorama.geometry.width)
    PanoramaMasks(size, teacher.name, tuple(zip(views, masks, strict=True))).write(Path(job["masks"]))
    return {**facts, "prompts": teacher.asked, "kept": sum(map(len, masks))}


def fuse_masks(job: dict[str, Any]) -> dict[str, Any]:
    """Masks of any way through our fusion to a label map, which is counted."""
    panorama, masks = read_panorama(Path(job["panorama"]), job["vfov"]), read_masks(Path(job["masks"]))
    merged = torch.from_numpy(np.load(job["probabilities"], allow_pickle=False))
    start = time.perf_counter()
    ensemble = fuse(merged, merge_masks(masks.views, panorama.geometry), FusionOptions())
    made = ensemble.argmax(0).byte().numpy()
    seconds = time.perf_counter() - start
    peak = peak_mb()
    files.write_image(Path(job["made"]), made)
    found = counts(read_label_map(Path(job["labels"])), made)
    files.write_npz(Path(job["counts"]), **found, seconds=np.array(seconds))
    return {"seconds": seconds, "peak_mb": peak}


def large_teacher(name: str, options: SamOptions) -> SamTeacher:
    """The teacher around a network of random weights."""
    model = network(name)
    side = model.config.prompt_encoder_config.image_size
    preprocessing = Preprocessing((side, side), side, IMAGENET_MEAN, IMAGENET_STD)
    return SamTeacher(name, model, preprocessing, options)


def masks_of_prompts(teacher: SamTeacher, image: np.ndarray, number: int) -> Masks:
    """Masks of evenly spread prompts, so many: where they go depends on masks, which random weights make at random."""
    across = int(np.ceil(number**0.5))
    points = prompts.prompt_grid(across)[torch.linspace(0, across**2 - 1, number).round().long()].double().numpy()
    cells = (image.shape[0] // 2, image.shape[1] // 2)
    hint = Hint(np.zeros(cells, dtype=np.uint8), np.ones(cells, dtype=np.float32))
    none = np.zeros((0, 2))
    with mock.patch.multiple(placing, one_per_area=lambda *_: points, one_per_cell=lambda *_: none):
        return teacher.masks(image, hint)


def rated(job: dict[str, Any]) -> dict[str, Any]:
    """Predicted IoUs of all masks of so many prompts that are stable at all, the best first."""
    teacher = large_teacher(job["network"], replace(PRESETS["balanced"], **EVERYTHING))
    every = masks_of_prompts(teacher, read_views(job["images"])[0], job["prompts"])
    pairs = zip(every.ious, every.stabilities, strict=True)
    stable = [iou or 0.0 for iou, stability in pairs if (stability or 0) > job["stability_threshold"]]
    return {"ious": sorted(stable, reverse=True)}


def full_size(job: dict[str, Any]) -> dict[str, Any]:
    """One view through a network of full size."""
    image = read_views(job["images"])[0]
    filters = {name: job[name] for name in ("iou_threshold", "stability_threshold", "nms_threshold")}
    teacher = large_teacher(job["network"], replace(PRESETS["balanced"], **filters))
    watch = Watch(teacher._model)
    np.save(job["logits"], one_prompt(teacher, image))
    watch.reset()
    start = time.perf_counter()
    masks = masks_of_prompts(teacher, image, job["prompts"])
    seconds = time.perf_counter() - start
    return {"seconds": seconds, **watch.seconds(), "prompts": teacher.asked, "kept": len(masks)}


JOBS = {
    "assistant": ask_assistant,
    "masks": make_masks,
    "fuse": fuse_masks,
    "full": full_size,
    "rated": rated,
}


def main() -> None:
    """Do one job and say what it took."""
    job = json.loads(sys.argv[1])
    threads = use_threads(job["threads"])
    facts = JOBS[job["job"]](job)
    say({"peak_mb": peak_mb(), "threads": threads, "torch": torch.__version__, **facts})


if __name__ == "__main__":
    main()
