"""Train an assistant on labelled photos, from the options to the folder.

    goodsam assistant train --data folder:PHOTOS,LABELS,classes.yaml --out ASSISTANT

A training that was killed goes on from its last checkpoint, in `ASSISTANT.train`, when the same command is given again,
and its next step has the loss that it would have had.
"""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from goodsam import files
from goodsam.assistant_training.card import Made
from goodsam.assistant_training.loop import fit
from goodsam.assistant_training.loss import class_weights
from goodsam.assistant_training.optimizers import Optimizers
from goodsam.assistant_training.options import APART, AssistantTrainOptions, check
from goodsam.assistant_training.photos import Photos, load_photos
from goodsam.assistant_training.start import Start, new_start
from goodsam.assistant_training.state import Training
from goodsam.assistant_training.validation import HeldOut, score
from goodsam.assistant_training.writing import RECORD, round_to_half, write_assistant
from goodsam.average import Average
from goodsam.errors import GoodSAMError
from goodsam.memory import keep_freed_memory
from goodsam.progress import Progress, Silent, pick_device
from goodsam.schedule import precision_on
from goodsam.teachers.output import label_set_to_json

log = logging.getLogger(__name__)


def train_assistant(
    data: str, out: Path, options: AssistantTrainOptions | None = None, progress: Progress | None = None
) -> HeldOut | None:
    """Train, and write the assistant's folder; checkpoints and journal lie beside it, in `OUT.train`.

    Args:
        data: labelled photos, as `datasets.parse_data` takes them.
        out: the folder; the same call goes on where the last one stopped.
        options: the defaults where None.
        progress: shows steps.
    Returns:
        scores on the photos held out; None where there are none.
    Raises:
        GoodSAMError: what is wrong, and what would be right.
    """
    options, out = options or AssistantTrainOptions(), out.absolute()
    check(options)
    _refuse_foreign(out)
    photos = load_photos(data, options.held_out)
    start = new_start(options, photos.label_set)
    precision = precision_on(options.device, options.precision)
    made_with = _made_with(options, photos, start, precision)
    fingerprint = files.fingerprint_of(made_with)
    work = out.with_name(f"{out.name}.train")
    _refuse_other_training(work, made_with)
    training = _prepared(work, fingerprint, options, photos, start, precision)
    steps = fit(training, progress or Silent())
    made = Made(data, options, photos, start, fingerprint, steps, training.clock.seconds, training.device)
    return _finished(out, training, made)


def _prepared(
    work: Path, fingerprint: str, options: AssistantTrainOptions, photos: Photos, start: Start, precision: str
) -> Training:
    """Model, optimisers and what watches them, on their device."""
    device = pick_device(options.device)
    if device.type == "cpu":
        keep_freed_memory()
    trainee = start.trainee.to(device)
    training = Training(
        work, fingerprint, options, photos, trainee, Average(trainee, options.average),
        Optimizers(trainee, start.fresh, options, precision), class_weights(photos).to(device), device, precision,
        torch.amp.GradScaler(device.type, enabled=precision == "fp16"),
    )  # fmt: skip
    log.info(
        "assistant: %s of %.1f M parameters, %d photos and %d held out, %d classes, steps to %d of %d on %s in %s.",
        trainee.config.model_type, sum(value.numel() for value in trainee.parameters()) / 1e6, len(photos.seen),
        len(photos.held_out), len(photos.label_set), options.last, options.steps, device, precision,
    )  # fmt: skip
    return training


def _finished(out: Path, training: Training, made: Made) -> HeldOut | None:
    """Write the best weights that the photos held out have seen, or the last; score them as they are stored."""
    trainee, photos = training.average.model, training.photos
    training.best.give(trainee)
    if made.options.half:
        round_to_half(trainee)
    found = score(trainee, photos.data, photos.held_out, training.device) if photos.held_out else None
    write_assistant(out, trainee.cpu(), made, found)
    if found is not None:
        log.info("assistant: as stored, on the photos held out: %s.", found.summary())
    return found


def _made_with(options: AssistantTrainOptions, photos: Photos, start: Start, precision: str) -> dict[str, Any]:
    """What decides every step, as JSON values. Photos count by their names: to hash them all would take long."""
    chosen = {name: value for name, value in asdict(options).items() if name not in APART}
    return {
        **chosen,
        "init": [item.sha256 for item in start.weights] or "random",
        "precision": precision,
        "label set": label_set_to_json(photos.label_set),
        "photos": [stem for stem, _, _ in (*photos.seen, *photos.held_out)],
    }


def _refuse_foreign(out: Path) -> None:
    """A folder that this command did not write is not replaced."""
    if out.exists() and not (out / RECORD).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise GoodSAMError(
            f"--out {out}: exists, and is no folder that `goodsam assistant train` wrote; it would be replaced. Give "
            "another --out."
        )


def _refuse_other_training(work: Path, made_with: dict[str, Any]) -> None:
    """Checkpoints of a training with other options are not lost to a mistyped command."""
    path = work / RECORD
    if path.is_file():
        before = files.read_json(path)
        changed = sorted(name for name in made_with if before.get(name) != made_with[name])
        if changed:
            raise GoodSAMError(
                f"{work}: holds a training with other values of {', '.join(changed)}; give the same command to go on, "
                "another --out for another training, or delete this folder."
            )
    files.write_json(path, made_with)
