"""What can be evaluated: a student, an assistant, or label maps on disk, each as a function of one image."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from goodsam.config import parse_scales
from goodsam.datasets import Dataset
from goodsam.datasets.folder import read_checked_labels
from goodsam.errors import GoodSAMError
from goodsam.files import read_json
from goodsam.labels import IGNORE, LabelSet, load_label_set, mapping
from goodsam.panorama import Panorama
from goodsam.views import lay_views

if TYPE_CHECKING:  # label maps on disk need none of what it imports
    from goodsam.teachers.onnx import OnnxSegmenter

Image = Panorama | np.ndarray
"""A panorama, or a flat photo, uint8 (H, W, 3)."""
Predict = Callable[[str, Any], np.ndarray]
"""Stem and image (None for subjects that do not look) -> uint8 (h, w) ids of the data's label set, 255 for none; of any
size."""
_FORMS = "student:DIR, student:OWNER/NAME, assistant:ID or labels:DIR"


@dataclass(frozen=True)
class SubjectOptions:
    """How subjects look at images; see `evaluation.evaluate`."""

    views: str = "crops"
    scales: tuple[float, ...] = (1.0,)
    device: str = "auto"
    width: int | None = None
    label_set: str | None = None
    """Of label maps on disk; None for that of the run they lie in, else the data's."""


@dataclass(frozen=True)
class Subject:
    """Something that labels images."""

    name: str
    """As it was asked for."""
    predict: Predict
    looks: bool
    """Whether it is a network that needs the image; label maps are read from disk, in several threads."""
    weights: tuple[str, ...] = ()
    """sha256 of its weight files."""
    parameters: int | None = None
    """Number of its weights; None where it has none, or they are not to be seen."""
    onnx: "OnnxSegmenter | None" = None
    """The ONNX file, where it runs one."""


def load_subject(subject: str, dataset: Dataset, options: SubjectOptions) -> Subject:
    """The subject that a string names: KIND:WHERE, with options of its own as in `assistant:street,views=whole`.

    Args:
        subject: as `evaluation.evaluate` takes it.
        dataset: whose label set the predictions are in.
        options: how it looks at images, where the string does not say.
    Raises:
        GoodSAMError: no such subject or option, or one that does not fit the data's label set.
    """
    kind, colon, rest = subject.partition(":")
    where, *own = re.split(r",(?=[a-z_]+=)", rest)
    if not colon or not where or kind not in SUBJECTS:
        raise GoodSAMError(f"subject {subject!r}: must be {_FORMS}, with options such as ,views=whole after it.")
    return SUBJECTS[kind](subject, where, dataset, _with_own(subject, kind, options, own))


OWN_OPTIONS = {"student": ("width",), "assistant": ("views", "scale"), "labels": ("label_set",)}
"""What a subject's string may set for itself."""


def _with_own(subject: str, kind: str, options: SubjectOptions, given: list[str]) -> SubjectOptions:
    for item in given:
        name, _, value = item.partition("=")
        if name not in OWN_OPTIONS[kind]:
            raise GoodSAMError(
                f"subject {subject!r}: {name!r} is no option of {kind}; it has {', '.join(OWN_OPTIONS[kind])}."
            )
        if name == "scale":
            options = replace(options, scales=parse_scales(value, f"subject {subject!r}: scale") or (1.0,))
        elif name == "width":
            if not value.isdigit():
                raise GoodSAMError(f"subject {subject!r}: width must be a number of pixels.")
            options = replace(options, width=int(value))
        elif name == "views":
            if value not in VIEWS:
                raise GoodSAMError(f"subject {subject!r}: views must be one of {', '.join(VIEWS)}.")
            options = replace(options, views=value)
        else:
            options = replace(options, label_set=value)
    return options


def _student(name: str, where: str, dataset: Dataset, options: SubjectOptions) -> Subject:
    from goodsam.predictor import load  # transformers takes seconds to import, and label maps on disk need none of it

    student = load(where, device=options.device)
    ids = label_table(f"student:{where}", student.label_set, dataset.label_set)

    def predict(_: str, image: Image) -> np.ndarray:
        return ids[student.predict(image, wrap=isinstance(image, Panorama), width=options.width).labels]

    hashes = tuple(item.sha256 for item in student.weights)
    return Subject(name, predict, True, hashes, student.parameters)


