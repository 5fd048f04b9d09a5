"""Universal segmenters: Mask2Former, MaskFormer, OneFormer and EoMT.

Each of their queries gives a class and a mask; what is asked for here is probabilities of classes per pixel.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F

from goodsam import weights
from goodsam.errors import GoodSAMError
from goodsam.teachers.normalisation import resized
from goodsam.teachers.output import AssistantOutput, feature_levels

ScoreFunction = Callable[[nn.Module, Tensor], AssistantOutput]
"""Model and normalised pixels (B, 3, h, w) -> its own classes' probabilities (B, C, h, w), and features."""


def _mask2former_scores(model: nn.Module, pixels: Tensor) -> AssistantOutput:
    """Mask2Former: class softmax x mask sigmoid; masks go through 384 x 384, as in its post-processing."""
    seen = resized(pixels, _divisible(pixels, 32))
    output = model(pixel_values=seen, output_hidden_states=True)
    probabilities = _renormalised(_query_scores(output, (384, 384)), pixels.shape[2:])
    return AssistantOutput(probabilities, feature_levels(output.encoder_hidden_states, seen.shape[3]))


def _maskformer_scores(model: nn.Module, pixels: Tensor) -> AssistantOutput:
    """MaskFormer: class softmax x mask sigmoid at the masks' own size."""
    seen = resized(pixels, _divisible(pixels, 32))
    output = model(pixel_values=seen, output_hidden_states=True)
    probabilities = _renormalised(_query_scores(output), pixels.shape[2:])
    return AssistantOutput(probabilities, feature_levels(output.encoder_hidden_states, seen.shape[3]))


def _oneformer_scores(model: nn.Module, pixels: Tensor) -> AssistantOutput:
    """OneFormer, told that the task is semantic: class softmax x mask sigmoid at the masks' own size."""
    tasks = model.get_buffer("_task_tokens").expand(len(pixels), -1)
    output = model(pixel_values=pixels, task_inputs=tasks, output_hidden_states=True)
    probabilities = _renormalised(_query_scores(output), pixels.shape[2:])
    return AssistantOutput(probabilities, feature_levels(output.encoder_hidden_states, pixels.shape[3]))


def _eomt_scores(model: nn.Module, pixels: Tensor) -> AssistantOutput:
    """EoMT: the shorter side resized to the model's, overlapping square windows along the longer, averaged.

    So too for panoptic checkpoints, whose processor pads to a square that its semantic post-processing then forgets.
    """
    config: Any = model.config
    side = config.image_size if isinstance(config.image_size, int) else config.image_size[0]
    height, width = pixels.shape[2:]
    seen_size = (int(side * height / width), side) if width < height else (side, int(side * width / height))
    seen = resized(pixels, seen_size)
    axis, length = (2, seen_size[0]) if height > width else (3, seen_size[1])
    count = -(-length // side)
    step = side - (count * side - length) / (count - 1) if count > 1 else 0
    total = seen.new_zeros(len(seen), config.num_labels, *seen_size)
    seen_by = seen.new_zeros(1, 1, *seen_size)
    for index in range(count):
        start = int(index * step)
        scores = _query_scores(model(pixel_values=seen.narrow(axis, start, side)), (side, side))
        total.narrow(axis, start, side).add_(scores)
        seen_by.narrow(axis, start, side).add_(1)
    return AssistantOutput(_renormalised(total / seen_by, (height, width)))


def _divisible(pixels: Tensor, divisor: int) -> tuple[int, int]:
    """The size of pixels (B, 3, h, w), each side raised to a multiple, as the models' processors do."""
    return -(-pixels.shape[2] // divisor) * divisor, -(-pixels.shape[3] // divisor) * divisor


def _query_scores(output: Any, mask_size: tuple[int, int] | None = None) -> Tensor:
    """Scores of classes (B, C, h', w'): sum over queries of class probability, the null class left out, and mask."""
    masks = output.masks_queries_logits
    if mask_size is not None:
        masks = F.interpolate(masks, size=mask_size, mode="bilinear", align_corners=False)
    classes = output.class_queries_logits.softmax(-1)[..., :-1]
    return torch.einsum("bqc,bqhw->bchw", classes, masks.sigmoid())


def _renormalised(scores: Tensor, size: tuple[int, ...]) -> Tensor:
    """Scores at `size`, divided by their sum over classes, their arg max left as it is; uniform where all are 0."""
    scores = F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
    total = scores.sum(1, keepdim=True)
    return torch.where(total > 1e-30, scores / total.clamp_min(1e-30), 1 / scores.shape[1])


def task_tokens(folder: Path) -> Tensor:
    """OneFormer's task, "the task is semantic", as its tokenizer writes it: int64 (1, length), zeros after the end."""
    # Without them transformers makes an empty tokenizer and says nothing.
    complete = (folder / "tokenizer.json").is_file() or all(
        (folder / file).is_file() for file in ("vocab.json", "merges.txt")
    )
    if not complete:
        raise GoodSAMError(
            f"--assistant {folder}: OneFormer needs its tokenizer beside config.json (vocab.json and merges.txt, or "
            "tokenizer.json); copy these files from where the model came from."
        )
    tokenizer = weights.load_model(transformers.AutoTokenizer.from_pretrained, folder, "--assistant")
    length = int(weights.read_config(folder).get("task_seq_len", 77))
    encoded = tokenizer("the task is semantic", padding="max_length", max_length=length, truncation=True)
    return torch.tensor(encoded["input_ids"])[None] * torch.tensor(encoded["attention_mask"])[None]


SCORES: dict[str, ScoreFunction] = {
    "mask2former": _mask2former_scores,
    "maskformer": _maskformer_scores,
    "oneformer": _oneformer_scores,
    "eomt": _eomt_scores,
    "eomt_dinov3": _eomt_scores,
}
"""Segmenters whose queries each give a class and a mask; every other type gives logits per pixel."""
