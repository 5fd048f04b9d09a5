"""What can be evaluated: a student, an assistant, or label maps on disk, each as a function of one image."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from goodsam.datasets import Dataset
from goodsam.datasets.folder import read_checked_labels
from goodsam.errors import GoodSAMError
from goodsam.labels import IGNORE, LabelSet, mapping
from goodsam.panorama import Panorama
from goodsam.views import lay_views

Image = Panorama | np.ndarray
"""A panorama, or a flat photo, uint8 (H, W, 3)."""
Predict = Callable[[str, Image], np.ndarray]
"""Stem and image -> uint8 (h, w) ids of the data's label set, 255 for none; of any size."""


@dataclass(frozen=True)
class SubjectOptions:
    """How subjects look at images; see `evaluation.evaluate`."""

    views: str
    scales: tuple[float, ...]
    device: str
    width: int | None


def load_subject(subject: str, dataset: Dataset, options: SubjectOptions) -> Predict:
    """The prediction function of a subject.

    Args:
        subject: as `evaluation.evaluate` takes it.
        dataset: whose label set the predictions are in.
        options: how it looks at images.
    Raises:
        GoodSAMError: no such subject, or one that does not fit the data's label set.
    """
    kind, colon, where = subject.partition(":")
    if not colon or not where or kind not in SUBJECTS:
        raise GoodSAMError(f"subject {subject!r}: must be student:DIR, assistant:ID or labels:DIR.")
    return SUBJECTS[kind](where, dataset, options)


def _student(where: str, dataset: Dataset, options: SubjectOptions) -> Predict:
    from goodsam.predictor import load  # transformers takes seconds to import, and label maps on disk need none of it

    student = load(where, device=options.device)
    ids = label_table(f"student:{where}", student.label_set, dataset.label_set)

    def predict(_: str, image: Image) -> np.ndarray:
        return ids[student.predict(image, wrap=isinstance(image, Panorama), width=options.width).labels]

    return predict


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


def _assistant(where: str, dataset: Dataset, options: SubjectOptions) -> Predict:
    from goodsam.progress import pick_device
    from goodsam.teachers.assistant import load_assistant, merged_probabilities, predict_image

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
            probabilities = merged_probabilities(assistant, image, laid, options.scales)
        else:
            probabilities = predict_image(assistant, image, options.scales).probabilities[0]
        return probabilities.argmax(0).byte().cpu().numpy()

    return predict


def _labels(where: str, dataset: Dataset, options: SubjectOptions) -> Predict:
    folder = Path(where)
    if not folder.is_dir():
        raise GoodSAMError(f"labels:{where}: no such folder; give one of label maps, such as RUN/labels.")

    def predict(stem: str, _: Image) -> np.ndarray:
        path = folder / f"{stem}.png"
        if not path.is_file():
            raise GoodSAMError(f"{path}: missing; labels:{where} needs a label map for every image of the data.")
        return read_checked_labels(path, dataset.label_set)

    return predict


SUBJECTS: dict[str, Callable[[str, Dataset, SubjectOptions], Predict]] = {
    "student": _student,
    "assistant": _assistant,
    "labels": _labels,
}
"""Kind -> what makes the prediction function of the text after the colon."""
