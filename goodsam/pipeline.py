"""The stages in order: masks, adapt, label, train. What is done is skipped, so the same command resumes."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from goodsam import corrections, files, targets, weights
from goodsam.config import RunOptions, parse_scales
from goodsam.dar.adapt import Adapter, adapt_assistant, save_adapted
from goodsam.dar.scales import SCALES, Seconded, seconded
from goodsam.datasets import find_panoramas
from goodsam.ego import Mount, find_mounts, hidden, mount_of, read_mounts, write_mounts
from goodsam.engines.settling import settle
from goodsam.errors import GoodSAMError
from goodsam.hints import hints_of
from goodsam.images import read_label_map
from goodsam.job import Job
from goodsam.labelling import label_panorama
from goodsam.loader import look_at
from goodsam.masks import Masks, PanoramaMasks, read_masks
from goodsam.panorama import Panorama
from goodsam.profiling import timed
from goodsam.progress import Progress, Silent, pick_device
from goodsam.run import Input, Run
from goodsam.schedule import resolve_precision
from goodsam.student import resolve_start
from goodsam.teachers import Teacher
from goodsam.teachers.assistant import (
    Assistant,
    TransformersAssistant,
    load_assistant,
    merged_probabilities,
    predict_views,
)
from goodsam.teachers.combined import WITH_REGIONS, CombinedTeacher
from goodsam.teachers.experts import expert_assistant, expert_teacher
from goodsam.teachers.regions import load_regions
from goodsam.teachers.sam import PRESETS, STREET_PRESETS, load_sam
from goodsam.train import train_student
from goodsam.views import cut

log = logging.getLogger(__name__)

STAGES = ("masks", "adapt", "label", "train")
TEACHER_OPTIONS = (
    "placing", "points_per_side", "points_per_batch", "iou_threshold", "stability_threshold", "nms_threshold",
    "min_area",
)  # fmt: skip
"""Options of `TeacherOptions` that change single ones of the preset's."""
VIEWS_AT_ONCE = 8
"""Views that are cut together for the teacher, whose encoder may take several at once."""
PROJECTION_PANORAMAS = 4
"""The principal components of the features are fitted on this many panoramas, the first in sorted order."""


def distill(
    panoramas: Path | str,
    out: Path,
    options: RunOptions,
    stages: tuple[str, ...] = STAGES,
    progress: Progress | None = None,
) -> Run:
    """Turn a folder of unlabelled panoramas into a student.

    Args:
        panoramas: a folder of panoramas (sub-folders included), one panorama, or a data set such as `wildpass:ROOT`, as
            `datasets.training_images` takes it.
        out: the run folder; the same command on the same folder resumes.
        options: of every stage.
        stages: which to do; a stage needs what the one before it left in the run.
        progress: shows how far it is; nothing by default.
    Raises:
        GoodSAMError: an option, a model or all inputs cannot be used.
    """
    everything = find_panoramas(panoramas)
    found = dict(list(everything.items())[: options.input.limit])
    job = Job(Run(out), options, progress or Silent(), panoramas=tuple(everything.values()))
    job.check()
    # Whatever may be missing is missed now, not after hours of masks.
    later = tuple(stage for stage in stages if stage != "masks")
    rounds = options.train.rounds if later else 1
    assistant = _assistant(options) if {"adapt", "label"} & set(stages) or rounds > 1 else None
    if options.input.shard is not None and {"adapt", "train"} & set(stages):
        raise GoodSAMError("--shard is for `goodsam masks` and `goodsam label`; then train once, without it.")
    if "train" in stages:
        resolve_start(options.student.student, options.student.init)
    inputs = job.run.take_inputs(found)
    if "masks" in stages:
        make_masks(job, inputs, assistant)
    cars = camera_cars(job, list(everything.values())) if assistant is not None else []
    start = options.student.init
    for number in range(1, rounds):
        assert assistant is not None
        earlier = replace(job, run=job.run.round(number))
        log.info("round %d of %d.", number, rounds)
        one_round(earlier, inputs, assistant, cars, STAGES[1:], start)
        start = str(earlier.run.student)
        assistant = TransformersAssistant(start, assistant.label_set, pick_device(options.machine.device))
    if rounds > 1:
        log.info("round %d of %d.", rounds, rounds)
    one_round(job, inputs, assistant, cars, later, start)
    job.complain(inputs)
    return job.run


