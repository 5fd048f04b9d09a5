"""A semantic segmenter as it is trained: photos in, logits out."""

from typing import Any

from torch import Tensor, nn

from goodsam.segformer import all_mlp_head, encode
from goodsam.teachers.normalisation import Normalisation, resized
from goodsam.teachers.segmenters import accepted_size


class Trainee(nn.Module):
    """A semantic segmenter of transformers and the normalisation that it expects.

    Args:
        model: SegFormer or another one, whose weights are used in place.
        normalisation: of its pixels.
    """

    def __init__(self, model: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.model, self.normalisation = model, normalisation

    @property
    def config(self) -> Any:
        """Of the model."""
        return self.model.config

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C, h, w), of whatever size the model gives, of images, float (B, 3, H, W), RGB 0..1."""
        model: Any = self.model
        pixels = self.normalisation.apply(images)
        if self.config.model_type == "segformer" and self.config.reshape_last_stage:
            return all_mlp_head(model.decode_head, encode(model.segformer, pixels))  # the same with fewer operations
        size = accepted_size(self.config, (pixels.shape[2], pixels.shape[3]))
        return model(pixel_values=resized(pixels, size)).logits
