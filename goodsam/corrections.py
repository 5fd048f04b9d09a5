"""What a person corrected, and what it changes in training: there the person is right, and the experts are not asked.

In a panorama with a correction, ensemble and assistant both give the person's class probability 1 (our choice: with the
assistant's own opinion L_ta would pull back what the person put right). Pixels without a class (255) teach nothing, and
neither do those without a scene, such as the camera car, whatever is drawn on them.
"""

from collections.abc import Sequence

import numpy as np
import torch

from goodsam import files, targets
from goodsam.errors import GoodSAMError
from goodsam.images import read_label_map
from goodsam.labels import IGNORE
from goodsam.run import Input, Run
from goodsam.targets import StoredProbabilities


def corrected(run: Run, inputs: Sequence[Input]) -> list[Input]:
    """Those of some panoramas that have a correction."""
    return [item for item in inputs if run.file("corrections", item.stem).exists()]


def hashes(run: Run, inputs: Sequence[Input], classes: Sequence[str]) -> dict[str, str]:
    """stem -> sha256 of the correction of each panorama that has one, for the fingerprint of a training.

    Raises:
        GoodSAMError: they were drawn with other classes, or one holds an id that is no class.
    """
    paths = {item.stem: run.file("corrections", item.stem) for item in corrected(run, inputs)}
    if paths:
        check_classes(run, classes)
    for path in paths.values():
        labels = read_label_map(path)
        highest = int(labels[labels != IGNORE].max(initial=0))
        if highest >= len(classes):
            raise GoodSAMError(f"{path}: has id {highest}; ids are 0 to {len(classes) - 1}, and {IGNORE} for none.")
    return {stem: files.sha256_of(path) for stem, path in paths.items()}


def check_classes(run: Run, classes: Sequence[str]) -> None:
    """Make sure that ids in `RUN/corrections` mean what they mean in the run.

    Args:
        run: the run; without a `classes.json` of `write_classes` its own classes are taken as meant.
        classes: of the run, in the order of their ids.
    Raises:
        GoodSAMError: they were drawn with other classes.
    """
    path = run.corrections / "classes.json"
    if path.exists() and files.read_json(path) != list(classes):
        raise GoodSAMError(
            f"{path}: these corrections were drawn with other classes than the run has now ({', '.join(classes)}); "
            "give the --label-set and --assistant of then, or move the folder away."
        )


def write_classes(run: Run, classes: Sequence[str]) -> None:
    """Write `RUN/corrections/classes.json`: names in the order of the ids."""
    files.write_json(run.corrections / "classes.json", list(classes))


def ensemble_of(run: Run, stem: str) -> StoredProbabilities:
    """The ensemble of a panorama as training takes it: the person's classes where there is a correction."""
    ensemble = targets.read_probabilities(run.file("ensemble", stem))
    path = run.file("corrections", stem)
    if not path.exists():
        return ensemble
    labels = read_label_map(path)
    if targets.half_size((labels.shape[0], labels.shape[1])) != ensemble.size:
        raise GoodSAMError(
            f"{path}: is {labels.shape[1]}x{labels.shape[0]} pixels, the panorama's targets {2 * ensemble.size[1]}x"
            f"{2 * ensemble.size[0]}; correct it at the panorama's size, or move it away."
        )
    certain = one_hot(labels)
    return StoredProbabilities(certain.classes, certain.probs * (ensemble.probs[:1] > 0))


def targets_of(run: Run, stem: str) -> tuple[StoredProbabilities, StoredProbabilities]:
    """What a training step sees of a panorama: the ensemble and the assistant; with a correction, that twice."""
    ensemble = ensemble_of(run, stem)
    if run.file("corrections", stem).exists():
        return ensemble, ensemble
    return ensemble, targets.read_probabilities(run.file("assistant_probs", stem))


def one_hot(labels: np.ndarray) -> StoredProbabilities:
    """A label map uint8 (H, W) as targets of half its size: of each 2x2 block the class that most of its pixels have.

    Of two that are equally frequent it is the one that comes first in reading order; 255 has no say, and a block of it
    alone is stored with probability 0.
    """
    height, width = labels.shape
    even = np.pad(labels, ((0, height % 2), (0, width % 2)), constant_values=IGNORE)
    block = [even[row::2, column::2] for row in (0, 1) for column in (0, 1)]
    votes = np.stack([sum((one == other).astype(np.uint8) for other in block) * (one != IGNORE) for one in block])
    chosen = np.take_along_axis(np.stack(block), votes.argmax(0)[None], 0)
    there = chosen != IGNORE
    return StoredProbabilities(
        torch.from_numpy(np.where(there, chosen, 0).astype(np.uint8)), torch.from_numpy(there.astype(np.uint8) * 255)
    )
