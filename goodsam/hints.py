"""What the assistant makes of a panorama at a glance: where the teacher's prompts matter.

Our choice: the whole panorama, small and in one pass, costs a few hundredths of what the views cost later; for where to
ask that is enough, and the label stage looks properly.
"""

import numpy as np
import torch

from goodsam.panorama import Panorama, wrap_pad
from goodsam.teachers.assistant import WRAP_DEGREES, Assistant, predict_image
from goodsam.teachers.normalisation import resized
from goodsam.teachers.placing import Hint
from goodsam.views import View, cut_labels

WIDTH = 1024
"""Pixels across 360 degrees of the small panorama; a view of 90 degrees has 256 columns of cells."""


def hints_of(assistant: Assistant, panorama: Panorama, views: tuple[View, ...]) -> list[Hint]:
    """A hint for each view of a panorama.

    Args:
        assistant: asked once.
        panorama: of any size.
        views: whose cells are those of the small panorama.
    """
    geometry = panorama.geometry.scaled(min(WIDTH, panorama.geometry.width))
    pixels = torch.from_numpy(panorama.pixels).permute(2, 0, 1)[None].float()
    small = resized(pixels, (geometry.height, geometry.width)).round().clamp(0, 255).byte()[0].permute(1, 2, 0).numpy()
    columns = round(WRAP_DEGREES / 360 * geometry.width)
    output = predict_image(assistant, wrap_pad(small, columns), (1.0,))
    confidence, labels = output.probabilities[0, :, :, columns:-columns].max(0)
    maps = labels.byte().cpu().numpy(), (confidence * 255).round().byte().cpu().numpy()
    return [
        Hint(
            cut_labels(maps[0], geometry, view),
            cut_labels(maps[1], geometry, view, ignore=0).astype(np.float32) / 255,
        )
        for view in views
    ]
