"""The running average of a model's weights over the steps, which labels better than the last ones do."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


class Average(Generic[M]):
    """w <- d w + (1 - d) of the model's, after every step (Tarvainen and Valpola, 2017).

    The first steps count less of what the start was: d is at most (1 + step) / (10 + step), our choice.

    Args:
        model: that is trained, a student or an assistant; its weights now are the first ones.
        decay: d of later steps, 0..1; 0 follows the model.
    """

    def __init__(self, model: M, decay: float) -> None:
        self.model: M = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the model as it is after a step (0 for the first)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        own, other = self.model.state_dict(), model.state_dict()
        floats = [name for name, value in own.items() if value.is_floating_point()]
        torch._foreach_lerp_([own[name] for name in floats], [other[name] for name in floats], 1 - decay)
        for name in own.keys() - set(floats):  # the batch normalisation's count of batches
            own[name].copy_(other[name])
