"""The student: SegFormer whose convolutions wrap in yaw where the input spans 360 degrees.

Weights, names and config are those of transformers' `SegformerForSemanticSegmentation`, which loads them as they are.
Only the forward pass is ours, for two reasons: wrapping is a property of the input, passed per call, and the all-MLP
head can be computed with fewer operations and equal results.
"""

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from goodsam import files, weights
from goodsam.errors import GoodSAMError
from goodsam.labels import LabelSet, own_label_set
from goodsam.teachers.normalisation import IMAGENET_MEAN, IMAGENET_STD

log = logging.getLogger(__name__)

STRIDE = 32
"""With wrapping, widths are multiples of this, and rolling the input by it rolls the logits."""

SIZES: dict[str, dict[str, Any]] = {
    "t": {"hidden_sizes": [32, 64, 160, 256], "depths": [2, 2, 2, 2]},  # MiT-B0, 3.7 M parameters
    "s": {"hidden_sizes": [64, 128, 320, 512], "depths": [2, 2, 2, 2]},  # MiT-B1, 13.7 M
    "m": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 6, 3]},  # MiT-B2, 24.7 M
}
IMAGENET_STARTS = {"t": "nvidia/mit-b0", "s": "nvidia/mit-b1", "m": "nvidia/mit-b2"}


@dataclass(frozen=True)
class StudentOutput:
    """What one forward pass gives."""

    logits: Tensor
    """(B, C, ceil(H/4), ceil(W/4))."""
    features: tuple[Tensor, ...]
    """Four levels at strides 4, 8, 16 and 32: (B, D_l, h_l, w_l)."""


class Student(nn.Module):
    """A SegFormer and the normalisation that it expects.

    Args:
        model: transformers' own, whose weights are used in place.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: SegformerForSemanticSegmentation) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def forward(self, images: Tensor, wrap: bool = False) -> StudentOutput:
        """Logits and features.

        Args:
            images: float (B, 3, H, W), RGB, 0..1.
            wrap: the width spans 360 degrees: convolutions and upsampling wrap in yaw. False pads with zeros.
        Raises:
            ValueError: `wrap` with a width that is not a multiple of 32.
        """
        if wrap and images.shape[-1] % STRIDE:
            right = max(STRIDE, round(images.shape[-1] / STRIDE) * STRIDE)
            raise ValueError(f"width {images.shape[-1]} does not wrap: give a multiple of {STRIDE}, such as {right}")
        features = self._encode((images - self.mean) / self.std, wrap)
        return StudentOutput(all_mlp_head(self.model.decode_head, features, wrap), features)

    def _encode(self, x: Tensor, wrap: bool) -> tuple[Tensor, ...]:
        """SegFormer's encoder, module by module, with convolutions that can wrap."""
        features = []
        for stage in self.model.segformer.stages:
            x = _convolve(stage.patch_embeddings.proj, x, wrap)
            height, width = x.shape[-2:]
            tokens = stage.patch_embeddings.layer_norm(x.flatten(2).transpose(1, 2))
            for block in stage.blocks:
                attended = block.attention(block.layernorm_before(tokens), height, width)[0]
                tokens = tokens + block.drop_path(block.hidden_dropout(attended))
                tokens = tokens + block.drop_path(
                    _mix_ffn(block.mlp, block.layernorm_after(tokens), (height, width), wrap)
                )
            x = stage.layer_norm(tokens).transpose(1, 2).unflatten(2, (height, width)).contiguous()
            features.append(x)
        return tuple(features)

    @property
    def channels(self) -> list[int]:
        """D_l of the four levels."""
        return list(self.model.config.hidden_sizes)

    @property
    def label_set(self) -> LabelSet:
        """Names and colours, from the config."""
        config = self.model.config
        names = tuple(config.id2label[index] for index in range(config.num_labels))
        own = getattr(config, "goodsam", {})
        if "colors" in own:
            return LabelSet(own.get("label_set", "own"), names, tuple(tuple(color) for color in own["colors"]))
        return own_label_set(names)