def one_round(
    job: Job,
    inputs: list[Input],
    assistant: Assistant | None,
    cars: list[Mount],
    stages: tuple[str, ...],
    start: str | None,
) -> None:
    """From masks to a student.

    Args:
        job: whose run is that of the round.
        inputs: the panoramas.
        assistant: the one of the options, or the student of the round before; None where only `train` is to be done.
        cars: the camera cars.
        stages: which to do.
        start: what the student starts from, as `--init` takes it: in a later round the student of the one before.
    """
    if assistant is not None and "adapt" in stages:
        adapt(job, inputs, assistant, cars)
    if assistant is not None and "label" in stages:
        label(job, inputs, _adapted(job, assistant), cars)
    if "train" in stages:
        train(job, inputs, start, None if assistant is None else assistant.name)


# -- masks ----------------------------------------------------------------------------------------------------------


def load_teacher(options: RunOptions, device: torch.device) -> Teacher:
    """The teacher that `--sam` names."""
    given = options.teacher
    if given.sam == "regions":
        return load_regions()
    if given.sam.endswith(WITH_REGIONS):
        name = given.sam.removesuffix(WITH_REGIONS)
        alone = replace(options, teacher=replace(given, sam=name))
        return CombinedTeacher(load_teacher(alone, device), load_regions())
    changed = {name: getattr(given, name) for name in TEACHER_OPTIONS if getattr(given, name) is not None}
    presets = STREET_PRESETS if given.sam == weights.STREET else PRESETS
    return load_sam(given.sam, replace(presets[given.preset], **changed), device)


def make_masks(job: Job, inputs: list[Input], assistant: Assistant | None) -> None:
    """Stage 1: the teacher's masks of every view; the assistant tells where to prompt, loaded if it is not there."""
    teacher = load_teacher(job.options, pick_device(job.options.machine.device))
    resolved = {name: value for name, value in teacher.options().items() if name in TEACHER_OPTIONS}
    assistant = (assistant or _assistant(job.options)) if teacher.hinted else None
    made_with = settle(job, "masks", _made_masks_with(job, teacher, assistant), expert_teacher(teacher), inputs)
    job.begin("masks", made_with, teacher.weights, resolved)
    number = 0
    for item, panorama in job.each("masks", inputs, lambda item: job.run.file("masks", item.stem).exists()):
        geometry = panorama.geometry
        views = job.views(panorama)
        with timed("hint"):
            hints = [None] * len(views) if assistant is None else hints_of(assistant, panorama, views)
        found: list[Masks] = []
        for first in range(0, len(views), VIEWS_AT_ONCE):  # all views of a large panorama would be a gigabyte
            some = slice(first, first + VIEWS_AT_ONCE)
            with timed("views"):
                images = [cut(panorama, view) for view in views[some]]
            found += teacher.masks_of_views(images, hints[some])
        masks = PanoramaMasks((geometry.height, geometry.width), teacher.name, tuple(zip(views, found, strict=True)))
        job.behind(partial(write_timed, masks, job.run.file("masks", item.stem)))
        number += len(views)
    if teacher.asked:
        log.info("masks: %.0f prompts a view.", teacher.asked / number)


def write_timed(masks: PanoramaMasks, path: Path) -> None:
    """Write masks, as a part of the profile."""
    with timed("write"):
        masks.write(path)


def _result_options(options: dict[str, Any]) -> dict[str, Any]:
    """Without what does not change a result: where the weights lie (their hash counts), and how they are batched."""
    return {name: value for name, value in options.items() if name not in ("name", "points_per_batch")}


def _made_masks_with(job: Job, teacher: Teacher, assistant: Assistant | None) -> dict[str, Any]:
    view = asdict(job.options.view)
    for name in ("view_scale", "whole_view"):  # how the assistant sees them
        view.pop(name)
    made_with = {
        "teacher": _result_options(teacher.options()),
        "weights": [item.sha256 for item in teacher.weights],
        "views": view,
        "vfov": job.options.input.vfov,
        "horizon": job.options.input.horizon,
    }
    if assistant is not None:
        hinted = {"assistant": _result_options(assistant.options()), "weights": [i.sha256 for i in assistant.weights]}
        made_with["hints"] = hinted
    return made_with


# -- adapt ----------------------------------------------------------------------------------------------------------


