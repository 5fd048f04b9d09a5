"""How segmenters take their images: at which size, and with which values of the pixels."""

import logging
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from goodsam import weights

log = logging.getLogger(__name__)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Normalisation:
    """What a model wants of the pixels: (rgb * white - mean) / std, rgb in 0..1."""

    white: float
    """Value of a white pixel before mean and std, such as 1 or 255."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool = False
    """Whether it takes the channels in the order blue, green, red; `mean` and `std` are of red, green, blue."""

    def apply(self, images: Tensor) -> Tensor:
        """float32 (B, 3, h, w), RGB 0..1 -> the same shape, as the model takes it."""
        mean, std = (images.new_tensor(value)[:, None, None] for value in (self.mean, self.std))
        pixels = (images * self.white - mean) / std
        return pixels.flip(1) if self.bgr else pixels


def read_normalisation(folder: Path, model_type: str) -> Normalisation:
    """From preprocessor_config.json, or the image part of processor_config.json; ImageNet's where neither says."""
    config = weights.read_config(folder, "preprocessor_config.json")
    config = config or weights.read_config(folder, "processor_config.json").get("image_processor", {})
    # Models of Apple's MobileViT family take BGR pixels as they are, and their files do not always say so.
    mobilevit = model_type.startswith("mobilevit")
    config = {key: value for key, value in config.items() if value is not None}  # null is as good as absent
    white = 255 * config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 255.0
    bgr = bool(config.get("do_flip_channel_order", mobilevit))
    if not config.get("do_normalize", not mobilevit):
        return Normalisation(white, (0.0,) * 3, (1.0,) * 3, bgr)
    if "image_mean" not in config or "image_std" not in config:
        log.info("%s: no image_mean and image_std in preprocessor_config.json; ImageNet's are taken.", folder)
    mean, std = config.get("image_mean", IMAGENET_MEAN), config.get("image_std", IMAGENET_STD)
    return Normalisation(white, tuple(map(float, mean)), tuple(map(float, std)), bgr)


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear (B, C, h, w) -> (B, C, *size), antialiased where a side shrinks."""
    if tuple(images.shape[2:]) == tuple(size):
        return images
    shrinks = size[0] < images.shape[2] or size[1] < images.shape[3]
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=shrinks)