def all_mlp_head(head: Any, features: Sequence[Tensor], wrap: bool = False) -> Tensor:
    """SegFormer's all-MLP head with its 1x1 mixing done per level before upsampling, where there are fewer pixels.

    Projection, bilinear upsampling and the 1x1 fuse are linear, and 1x1 convolutions commute with upsampling (its
    weights sum to one, so biases too): fuse(cat(up(proj_l(x_l)))) = sum_l up((W_l P_l) x_l + W_l b_l).

    Args:
        head: transformers' `SegformerDecodeHead`.
        features: four levels, (B, D_l, h_l, w_l).
        wrap: the width spans 360 degrees.
    Returns:
        logits, (B, C, h_1, w_1).
    """
    width = head.config.decoder_hidden_size
    mixed: Tensor | None = None
    for level, (x, projection) in enumerate(zip(features, head.linear_projections, strict=True)):
        first = (len(features) - 1 - level) * width  # the head concatenates the deepest level first
        fuse = head.linear_fuse.weight[:, first : first + width, 0, 0]
        weight, bias = fuse @ projection.proj.weight, fuse @ projection.proj.bias
        level_logits = resize(F.conv2d(x, weight[:, :, None, None], bias), features[0].shape[-2:], wrap)
        mixed = level_logits if mixed is None else mixed + level_logits
    return head.classifier(head.dropout(head.activation(head.batch_norm(mixed))))


def _convolve(conv: nn.Conv2d, x: Tensor, wrap: bool) -> Tensor:
    """A convolution of transformers' model; with `wrap` its horizontal zeros are the other edge's columns."""
    rows, columns = (int(pixels) for pixels in conv.padding)
    if not wrap or columns == 0:
        return conv(x)
    x = F.pad(x, (columns, columns, 0, 0), mode="circular")
    return F.conv2d(x, conv.weight, conv.bias, conv.stride, (rows, 0), conv.dilation, conv.groups)


def _mix_ffn(mlp: Any, tokens: Tensor, size: tuple[int, int], wrap: bool) -> Tensor:
    """Mix-FFN: its depth-wise convolution is the only place where a block sees neighbours and zeros."""
    x = mlp.fc1(tokens).transpose(1, 2).unflatten(2, size)
    x = _convolve(mlp.dwconv.dwconv, x, wrap).flatten(2).transpose(1, 2)
    return mlp.dropout(mlp.fc2(mlp.dropout(mlp.activation_fn(x))))


_FEW = 128
"""Columns up to which resizing by matrices takes less time on a CPU than PyTorch's kernel, most so in bfloat16."""


def resize(values: Tensor, size: tuple[int, int] | torch.Size, wrap: bool) -> Tensor:
    """Bilinear (pixel centres at half-integers); with `wrap` the left and right edge are neighbours.

    Args:
        values: float (B, D, h, w).
        size: (H, W).
    """
    height, width = int(size[0]), int(size[1])
    if values.shape[-2:] == (height, width):
        return values
    if values.device.type == "cpu" and values.shape[-1] <= _FEW:
        # What it does to rows and to columns is linear and independent: two products of matrices.
        rows = _resize_matrix(values.shape[-2], height, False).to(values.dtype)
        columns = _resize_matrix(values.shape[-1], width, wrap).to(values.dtype)
        return rows @ (values @ columns.T)
    return _interpolate(values, (height, width), wrap)


@functools.lru_cache(maxsize=64)
def _resize_matrix(source: int, target: int, wrap: bool) -> Tensor:
    """Resizing along one axis: float32 (target, source)."""
    with torch.inference_mode(False):  # a tensor made in inference mode could not take part in training later
        return _interpolate(torch.eye(source)[None, None], (source, target), wrap)[0, 0].T.contiguous()


def _interpolate(values: Tensor, size: tuple[int, int], wrap: bool) -> Tensor:
    """`resize` by PyTorch's kernel."""
    height, width = size
    if not wrap or values.shape[-1] == width:
        return F.interpolate(values, (height, width), mode="bilinear", align_corners=False)
    if width % values.shape[-1] == 0:  # the padded columns land on whole columns and are cut off again
        factor = width // values.shape[-1]
        padded = F.pad(values, (1, 1, 0, 0), mode="circular")
        grown = F.interpolate(padded, (height, width + 2 * factor), mode="bilinear", align_corners=False)
        return grown[..., factor:-factor]
    tall = F.interpolate(values, (height, values.shape[-1]), mode="bilinear", align_corners=False)
    position = (torch.arange(width, device=values.device) + 0.5) * (values.shape[-1] / width) - 0.5
    left = position.floor()
    part = (position - left).to(values.dtype)
    left = left.long() % values.shape[-1]
    return torch.lerp(tall[..., left], tall[..., (left + 1) % values.shape[-1]], part)


