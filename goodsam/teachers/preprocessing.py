"""SAM's preprocessing, from an image to what the network takes, and its inverse for masks."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from goodsam import weights
from goodsam.errors import GoodSAMError
from goodsam.teachers import prompts
from goodsam.teachers.normalisation import IMAGENET_MEAN, IMAGENET_STD

_PADDED = ("sam", "sam_hq")  # scale the longest edge and pad; the others squash the image into a square


@dataclass(frozen=True)
class Preprocessing:
    """From an image to what the network takes, as its preprocessor_config.json says."""

    input_size: tuple[int, int]
    """(h, w) that the network takes, pixels."""
    longest_edge: int | None
    """The longer side after scaling, pixels, the rest being padded; None squashes the image to `input_size`."""
    mean: tuple[float, ...]
    """Per channel, in units of rescaled pixels."""
    std: tuple[float, ...]
    """Per channel, in units of rescaled pixels."""
    rescale_factor: float = 1 / 255
    """What a pixel value 0..255 is multiplied with."""

    def scaled_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of an image after scaling and before padding, pixels."""
        if self.longest_edge is None:
            return self.input_size
        scale = self.longest_edge / max(size)
        return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)

    def __call__(self, image: np.ndarray) -> torch.Tensor:
        """uint8 (h, w, 3), RGB -> float32 (1, 3, *input_size), normalised, then padded with zeros below and right."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        # On uint8 and on the CPU: the very kernel behind torchvision's resize, rounding to whole grey levels included.
        scaled = F.interpolate(pixels, self.scaled_size(image.shape[:2]), mode="bilinear", antialias=True)
        mean = torch.tensor(self.mean).view(3, 1, 1) / self.rescale_factor
        std = torch.tensor(self.std).view(3, 1, 1) / self.rescale_factor
        normalised = (scaled.float() - mean) / std
        height, width = normalised.shape[-2:]
        return F.pad(normalised, (0, self.input_size[1] - width, 0, self.input_size[0] - height))

    def without_padding(self, logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """The part (..., h', w') of mask logits that lies on an image of (h, w)."""
        scaled, (height, width) = self.scaled_size(size), logits.shape[-2:]
        rows = math.ceil(height * scaled[0] / self.input_size[0])
        return logits[..., :rows, : math.ceil(width * scaled[1] / self.input_size[1])]

    @staticmethod
    def with_padding(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Mask logits (N, h', w') at the full size of the network's own, their last row and column repeated."""
        beside = (0, size[1] - logits.shape[-1], 0, size[0] - logits.shape[-2])
        if not any(beside):
            return logits
        # PyTorch repeats no edges of nothing: a view may have no masks.
        return F.pad(logits[None], beside, mode="replicate" if len(logits) else "constant")[0]

    def enlarge(self, logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Mask logits (N, h', w') at the image's size: padding undone, bilinear, as each model's processor does.

        As two small matrices, since what it does to rows and to columns is linear and independent: less work
        than resizing to the network's input and then to the image, and the large one in between is never held.
        """
        scaled, padded = self.scaled_size(size), self.input_size
        if self.longest_edge is None:
            padded = scaled = size  # a squashed image has no padding, and one step does
        rows, columns = (
            prompts.resize_matrix(logits.shape[axis + 1], padded[axis], scaled[axis], size[axis]).to(logits)
            for axis in (0, 1)
        )
        return rows @ logits @ columns.T


def read_preprocessing(folder: Path, model_type: str, image_size: int) -> Preprocessing:
    """The image processor's file, or the model type's own defaults for what it leaves out.

    Raises:
        GoodSAMError: it makes another size than the model takes.
    """
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        path = folder / "processor_config.json"  # newer checkpoints: one file for image and prompts
    config = weights.read_config(folder, path.name)
    config = config.get("image_processor", config)
    padded = model_type in _PADDED
    square = {"height": image_size, "width": image_size}
    wanted = config.get("pad_size" if padded else "size") or square
    longest_edge = (config.get("size") or {}).get("longest_edge", image_size) if padded else None
    if wanted != square or (longest_edge or 0) > image_size:
        raise GoodSAMError(
            f"{path}: it makes images of {wanted} (longest edge {longest_edge}), but the model takes "
            f"{image_size} x {image_size} pixels; use the file that came with the model, or delete it."
        )
    return Preprocessing(
        (image_size, image_size),
        longest_edge,
        tuple(config.get("image_mean") or IMAGENET_MEAN),
        tuple(config.get("image_std") or IMAGENET_STD),
        config.get("rescale_factor") or 1 / 255,
    )