def adapt(job: Job, inputs: list[Input], assistant: Assistant, cars: list[Mount]) -> None:
    """Stage 2: the assistant adapted to the panoramas; nothing where that is switched off, or it cannot learn."""
    if not job.options.adapt.adapt_steps:
        return
    if not isinstance(assistant, TransformersAssistant):
        log.info("adapt: %s cannot be trained; it is used as it is.", assistant.name)
        return
    if not job.run.record("masks"):
        raise GoodSAMError(f"{job.run.root}: has no masks yet; run `goodsam masks` first, with the same options.")
    masked = [item for item in inputs if job.run.file("masks", item.stem).exists()]
    if not masked:
        raise GoodSAMError(f"{job.run.root}: no panorama with masks to adapt the assistant to.")
    fingerprint = job.begin("adapt", _adapted_with(job, assistant, masked, cars), assistant.weights, {})
    if job.run.record("adapt")["finished"] and job.run.assistant.exists():
        log.info("adapt: already done.")
        return
    adapter = Adapter(assistant, job.options.adapt, job.options.train.seed)

    def read(number: int) -> tuple[Panorama, PanoramaMasks]:
        item = masked[number]
        return without_car(job, job.read(item), cars)[0], read_masks(job.run.file("masks", item.stem))

    adapt_assistant(adapter, job.run.adapt, fingerprint, len(masked), read, job.progress)
    save_adapted(assistant, job.run.assistant)
    job.run.finish("adapt", panoramas=len(masked))


def _adapted(job: Job, assistant: Assistant) -> Assistant:
    """The assistant that the label stage asks: the adapted one, where there has to be one."""
    if not job.options.adapt.adapt_steps or not isinstance(assistant, TransformersAssistant):
        return assistant
    if not (job.run.record("adapt").get("finished") and job.run.assistant.exists()):
        raise GoodSAMError(
            f"{job.run.root}: the assistant is not adapted yet; run `goodsam adapt` first, same options."
        )
    given = job.options
    return load_assistant(str(job.run.assistant), given.assistant.label_set, pick_device(given.machine.device))


def _adapted_with(job: Job, assistant: Assistant, inputs: list[Input], cars: list[Mount]) -> dict[str, Any]:
    return {
        "masks": job.run.record("masks")["fingerprint"],
        "panoramas": {item.stem: item.sha256 for item in inputs},
        "assistant": _result_options(assistant.options()),
        "weights": [item.sha256 for item in assistant.weights],
        "adapt": asdict(job.options.adapt),
        "seed": job.options.train.seed,
        "cars": _hashes(cars),
    }


def _hashes(cars: list[Mount]) -> list[str]:
    return [hashlib.sha256(np.packbits(car.mask).tobytes()).hexdigest() for car in cars]


# -- label ----------------------------------------------------------------------------------------------------------


def _assistant(options: RunOptions) -> Assistant:
    given = options.assistant
    return load_assistant(given.assistant, given.label_set, pick_device(options.machine.device))


def camera_cars(job: Job, panoramas: list[Path]) -> list[Mount]:
    """The camera cars of a folder: looked for once, and again while none is found and the folder grows.

    Args:
        job: of the run, which keeps what was found.
        panoramas: all of the folder, whatever `--limit` says, so that it decides nothing here.
    """
    given = job.options.input.ego
    if given == "off":
        return []
    if given != "auto":
        return [Mount(read_label_map(Path(given)) > 0, 0)]
    with files.locked(job.run.root / ".ego.lock"):
        if (job.run.ego / "mounts.json").exists():
            mounts, seen = read_mounts(job.run.ego)
            if mounts or seen >= len(panoramas):
                return mounts
        mounts = find_mounts(panoramas)
        write_mounts(job.run.ego, mounts, len(panoramas))
    for number, mount in enumerate(mounts):
        log.info(
            "label: a camera car covers %.1f %% of the panoramas it took, as seen in %d of them (%s; --ego).",
            100 * mount.mask.mean(), mount.photos, job.run.ego / f"mount{number}.png",
        )  # fmt: skip
    return mounts