def label_table(subject: str, source: LabelSet, target: LabelSet) -> np.ndarray:
    """What each id of one label set is in another: uint8 (256,), 255 where it is nothing there.

    Our choice for hard labels: a class that no target class is made of becomes 255, which counts as wrong.

    Raises:
        GoodSAMError: a target class that the subject does not have.
    """
    ids = np.full(256, IGNORE, dtype=np.uint8)
    if source.names == target.names:
        ids[: len(source)] = np.arange(len(source))
        return ids
    try:
        matrix = mapping(source.names, target).numpy()
    except GoodSAMError as error:
        raise GoodSAMError(
            f"{subject}: its label set {source.name} cannot be mapped to {target.name}, that of the data: {error}"
        ) from error
    ids[: len(source)] = np.where(matrix.any(0), matrix.argmax(0), IGNORE)
    return ids


def _assistant(name: str, where: str, dataset: Dataset, options: SubjectOptions) -> Subject:
    from goodsam.merged import MergedViews
    from goodsam.progress import pick_device
    from goodsam.teachers.assistant import load_assistant, predict_image, predict_views

    device = pick_device(options.device)
    try:
        assistant = load_assistant(where, label_set=dataset.label_set_source, device=device)
    except GoodSAMError as error:
        raise GoodSAMError(
            f"assistant:{where}: cannot be asked for {dataset.label_set.name}, the label set of the data: {error}"
        ) from error

    def predict(_: str, image: Image) -> np.ndarray:
        if isinstance(image, Panorama):
            laid = lay_views(image.geometry, options.views)
            merged = MergedViews(image.geometry, len(assistant.label_set))
            for view, output in predict_views(assistant, image, laid, options.scales):
                merged.add(view, output.probabilities[0])
                del output  # before the assistant sees the next view
            merged.mean()
            return merged.labels()
        probabilities = predict_image(assistant, image, options.scales).probabilities[0]
        return probabilities.argmax(0).byte().cpu().numpy()

    model, onnx = getattr(assistant, "model", None), getattr(assistant, "segmenter", None)
    parameters = None if onnx is None else onnx.parameters
    if model is not None:
        parameters = sum(item.numel() for item in model.parameters())
    return Subject(name, predict, True, tuple(item.sha256 for item in assistant.weights), parameters, onnx)


def _labels(name: str, where: str, dataset: Dataset, options: SubjectOptions) -> Subject:
    folder = Path(where)
    if not folder.is_dir():
        raise GoodSAMError(f"labels:{where}: no such folder; give one of label maps, such as RUN/labels.")
    label_set = _label_set_of(folder, options.label_set) or dataset.label_set
    ids = label_table(f"labels:{where}", label_set, dataset.label_set)

    def predict(stem: str, _: Image | None) -> np.ndarray:
        path = folder / f"{stem}.png"
        if not path.is_file():
            raise GoodSAMError(f"{path}: missing; labels:{where} needs a label map for every image of the data.")
        labels = read_checked_labels(path, label_set)
        return labels if label_set.names == dataset.label_set.names else ids[labels]

    return Subject(name, predict, False)


def _label_set_of(folder: Path, given: str | None) -> LabelSet | None:
    """The label set asked for, or that of the run whose label maps a folder holds; None where neither is."""
    if given is not None:
        return load_label_set(given)
    record = folder.resolve().parent / "label.json"
    if folder.name != "labels" or not record.is_file():
        return None
    made_with = read_json(record).get("made_with", {})
    if not {"classes", "colors", "label_set"} <= set(made_with):
        return None
    red_green_blue = [(int(red), int(green), int(blue)) for red, green, blue in made_with["colors"]]
    return LabelSet(made_with["label_set"], tuple(made_with["classes"]), tuple(red_green_blue))


SUBJECTS: dict[str, Callable[[str, str, Dataset, SubjectOptions], Subject]] = {
    "student": _student,
    "assistant": _assistant,
    "labels": _labels,
}
"""Kind -> what makes the subject of the text after the colon."""
VIEWS = ("whole", "crops", "tangent", "auto")
"""How an assistant can see a panorama."""
