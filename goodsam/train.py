"""The one training loop.

    goodsam train PANORAMAS --out RUN                                                 one process
    accelerate launch --multi_gpu --num_processes 4 -m goodsam train PANORAMAS --out RUN ...        four GPUs
    torchrun --nnodes 2 --node_rank 0 --master_addr HOST --nproc_per_node 8 -m goodsam train ...    two machines

with the same options as one process: `--batch-size` is over all of them, and the loss of a batch does not depend on how
it is split. A killed training goes on from its last checkpoint when the same command is given again, and its next step
has the loss that it would have had: what a step draws at random depends on the seed and the step alone.
"""

import contextlib
import itertools
import logging
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader

from goodsam import corrections
from goodsam.agreement import Choice, hold_back
from goodsam.average import Average
from goodsam.card import student_card
from goodsam.checkpoint import Journal, load_checkpoint, save_checkpoint
from goodsam.config import RunOptions, TrainOptions
from goodsam.distiller import Distiller, new_distiller
from goodsam.errors import GoodSAMError
from goodsam.loader import Order, Panoramas, Sample, Scene
from goodsam.memory import keep_freed_memory
from goodsam.mka.loss import Loss
from goodsam.progress import Progress, disk, duration, pick_device
from goodsam.run import Input, Run
from goodsam.schedule import check_split, learning_rate, parameter_groups, resolve_precision, validate_every
from goodsam.student import Student, new_student, save_student

log = logging.getLogger(__name__)

MEASURED_STEPS = 5
"""Steps after which the expected time is said."""
MUCH_WAITING = 0.1
"""Share of the time."""