def label(job: Job, inputs: list[Input], assistant: Assistant, cars: list[Mount]) -> None:
    """Stage 3: the assistant's merged probabilities, the ensemble, and the label maps read off it."""
    if not job.run.record("masks"):
        raise GoodSAMError(f"{job.run.root}: has no masks yet; run `goodsam masks` first, with the same options.")
    masked = [item for item in inputs if job.run.file("masks", item.stem).exists()]
    scales = choose_scales(job, assistant, masked, cars)
    shown = ",".join(f"{scale:g}" for scale in scales)
    expert = expert_assistant(assistant, scales, job.options.view.whole_view)
    made_with = settle(job, "label", _made_labels_with(job, assistant, cars, scales), expert, masked)
    job.begin("label", made_with, assistant.weights, {"view_scale": shown})
    known = job.run.inputs()
    forgotten = [item for item in inputs if item not in masked and "left_out" not in known[item.stem]]
    if forgotten:
        log.warning("label: %d panoramas have no masks yet, such as %s.", len(forgotten), forgotten[0].path)
    projection = _projection(job, assistant, masked, scales, cars)

    def done(item: Input) -> bool:
        return job.run.file("labels", item.stem).exists()

    for item, panorama in job.each("label", inputs, done, lambda item: job.run.file("masks", item.stem).exists()):
        label_one(job, assistant, item.stem, panorama, projection, cars, scales)


def choose_scales(job: Job, assistant: Assistant, inputs: list[Input], cars: list[Mount]) -> tuple[float, ...]:
    """The scales of `--view-scale`; those of auto are decided once, on the first panoramas, and kept with the run."""
    given = parse_scales(job.options.view.view_scale)
    if given is not None or not inputs:
        return given or (1.0,)
    path = job.run.root / "scales.json"
    made_with = {
        "assistant": _result_options(assistant.options()),
        "weights": [item.sha256 for item in assistant.weights],
        "masks": job.run.record("masks")["fingerprint"],
        "cars": _hashes(cars),
    }
    with files.locked(job.run.root / ".scales.lock"):
        known = files.read_json(path) if path.exists() else {}
        if known.get("fingerprint") != files.fingerprint_of(made_with):
            found = seconded(_at_every_scale(job, assistant, inputs[:PROJECTION_PANORAMAS], cars))
            known = {"fingerprint": files.fingerprint_of(made_with), "scales": found.scales, "support": found.support}
            files.write_json(path, known)
    found = Seconded(tuple(known["scales"]), tuple(known["support"]))
    table = ", ".join(f"{scale:g} {share:.3f}" for scale, share in zip(found.scales, found.support, strict=True))
    names = " and ".join(f"{scale:g}" for scale in found.chosen())
    log.info("label: views are seen at scales %s, which the others second most (%s).", names, table)
    return found.chosen()


def _at_every_scale(job: Job, assistant: Assistant, inputs: list[Input], cars: list[Mount]) -> Iterator[Tensor]:
    for item in inputs:
        panorama, _ = without_car(job, job.read(item), cars)
        views = job.views(panorama)
        yield torch.stack([merged_probabilities(assistant, panorama, views, (scale,)) for scale in SCALES])


def label_one(
    job: Job,
    assistant: Assistant,
    stem: str,
    panorama: Panorama,
    projection: targets.Projection | None,
    cars: list[Mount],
    scales: Sequence[float],
) -> None:
    """Label one panorama; its files are written beside what follows."""
    seen, valid = without_car(job, panorama, cars)
    masks = read_masks(job.run.file("masks", stem)).views
    whole, fusion = job.options.view.whole_view, job.options.fusion
    job.behind(label_panorama(job.run, assistant, stem, seen, masks, valid, projection, scales, whole, fusion))


def without_car(job: Job, panorama: Panorama, cars: list[Mount]) -> tuple[Panorama, np.ndarray]:
    """The panorama as the assistant sees it, the camera car hidden, and bool (H, W), False where that is."""
    size, given = panorama.pixels.shape[:2], job.options.input.ego
    car = mount_of(panorama.pixels, cars) if given == "auto" else next(iter(cars), None)
    if car is None:
        return panorama, np.ones(size, dtype=bool)
    if car.mask.shape != size:
        raise GoodSAMError(
            f"--ego {given}: is {car.mask.shape[1]}x{car.mask.shape[0]} pixels, the panorama is {size[1]}x{size[0]}; "
            "save it at the panoramas' size."
        )
    return hidden(panorama, car.mask), ~car.mask


