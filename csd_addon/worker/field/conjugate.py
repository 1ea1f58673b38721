"""Conjugate gradients for a field that is fitted to images.

Over the short way of a step the images are nearly linear in the field's parameters p, so the sum of squares

    E(p) = |r(p)|^2 / 2,      r = images(p) - target,

is nearly a parabola along any direction d, and one trial at p + h d tells where its lowest point is:

    J d = (r(p + h d) - r(p)) / h,      p <- p + a d,      a = -<J d, r> / <J d, J d>.

The directions are those of Polak and Ribiere (Nocedal and Wright, Numerical Optimization, chapter 5), preconditioned
with Adam's mean square v of the gradient g and with the learning rates of the parameters; ' is the step before:

    z = rate g / sqrt(v),      d = -z + max(0, <g, z - z'> / <g', z'>) d'.

Adam itself steps as far as its rate, whatever the images need (docs/pitfalls.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Tensors = Sequence[torch.Tensor]

# Of the running mean of squares, as Adam's second beta.
DECAY = 0.99
# A step goes at most so many times as far as its trial, near which the images are known to be linear.
FARTHEST = 3.0
# The next trial goes as far as this step, but at least this share of this trial (no step shuts the way for good) ...
LEAST_TRIAL = 0.25
# ... and at most as far as a step of Adam's.
LONGEST_TRIAL = 1.0


@dataclass(frozen=True)
class _Last:
    """The step before: its <g, z>, its z and its d."""

    descent: torch.Tensor
    scaled: Tensors
    direction: Tensors


class ConjugateGradients(torch.optim.Optimizer):
    """Preconditioned nonlinear conjugate gradients for residuals that are nearly linear over one step.

    groups: parameters with their "lr": the longest trial moves each number about that far, and below it only the ratio
    of two rates matters. The state of a parameter is "step" and the mean "square" of its gradient; that of the first
    has the "trial" h of the next step too.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {"lr": 1.0})
        self._parameters = [p for group in self.param_groups for p in group["params"]]
        self._rates = [group["lr"] for group in self.param_groups for _ in group["params"]]
        self._last: _Last | None = None

    def restart(self) -> None:
        """Forget the directions: the residuals of the next step are others."""
        self._last = None

    @torch.no_grad()
    def step(self, closure: Callable[[], torch.Tensor]) -> None:  # type: ignore[override]  # residuals, not a loss
        """Go to the lowest point of the sum of squares along the next direction.

        closure: the residuals r, of any shape, differentiable in the parameters.
        """
        with torch.enable_grad():
            residual = closure()
            gradient = torch.autograd.grad(residual.square().sum() / 2, self._parameters)
        direction = self._conjugate(gradient, self._scaled(gradient))
        kept = self.state[self._parameters[0]].setdefault("trial", torch.ones(()))
        trial = float(kept)
        change = (self._tried(closure, direction, trial) - residual) / trial
        best = -float((change * residual).sum() / change.square().sum().clamp(min=torch.finfo(change.dtype).tiny))
        best = min(max(best, 0.0), FARTHEST * trial)
        self._go(direction, best - trial)
        kept.fill_(min(max(best, LEAST_TRIAL * trial), LONGEST_TRIAL))

    def _scaled(self, gradient: Tensors) -> Tensors:
        """z for this ``gradient``, which the mean squares take up."""
        scaled = []
        for parameter, rate, g in zip(self._parameters, self._rates, gradient, strict=True):
            state = self.state[parameter]
            if not state:
                state.update(step=torch.zeros(()), square=torch.zeros_like(parameter))
            state["step"] += 1
            state["square"].mul_(DECAY).addcmul_(g, g, value=1 - DECAY)
            # The tiny number is for parameters that no image has shown yet.
            root = state["square"].div(1 - DECAY ** float(state["step"])).sqrt_().add_(1e-15)
            scaled.append(rate * g / root)
        return scaled

    def _conjugate(self, gradient: Tensors, scaled: Tensors) -> Tensors:
        """d, kept for the next step."""
        descent, last = _dot(gradient, scaled), self._last
        direction: Tensors = [-z for z in scaled]
        if last is not None and last.descent > 0:
            share = max(float((descent - _dot(gradient, last.scaled)) / last.descent), 0.0)
            pairs = zip(direction, last.direction, strict=True)
            direction = [d.add_(former, alpha=share) for d, former in pairs]
        self._last = _Last(descent, scaled, direction)
        return direction

    def _tried(self, closure: Callable[[], torch.Tensor], direction: Tensors, trial: float) -> torch.Tensor:
        """The residuals where the trial ends, which is where the parameters are then."""
        self._go(direction, trial)
        try:
            return closure()
        except (RuntimeError, MemoryError):
            # Who is out of memory comes back with smaller pieces, and to the field as it was.
            self._go(direction, -trial)
            raise

    def _go(self, direction: Tensors, length: float) -> None:
        for parameter, d in zip(self._parameters, direction, strict=True):
            parameter.add_(d, alpha=length)


def _dot(one: Tensors, other: Tensors) -> torch.Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(one, other, strict=True)]).sum()
