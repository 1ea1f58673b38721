"""When is an edit done? When the gradient's mean is gone and only its noise is left.

Single gradients keep their size for ever, because t and noise are drawn anew at each step. Their moving mean over
about fifty steps falls to a few percent of its peak once the image stands where the teacher wants it.
"""

from __future__ import annotations

import torch

_DECAY = 0.98
# The mean of fewer gradients than this is mostly noise, and would count as the peak.
_FIRST = 10


class Settling(torch.nn.Module):
    """The moving mean of one parameter's gradient; a module, so that its state goes into the checkpoint."""

    mean: torch.Tensor
    steps: torch.Tensor
    peak: torch.Tensor

    def __init__(self, parameter: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros_like(parameter))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("peak", torch.zeros(()))

    @torch.no_grad()
    def observe(self, gradient: torch.Tensor) -> None:
        """Take the gradient of one step into the mean."""
        self.steps += 1
        self.mean.lerp_(gradient, 1 - _DECAY)
        if self.steps >= _FIRST:
            self.peak.copy_(torch.maximum(self.peak, self._norm()))

    def share(self) -> float:
        """Norm of the mean as a share of its largest value so far; 1 before there is one."""
        return float(self._norm() / self.peak) if self.peak > 0 else 1.0

    def _norm(self) -> torch.Tensor:
        # The mean starts at 0: divided by what it has seen, as in Adam.
        return self.mean.norm() / (1 - _DECAY ** int(self.steps))
