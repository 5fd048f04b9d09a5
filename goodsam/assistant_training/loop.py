"""The loop of `goodsam assistant train`. What a step draws at random depends on the seed and the step alone."""

import logging
import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from goodsam.assistant_training.loss import segmentation_loss
from goodsam.assistant_training.optimizers import rate_at
from goodsam.assistant_training.options import AssistantTrainOptions, crops_of
from goodsam.assistant_training.photos import Batches
from goodsam.assistant_training.state import Training
from goodsam.assistant_training.validation import score
from goodsam.checkpoint import Journal, load_checkpoint, save_checkpoint
from goodsam.errors import GoodSAMError
from goodsam.progress import Progress

log = logging.getLogger(__name__)

SAY_EVERY = 100
"""Steps between lines of the log."""
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def fit(training: Training, progress: Progress) -> int:
    """Steps from the last checkpoint to the last step of this call; returns how many that are in all.

    Raises:
        GoodSAMError: a photo or label map cannot be used, or the loss is not finite.
    """
    options, clock = training.options, training.clock
    first = load_checkpoint(training.work, training.fingerprint, **training.parts())
    if first:
        log.info("assistant: goes on from step %d.", first)
    journal = Journal(training.work, first)
    losses: list[float] = []
    clock.tick()
    started, before = first, clock.seconds
    for step, batch in enumerate(progress.track(_batches(training, first), options.last - first, "assistant"), first):
        if isinstance(batch, GoodSAMError):
            raise batch
        photos, labels = batch
        values = {"loss": one_step(training, photos, labels, step), "learning_rate": rate_at(step, options)}
        losses.append(values["loss"])
        done, is_last = step + 1, step + 1 == options.last
        seconds = clock.tick()
        if done % SAY_EVERY == 0 or is_last:
            mean, pace = sum(losses) / len(losses), (seconds - before) / (done - started)
            log.info("assistant: step %d of %d, loss %.3f, %.2f s a step.", done, options.steps, mean, pace)
            losses.clear()
        if training.photos.held_out and (done % look_every(options) == 0 or is_last):
            values["held_out_miou"] = _look(training, done)
        journal.write(step, values, seconds)
        if done % options.checkpoint_every == 0 or is_last:
            save_checkpoint(training.work, training.fingerprint, done, **training.parts())
    return max(first, options.last)


def look_every(options: AssistantTrainOptions) -> int:
    """Steps between looks at the photos held out."""
    return options.validate_every or max(1, options.steps // 10)


def one_step(training: Training, photos: Tensor, labels: Tensor, step: int) -> float:
    """One step on a batch, uint8 (B, h, w, 3) and (B, h, w); its loss.

    Raises:
        GoodSAMError: the loss is not finite.
    """
    options, device = training.options, training.device
    torch.manual_seed(options.seed * 65_537 + step)  # dropout
    training.trainee.train()
    images = photos.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
    with torch.autocast(device.type, AUTOCAST.get(training.precision), enabled=training.precision != "fp32"):
        logits = training.trainee(images)
    loss = segmentation_loss(logits, labels.to(device, non_blocking=True).long(), training.weights)
    value = loss.item()
    if not math.isfinite(value):
        raise GoodSAMError(f"assistant: the loss is {value} at step {step}; try a lower --learning-rate.")
    training.optimizers.set_rate(rate_at(step, options))
    training.scaler.scale(loss).backward()
    training.optimizers.step(training.scaler, options.clip)
    training.average.update(training.trainee, step)
    return value


def _batches(training: Training, first: int) -> DataLoader[Any]:
    options = training.options
    return DataLoader(
        Batches(training.photos, crops_of(options), options.seed),
        batch_size=None,
        sampler=range(first, max(first, options.last)),
        num_workers=options.workers,
        pin_memory=training.device.type == "cuda",
    )


def _look(training: Training, done: int) -> float:
    """Score the averaged weights on the photos held out; mIoU, 0..1."""
    average, photos = training.average.model, training.photos
    found = score(average, photos.data, photos.held_out, training.device)
    training.best.look(average, found)
    log.info("assistant: held out after step %d: %s.", done, found.summary())
    return found.miou
