"""What the options of a training come to: precision, learning rate at a step, weight decay, how a batch is split."""

import math
from typing import Any

import torch
from torch import nn

from goodsam.config import RunOptions, TrainOptions
from goodsam.errors import GoodSAMError
from goodsam.progress import pick_device


def check_split(options: TrainOptions, processes: int) -> None:
    """Make sure that every process has as many panoramas in every part of a batch.

    Raises:
        GoodSAMError: it cannot be; with a batch size that can.
    """
    split = processes * options.accumulate
    if options.accumulate < 1 or options.batch_size % split:
        near = max(1, round(options.batch_size / max(1, split))) * max(1, split)
        raise GoodSAMError(
            f"--batch-size {options.batch_size}: cannot be split evenly over {processes} process(es) and --accumulate "
            f"{options.accumulate}; {near} can."
        )


def validate_every(options: TrainOptions) -> int:
    """Steps between looks at the panoramas held back."""
    return options.validate_every or max(1, options.steps // 10)


def resolve_precision(options: RunOptions) -> str:
    """fp32, bf16 or fp16: what `--precision` comes to on the device of a run."""
    return precision_on(options.machine.device, options.train.precision)


def precision_on(device: str, precision: str) -> str:
    """fp32, bf16 or fp16: what `--precision auto` comes to on a `--device`; others stay.

    On CPUs with bfloat16 instructions products of matrices take half the time or less; on others bfloat16 is emulated
    and slower than float32.
    """
    if precision != "auto":
        return precision
    kind = pick_device(device).type
    on_gpu = kind == "cuda" and torch.cuda.is_bf16_supported()
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # private: there is no public way to ask
    on_cpu = kind == "cpu" and known is not None and known()
    return "bf16" if on_gpu or on_cpu else "fp32"


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices and kernels alone, as is usual: not on biases and normalisation."""
    parameters = [value for value in module.parameters() if value.requires_grad]
    decayed = [value for value in parameters if value.ndim > 1]
    others = [value for value in parameters if value.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def learning_rate(step: int, options: TrainOptions) -> float:
    """Linear warm-up to the peak, then a cosine to 0 at the last step."""
    warmup = min(options.warmup, max(1, options.steps // 10))
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    part = (step - warmup) / max(1, options.steps - warmup)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * part))
