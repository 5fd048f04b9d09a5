"""How the bundled teacher is trained: optimiser, schedule, averaged weights, checkpoints."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

DECAY = 0.3
"""Share of all steps, the last, over which the learning rate falls to 0; it is constant before, so that a training can
be made longer without starting again."""


class Trained:
    """A module with its optimisers, its averaged weights and the number of steps it has had.

    Muon for the matrices of linear layers, AdamW for the rest: from random weights that reaches the same loss in fewer
    steps than AdamW alone, which more than pays for its longer steps.

    Args:
        module: what is trained.
        steps: of the whole training.
        rates: peak learning rates of Muon and AdamW.
        warmup: steps of rising learning rate.
        average: how much of the averaged weights is kept at each step.
        decay: share of all steps over which the learning rate falls.
    """

    def __init__(
        self,
        module: nn.Module,
        steps: int,
        rates: tuple[float, float],
        warmup: int = 100,
        average: float = 0.998,
        decay: float = DECAY,
    ) -> None:
        self.module, self.steps, self.warmup, self._keep = module, steps, min(warmup, max(1, steps // 10)), average
        self.step, self.seconds, self._decay = 0, 0.0, decay
        linear = [layer.weight for layer in module.modules() if isinstance(layer, nn.Linear)]
        chosen = {id(parameter) for parameter in linear}
        others = [parameter for parameter in module.parameters() if id(parameter) not in chosen]
        groups = [
            {"params": [parameter for parameter in others if parameter.ndim > 1], "weight_decay": 0.01},
            {"params": [parameter for parameter in others if parameter.ndim <= 1], "weight_decay": 0.0},
        ]
        self._optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(linear, lr=rates[0], weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(groups, lr=rates[1], betas=(0.9, 0.99)),
        ]
        self._rates = rates
        self.average = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def rate(self) -> float:
        """Share of the peak learning rate at the present step: warm-up, constant, linear to 0."""
        if self.step < self.warmup:
            return (self.step + 1) / self.warmup
        return min(1.0, (self.steps - self.step) / max(1.0, self._decay * self.steps))

    def learn(self, loss: Tensor, clip: float = 1.0) -> float:
        """One step down the gradient of a loss; the norm of that gradient.

        Raises:
            SystemExit: the gradient is not finite.
        """
        self.module.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.module.parameters(), clip))
        if not norm < float("inf"):
            raise SystemExit(f"step {self.step}: the gradient is not finite; lower the learning rate")
        for optimiser, peak in zip(self._optimisers, self._rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * self.rate()
            optimiser.step()
        self.step += 1
        keep = min(self._keep, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.module.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - keep)
                else:
                    self.average[name].copy_(value)
        return norm

    def save(self, path: Path, **more: Any) -> None:
        """Everything that going on takes, in place of the last at once."""
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "module": self.module.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
            "average": self.average,
        }
        torch.save(state | more, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self, path: Path) -> dict[str, Any] | None:
        """Go on from a checkpoint; what it holds, or None where there is none."""
        if not path.is_file():
            return None
        state: dict[str, Any] = torch.load(path, weights_only=True)
        self.module.load_state_dict(state["module"])
        for optimiser, values in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(values)
        self.average, self.step, self.seconds = state["average"], state["step"], state["seconds"]
        print(f"goes on at step {self.step}", flush=True)
        return state
