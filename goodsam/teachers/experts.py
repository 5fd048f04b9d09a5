"""The experts as `engines.settling` takes them: which network, what it is shown of a view, how often it runs."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from goodsam.engines.frozen import Expert
from goodsam.teachers import Teacher
from goodsam.teachers.assistant import Assistant
from goodsam.teachers.networks import ImageEncoder
from goodsam.teachers.normalisation import resized
from goodsam.teachers.segmenters import TransformersAssistant


def expert_teacher(teacher: Teacher) -> Expert | None:
    """The image encoder of a teacher; its decoder stays in PyTorch. None for a teacher without one."""
    encoder: ImageEncoder | None = getattr(teacher, "encoder", None)
    return None if encoder is None else Expert("teacher", encoder.network, teacher.weights, encoder.show)


def expert_assistant(assistant: Assistant, scales: Sequence[float], whole_view: bool) -> Expert | None:
    """An assistant as the label stage uses it; None for one that engines do not run.

    Args:
        assistant: of any kind.
        scales: by which views are enlarged for it.
        whole_view: whether it also sees the whole panorama.
    """
    if not isinstance(assistant, TransformersAssistant) or assistant.network is None:
        return None

    def show(view: np.ndarray) -> Tensor:
        image = torch.from_numpy(np.ascontiguousarray(view)).permute(2, 0, 1)[None].float() / 255
        return assistant.pixels(resized(image, tuple(max(1, round(side * scales[0])) for side in view.shape[:2])))

    shapes = len(scales) * (2 if whole_view else 1)
    return Expert("assistant", assistant.network, assistant.weights, show, len(scales), shapes)