def _projection(
    job: Job, assistant: Assistant, inputs: list[Input], scales: Sequence[float], cars: list[Mount]
) -> targets.Projection | None:
    """The principal components of the features: read, or fitted once on the first panoramas; None without features."""
    path = job.run.projection
    with files.locked(job.run.root / ".projection.lock"):
        if path.exists():
            return targets.read_projection(path)
        components = targets.Components()
        for item in inputs[:PROJECTION_PANORAMAS]:
            panorama, _ = without_car(job, job.read(item), cars)
            for _, output in predict_views(assistant, panorama, job.views(panorama), scales[:1]):
                if not all(level in output.features for level in targets.FEATURE_STRIDES):
                    log.info("label: the assistant gives no features; the student learns from its probabilities alone.")
                    return None
                for level in targets.FEATURE_STRIDES:
                    components.add(level, output.features[level][0].cpu())
                del output  # before the assistant sees the next view
        projection = components.projection() if inputs else None
        if projection is not None:
            projection.write(path)
        return projection


def _made_labels_with(job: Job, assistant: Assistant, cars: list[Mount], scales: Sequence[float]) -> dict[str, Any]:
    return {
        "masks": job.run.record("masks")["fingerprint"],
        "assistant": _result_options(assistant.options()),
        "weights": [item.sha256 for item in assistant.weights],
        "label_set": assistant.label_set.name,
        "classes": list(assistant.label_set.names),
        "colors": [list(color) for color in assistant.label_set.colors],
        "scales": list(scales),
        "whole_view": job.options.view.whole_view,
        "fusion": asdict(job.options.fusion),
        "cars": _hashes(cars),
    }


# -- train ----------------------------------------------------------------------------------------------------------


def train(job: Job, inputs: list[Input], start: str | None, assistant: str | None) -> None:
    """Stage 4: the student, from a start as `--init` takes it; the assistant that labelled, None for the options'."""
    if not job.run.record("label"):
        raise GoodSAMError(f"{job.run.root}: has no labels yet; run `goodsam label` first, with the same options.")
    labelled = [item for item in inputs if job.run.file("labels", item.stem).exists()]
    if not labelled:
        raise GoodSAMError(f"{job.run.root}: no labelled panoramas to train on.")
    name, folder = resolve_start(job.options.student.student, start)
    weight_files = weights.weight_files(name, folder) if folder is not None else ()
    before = job.run.record("train")
    scene, precision = look_at(labelled, job.options, job.run), resolve_precision(job.options)
    resolved = {"train_size": f"{scene.size[0]}x{scene.size[1]}", "precision": precision, "init": name}
    made_with = _made_student_with(job, labelled, [item.sha256 for item in weight_files], resolved)
    drawn = corrections.hashes(job.run, labelled, scene.label_set.names)
    if drawn:  # without any, the fingerprint is that of a run which never heard of them
        made_with["corrections"] = drawn
        log.info("train: a person's corrections stand in for the labels of %d panoramas.", len(drawn))
    fingerprint = job.begin("train", made_with, weight_files, resolved)
    if job.run.record("train")["finished"] and job.run.student.exists():
        log.info("train: already done.")
        return
    if job.options.input.shard is not None:
        raise GoodSAMError(
            f"--shard: {job.run.root} has no student yet, which labels the panoramas of the next round; run `goodsam "
            "distill` with --rounds less by one first."
        )
    if before and before["fingerprint"] != fingerprint:
        log.info("train: the panoramas or options differ from the last training; a new student is trained.")
    facts = train_student(job.run, labelled, scene, job.options, fingerprint, job.progress, start, assistant)
    job.run.finish("train", **facts)


UNSEEN_BY_STUDENT = ("rounds", "accumulate", "compile", "checkpoint_every", "workers")
"""Options of the training that do not change the student of a round."""


def _made_student_with(job: Job, inputs: list[Input], start: list[str], resolved: dict[str, Any]) -> dict[str, Any]:
    training = asdict(job.options.train) | {"precision": resolved["precision"]}
    return {
        "label": job.run.record("label")["fingerprint"],
        "panoramas": {item.stem: item.sha256 for item in inputs},
        "student": job.options.student.student,
        "start": start or "random",
        "training": {name: value for name, value in training.items() if name not in UNSEEN_BY_STUDENT},
        "levels": asdict(job.options.level) | {"train_size": resolved["train_size"]},
        "loss": asdict(job.options.loss),
    }
