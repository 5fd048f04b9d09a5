"""The running average of a student's weights over the steps, which labels better than the last ones do."""

import copy

import torch
from torch import nn

from goodsam.student import Student


class Average:
    """w <- d w + (1 - d) of the student's, after every step (Tarvainen and Valpola, 2017).

    The first steps count less of what the start was: d is at most (1 + step) / (10 + step), our choice.

    Args:
        student: that is trained; its weights now are the first ones.
        decay: d of later steps, 0..1; 0 follows the student.
    """

    def __init__(self, student: Student, decay: float) -> None:
        self.student = copy.deepcopy(student).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """Take in the student as it is after a step (0 for the first)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        own, other = self.student.state_dict(), student.state_dict()
        floats = [name for name, value in own.items() if value.is_floating_point()]
        torch._foreach_lerp_([own[name] for name in floats], [other[name] for name in floats], 1 - decay)
        for name in own.keys() - set(floats):  # the batch normalisation's count of batches
            own[name].copy_(other[name])