@dataclass(frozen=True)
class Training:
    """What the loop works on."""

    run: Run
    fingerprint: str
    """Of this training; a checkpoint with another is not used."""
    options: TrainOptions
    seen: list[Input]
    """The panoramas that are not held back."""
    accelerator: Accelerator
    distiller: Distiller
    optimizer: torch.optim.Optimizer
    average: Average[Student]
    choice: Choice

    def parts(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        parts = {"model": self.distiller, "optimizer": self.optimizer, "average": self.average.model}
        scaler = {} if self.accelerator.scaler is None else {"scaler": self.accelerator.scaler}  # of fp16
        return {**parts, "choice": self.choice, **scaler}


def train_student(
    run: Run,
    inputs: list[Input],
    scene: Scene,
    options: RunOptions,
    fingerprint: str,
    progress: Progress,
    start: str | None,
    assistant: str | None = None,
) -> dict[str, Any]:
    """Train the student on the targets of a run and write `RUN/student`.

    Args:
        run: with ensemble and assistant probabilities (and features, where the assistant has any) of all inputs.
        inputs: the panoramas.
        scene: their size and classes, from `look_at`.
        options: of student, loss and training.
        fingerprint: of this training; a checkpoint with another is not used.
        progress: shows steps and loss.
        start: what the student starts from, as `--init` takes it.
        assistant: that labelled the run, where `--features online` asks it again; None for that of the options.
    Returns:
        facts for `train.json`.
    """
    training = _prepared(run, inputs, scene, options, fingerprint, start, assistant)
    accelerator, choice = training.accelerator, training.choice
    first = load_checkpoint(run.train, fingerprint, **training.parts())
    log.info("train: %s", _outlook(training, scene, first))
    order = Order(len(training.seen), options.train, first, accelerator.process_index, accelerator.num_processes)
    loader = DataLoader(
        Panoramas(run, training.seen, scene, options.level),
        batch_sampler=order,
        num_workers=options.train.workers,
        pin_memory=accelerator.device.type == "cuda",
    )
    batches = _grouped(loader, options.train.accumulate)
    steps = fit(training, progress.track(batches, options.train.steps - first, "train"), first)
    best = training.average.model
    agreed = choice.finish(best)
    found = None if agreed is None else asdict(agreed)
    if accelerator.is_main_process:
        card = student_card(run, scene.label_set, scene.size, found, scene.vfov)
        save_student(best.cpu(), run.student, scene.size, scene.vfov, card)
    accelerator.wait_for_everyone()
    facts = {"steps": steps, "panoramas": len(training.seen), "held_back": len(inputs) - len(training.seen)}
    return facts if found is None else {**facts, "agreement": found}


def _prepared(
    run: Run,
    inputs: list[Input],
    scene: Scene,
    options: RunOptions,
    fingerprint: str,
    start: str | None,
    assistant: str | None,
) -> Training:
    """Student, loss, optimiser and what watches them, on their device; arguments as of `train_student`."""
    training, on_cpu = options.train, pick_device(options.machine.device).type == "cpu"
    precision = resolve_precision(options)
    if on_cpu:
        keep_freed_memory()
    accelerator = Accelerator(cpu=on_cpu, mixed_precision="no" if precision == "fp32" else precision)
    check_split(training, accelerator.num_processes)
    seen, held_back = hold_back(inputs, training.held_back, training.seed, corrections.corrected(run, inputs))
    student = new_student(options.student.student, scene.label_set, start, training.seed, training.drop)
    asked = assistant or options.assistant.assistant
    distiller = new_distiller(student, run, seen, scene, options, asked, accelerator.device)
    if accelerator.num_processes > 1 and not on_cpu:
        distiller = nn.SyncBatchNorm.convert_sync_batchnorm(distiller)
    # Before there is an optimiser, so that a checkpoint's moments land beside their parameters.
    distiller.to(accelerator.device)
    optimizer = torch.optim.AdamW(parameter_groups(distiller, training.weight_decay), lr=training.learning_rate)
    average, choice = Average(distiller.student, training.average), Choice(run, held_back, scene, accelerator)
    return Training(run, fingerprint, training, seen, accelerator, distiller, optimizer, average, choice)


def fit(training: Training, batches: Iterable[list[Sample]], first: int) -> int:
    """The loop: one optimiser step per batch, from step `first`; checkpoints and journal by the main process.

    Returns:
        steps done in all, those before `first` too.
    """
    options, accelerator, choice = training.options, training.accelerator, training.choice
    if options.compile:
        training.distiller.compile()
    distiller, optimizer = accelerator.prepare(_training_mode(training.distiller, options), training.optimizer)
    journal = Journal(training.run.train, first) if accelerator.is_main_process else None
    waiting, start, step = Waiting(batches), time.perf_counter(), first - 1
    for step, parts in enumerate(waiting, first):
        rate = learning_rate(step, options)
        for group in optimizer.param_groups:
            group["lr"] = rate
        values = one_step(accelerator, distiller, optimizer, parts, options, step)
        training.average.update(training.distiller.student, step)
        seconds = time.perf_counter() - start
        if step - first + 1 == MEASURED_STEPS:
            left, each = options.steps - step - 1, seconds / MEASURED_STEPS
            log.info("train: about %s for the other %d steps (%.2f s each).", duration(left * each), left, each)
        if (step + 1) % validate_every(options) == 0 or step + 1 == options.steps:
            values |= choice.look(training.average.model, step)
        if journal is not None:
            journal.write(step, values | {"learning_rate": rate}, seconds)
        if (step + 1) % options.checkpoint_every == 0 or step + 1 == options.steps:
            if accelerator.is_main_process:
                save_checkpoint(training.run.train, training.fingerprint, step + 1, **training.parts())
            log.info("train: step %d of %d, loss %.3f.", step + 1, options.steps, values["loss"])
        if options.patience and choice.stale >= options.patience:
            log.info("train: no better student in %d looks; stops after step %d.", choice.stale, step + 1)
            break
    _say_pace(step + 1 - first, options, time.perf_counter() - start, waiting.seconds)
    accelerator.wait_for_everyone()
    return step + 1


def _say_pace(steps: int, options: TrainOptions, seconds: float, waited: float) -> None:
    rate, share = steps * options.batch_size / max(seconds, 1e-9), waited / max(seconds, 1e-9)
    hint = "; more --workers would help" if share > MUCH_WAITING and steps > MEASURED_STEPS else ""
    log.info(
        "train: %d steps in %s (%.2f panoramas/s, %.0f %% of the time waiting for data%s).",
        steps, duration(seconds), rate, 100 * share, hint,
    )  # fmt: skip


def one_step(
    accelerator: Accelerator,
    distiller: nn.Module,
    optimizer: torch.optim.Optimizer,
    parts: list[Sample],
    options: TrainOptions,
    step: int,
) -> dict[str, float]:
    """One step of the optimiser on a batch in one or several parts; its losses, means over parts and processes.

    Raises:
        GoodSAMError: the loss is not finite.
    """
    losses: list[Tensor] = []
    names: list[str] = []
    for number, sample in enumerate(parts):
        # Dropout: a function of seed, step and part.
        set_seed(options.seed * 65_537 + step * 1009 + number * accelerator.num_processes + accelerator.process_index)
        # Gradients are exchanged once, with the last part.
        last = number == len(parts) - 1
        with contextlib.nullcontext() if last else accelerator.no_sync(distiller):
            loss: Loss = distiller(_moved(sample, accelerator.device))
            accelerator.backward(loss.total / len(parts))
        names = ["loss", *loss.terms]
        losses.append(torch.stack([loss.total.detach(), *(value.detach() for value in loss.terms.values())]))
    mean = accelerator.reduce(torch.stack(losses).mean(0), reduction="mean").tolist()
    if not math.isfinite(mean[0]):
        raise GoodSAMError(f"train: the loss is {mean[0]} at step {step}; try a lower --learning-rate.")
    accelerator.clip_grad_norm_(distiller.parameters(), options.clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return dict(zip(names, mean, strict=True))


def _moved(sample: Sample, device: torch.device) -> Sample:
    return {
        part: {name: values.to(device, non_blocking=True) for name, values in maps.items()}
        for part, maps in sample.items()
    }


def _training_mode(distiller: Distiller, options: TrainOptions) -> Distiller:
    distiller.train()
    if options.frozen_norm:
        for module in distiller.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
    return distiller


class Waiting:
    """Iterates, adding up the time that it takes to get the items."""

    def __init__(self, items: Iterable[list[Sample]]) -> None:
        self._items, self.seconds = items, 0.0

    def __iter__(self) -> Iterator[list[Sample]]:
        items = iter(self._items)
        while True:
            start = time.perf_counter()
            item = next(items, None)
            self.seconds += time.perf_counter() - start
            if item is None:
                return
            yield item


def _grouped(loader: Iterable[Sample], number: int) -> Iterator[list[Sample]]:
    """Lists of `number` parts of a batch."""
    parts = iter(loader)
    while group := list(itertools.islice(parts, number)):
        yield group


def _outlook(training: Training, scene: Scene, step: int) -> str:
    options, accelerator = training.options, training.accelerator
    parameters = sum(item.numel() for item in training.average.model.parameters())
    where = (
        f"{accelerator.device}, {accelerator.num_processes} process(es), {accelerator.mixed_precision} mixed precision"
    )
    text = (
        f"student of {parameters / 1e6:.1f} M parameters, {len(training.seen)} panoramas at "
        f"{scene.size[0]}x{scene.size[1]} and {training.choice.panoramas} held back, {options.steps} steps of "
        f"{options.batch_size} on {where}, about {disk(24 * parameters)} of disk"
    )  # float32 student, the best so far, and a checkpoint with average and two moments of each parameter
    return f"{text}; goes on from step {step}." if step else f"{text}."