def new_student(size: str, label_set: LabelSet, init: str | None = None, seed: int = 0) -> Student:
    """A student before training.

    Args:
        size: "t", "s" or "m".
        label_set: its classes.
        init: "random", or a SegFormer or MiT checkpoint (hub id or folder); None for the size's ImageNet weights.
        seed: of the random weights.
    Raises:
        GoodSAMError: the checkpoint cannot be had or is of another size.
    """
    if size not in SIZES:
        raise GoodSAMError(f"--student {size}: must be one of {', '.join(SIZES)}.")
    torch.manual_seed(seed)
    config = SegformerConfig(
        **SIZES[size],
        num_attention_heads=[1, 2, 5, 8],
        decoder_hidden_size=256,
        id2label=dict(enumerate(label_set.names)),
        label2id={name: index for index, name in enumerate(label_set.names)},
    )
    config.goodsam = {"label_set": label_set.name, "colors": [list(color) for color in label_set.colors]}
    model = SegformerForSemanticSegmentation(config)
    name = IMAGENET_STARTS[size] if init is None else init
    if name != "random":
        _start_from(model, name, size)
    return Student(model)


def resolve_start(size: str, init: str | None) -> tuple[str, Path | None]:
    """The name of a start and its folder, fetched if need be; ("random", None) for random weights.

    Raises:
        GoodSAMError: it cannot be had, with what else could be chosen.
    """
    name = IMAGENET_STARTS[size] if init is None else init
    if name == "random":
        return name, None
    try:
        return name, weights.resolve(name, "--init")
    except GoodSAMError as error:
        raise GoodSAMError(
            f"{error} Other choices: --init DIR (a SegFormer or MiT folder, such as another run's student) or "
            "--init random (needs many more steps)."
        ) from error


def _start_from(model: SegformerForSemanticSegmentation, name: str, size: str) -> None:
    """Copy a checkpoint's encoder, and its head and classifier as far as they fit; say what was taken."""
    _, folder = resolve_start(size, name)
    assert folder is not None
    given = weights.read_config(folder)
    wanted = SIZES[size]
    found = {key: given.get(key) for key in wanted}
    if given.get("model_type") != "segformer" or found != wanted:
        raise GoodSAMError(
            f"--init {name}: its config.json has model_type {given.get('model_type')!r}, {found}; "
            f"student {size} needs a segformer with {wanted}."
        )
    start = weights.load_model(SegformerForSemanticSegmentation.from_pretrained, folder, "--init")
    taken, own = start.state_dict(), model.state_dict()
    same_classes = start.config.id2label == model.config.id2label
    head_fits = all(taken[key].shape == own[key].shape for key in own if _is_head(key) and "classifier" not in key)
    has_head = "SegformerForSemanticSegmentation" in (given.get("architectures") or [])
    keep = {key: value for key, value in taken.items() if not _is_head(key)}
    if has_head and head_fits:
        keep |= {k: v for k, v in taken.items() if _is_head(k) and (same_classes or "classifier" not in k)}
    model.load_state_dict(keep, strict=False)
    head = "no head there" if not has_head else "head of another width left out" if not head_fits else "head taken"
    log.info(
        "student: encoder from %s; %s; classifier %s.", name, head, "taken" if has_head and same_classes else "new"
    )


def _is_head(key: str) -> bool:
    return key.startswith("decode_head.")


def save_student(student: Student, folder: Path, size: tuple[int, int], vfov: float, card: str) -> None:
    """Write `RUN/student/` in Hugging Face format: whole, or not at all.

    Args:
        size: (H, W) at which it was trained, pixels.
        vfov: vertical field of view that H spans, degrees.
        card: text of its README.md.
    """
    model = student.model
    model.config.goodsam = {**model.config.goodsam, "train_size": list(size), "vfov": vfov}
    processor = {
        "image_processor_type": "SegformerImageProcessor",
        "do_resize": True,
        "size": {"height": size[0], "width": size[1]},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(IMAGENET_MEAN),
        "image_std": list(IMAGENET_STD),
        "do_reduce_labels": False,
    }
    with files.whole_folder(folder) as temporary:
        model.save_pretrained(temporary)
        files.write_json(temporary / "preprocessor_config.json", processor)
        files.write_text(temporary / "README.md", card)


def load_student(folder: Path) -> Student:
    """Read what `save_student` wrote, or any SegFormer folder.

    Raises:
        GoodSAMError: not such a folder.
    """
    given = weights.read_config(folder)
    if given.get("model_type") != "segformer":
        raise GoodSAMError(
            f"{folder}: not a student (config.json is missing or not a segformer's); give the RUN/student folder."
        )
    return Student(weights.load_model(SegformerForSemanticSegmentation.from_pretrained, folder, "student")).eval()
