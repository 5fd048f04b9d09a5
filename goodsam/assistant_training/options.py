"""Options of `goodsam assistant train`, a sentence and a unit under each, and what their texts come to."""

from dataclasses import dataclass
from typing import Literal

from goodsam.config import AssistantOptions, Device, parse_size
from goodsam.errors import GoodSAMError

STRIDE = 32
"""Crops are multiples of this, the coarsest stride of the models that are trained, pixels."""


@dataclass(frozen=True, kw_only=True)
class AssistantTrainOptions:
    """How an assistant is trained on labelled photos."""

    init: str = AssistantOptions.assistant
    """Semantic segmenter or MiT encoder to start from: hub id, folder or `street`; `random` goes with --shape."""
    shape: str | None = None
    """Shape of random weights: b0 to b5 as SegFormer has them, or `street`, the bundled assistant's (5.8 M)."""
    steps: int = 4000
    """Optimiser steps of the whole training, count."""
    until: int | None = None
    """Stop after this step and write the assistant as it is, count; a later call goes on; default all steps."""
    batch_size: str = "8"
    """Photos in one step, count; one number, or one for each crop (5,4,2)."""
    crop: str = "512x512"
    """HxW of a crop in pixels, multiples of 32; several (224x288,256x320) serve in turn, step by step."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw to fine-tune; muon (for matrices, with AdamW for the rest) learns faster from random weights."""
    learning_rate: float | None = None
    """Peak; default 6e-5 of adamw, ten times that in layers that start random; 2e-3 of muon, 0.4 times for the rest."""
    warmup: int = 100
    """Steps over which the learning rate rises to its peak (at most a tenth of all steps), then it is constant."""
    decay: float = 0.3
    """Share of all steps (0..1), the last, over which the learning rate falls linearly to 0."""
    weight_decay: float = 0.01
    """Weight decay; none on biases and normalisation."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    average: float = 0.999
    """Decay of the average of the weights over the steps, which becomes the assistant; 0 takes the weights as is."""
    held_out: int = 40
    """Last photos in the order of their names, count, that training does not see and the best step is chosen by."""
    validate_every: int | None = None
    """Steps between looks at those that are held out, count; default a tenth of all steps."""
    seed: int = 0
    """Seed of weights, order and augmentation."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the forward pass; auto is bf16 on GPUs and CPUs that have it, else fp32."""
    half: bool = False
    """Store the weights as float16, half as large; by default float32."""
    license: str | None = None
    """Licence that the card names, such as apache-2.0; default what the weights it starts from say."""
    checkpoint_every: int = 500
    """Steps between checkpoints, count."""
    workers: int = 4
    """Processes that read and augment photos beside the training, count; 0 does it in the training process."""
    device: Device = "auto"
    """auto takes CUDA, then Apple's GPU, then the CPU."""

    @property
    def last(self) -> int:
        """Steps after which this call stops."""
        return min(self.steps, self.until or self.steps)


APART = frozenset({"init", "until", "half", "license", "checkpoint_every", "workers", "device", "precision"})
"""Options that change no step, or that count as what they come to (weights of the start, precision)."""


def check(options: AssistantTrainOptions) -> None:
    """Refuse numbers that make no training, before anything long begins.

    Raises:
        GoodSAMError: the option, its value and what would be right.
    """
    for name, least in (("steps", 1), ("warmup", 1), ("checkpoint_every", 1), ("held_out", 0), ("workers", 0)):
        if getattr(options, name) < least:
            raise GoodSAMError(f"{_flag(name)} {getattr(options, name)}: must be at least {least}.")
    for name in ("until", "validate_every"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise GoodSAMError(f"{_flag(name)} {value}: must be at least 1.")
    for name in ("decay", "average"):
        if not 0 <= getattr(options, name) <= 1:
            raise GoodSAMError(f"{_flag(name)} {getattr(options, name)}: must be a share, 0..1.")
    if options.learning_rate is not None and not options.learning_rate > 0:
        raise GoodSAMError(f"--learning-rate {options.learning_rate}: must be above 0, such as 6e-5.")
    crops_of(options)


def crops_of(options: AssistantTrainOptions) -> tuple[tuple[int, int, int], ...]:
    """Photos, height and width (pixels) of a step's batch; steps take them in turn.

    Raises:
        GoodSAMError: sizes that are no multiples of 32, or as many batch sizes as fit no crops.
    """
    sizes = [parse_size(part, "--crop") for part in options.crop.split(",")]
    for height, width in sizes:
        if height % STRIDE or width % STRIDE:
            near = "x".join(str(max(STRIDE, round(side / STRIDE) * STRIDE)) for side in (height, width))
            raise GoodSAMError(f"--crop {height}x{width}: both must be multiples of {STRIDE}, such as {near}.")
    parts = str(options.batch_size).split(",")
    if not all(part.isdigit() and int(part) for part in parts) or len(parts) not in (1, len(sizes)):
        raise GoodSAMError(
            f"--batch-size {options.batch_size}: must be one number of at least 1, or one for each of the {len(sizes)} "
            "sizes of --crop, such as 5,4,2 for three."
        )
    counts = [int(part) for part in parts] * (len(sizes) if len(parts) == 1 else 1)
    return tuple((count, *size) for count, size in zip(counts, sizes, strict=True))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
