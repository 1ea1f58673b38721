"""Distillation, the mover of the paper: Adam on a differentiable shape, along scores at random noise levels.

    t ~ U(t_min, t_max),      dL/dx := g / B,      dL/d(parameters) = (dL/dx) (dx/d images) (d images/d parameters)

With the rows of CSD this is Classifier Score Distillation (Eq 7), with those of SDS score distillation sampling.
"""

from __future__ import annotations

import torch

from ...core.recipe import Distill as Numbers
from ...core.recipe import at
from ..look.batches import Batch
from ..shape.interface import Trainable
from . import score
from .anchored_noise import AnchoredNoise
from .pullback import clip_pixels
from .settling import Settling


class Distill:
    """Moves ``shape`` by an optimiser of its own."""

    def __init__(
        self, shape: Trainable, numbers: Numbers, *, iterations: int, steps: int, generator: torch.Generator
    ) -> None:
        """iterations: of the run. steps: noise levels of the teacher. generator: on the CPU."""
        self._shape, self._numbers, self._iterations, self._steps = shape, numbers, iterations, steps
        self._generator = generator
        self._anchored = AnchoredNoise(numbers.noise_share, numbers.noise_cells, generator.initial_seed())
        groups = [
            {"params": parameters, "rate": getattr(numbers, f"rate_{name}")}
            for name, parameters in shape.parameter_groups().items()
        ]
        # The tiny epsilon is safe because the field and its gradients are float32.
        self._optimizer = torch.optim.Adam(groups, betas=numbers.betas, eps=1e-15, fused=True)
        watched = shape.watched()
        self._settling = Settling(watched.detach()) if watched is not None and numbers.stop_share else None

    def noise(
        self, batch: Batch, images: torch.Tensor, x: torch.Tensor, iteration: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``Mover``."""
        progress = iteration / self._iterations
        low, high = at(self._numbers.t_min, progress), at(self._numbers.t_max, progress)
        t = score.sample_steps(len(batch), low, high, self._steps, self._generator).to(x.device)
        fresh = torch.randn(x.shape, generator=self._generator).to(x.device)
        return t, self._anchored.mixed(batch, fresh) if self._numbers.noise_share else fresh

    def into_encoder(self, g: torch.Tensor) -> torch.Tensor:
        """See ``Mover``."""
        return g

    def move(self, batch: Batch, images: torch.Tensor, gradient: torch.Tensor, iteration: int) -> None:
        """One step of Adam along the gradient and the shape's own penalty."""
        clipped = clip_pixels(gradient, self._numbers.pixel_clip)
        loss = score.surrogate_loss(images, clipped) + self._shape.penalty(batch, images)
        for group in self._optimizer.param_groups:
            group["lr"] = group["rate"] * at(self._numbers.rate_factor, iteration / self._iterations)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        if self._settling:
            watched = self._shape.watched()
            assert watched is not None and watched.grad is not None
            self._settling.observe(watched.grad)

    def settled(self, iteration: int) -> bool:
        """Whether the smoothed gradient has fallen to ``stop_share`` of its peak, in the second half of the run."""
        if self._settling is None or iteration == 0 or 2 * iteration < self._iterations:
            return False
        return self._settling.share() <= self._numbers.stop_share

    def state(self) -> dict[str, torch.Tensor]:
        """Adam's moments, and what decides when to stop."""
        tensors = {
            f"optimizer.{index}.{name}": torch.as_tensor(value)
            for index, moments in self._optimizer.state_dict()["state"].items() for name, value in moments.items()
        }  # fmt: skip
        if self._settling:
            tensors |= {f"settling.{name}": value for name, value in self._settling.state_dict().items()}
        return tensors

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """See ``Mover``."""
        moments: dict[int, dict[str, torch.Tensor]] = {}
        settling = {}
        for key, value in state.items():
            kind, _, rest = key.partition(".")
            if kind == "settling":
                settling[rest] = value
            else:
                index, _, name = rest.partition(".")
                moments.setdefault(int(index), {})[name] = value
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})
        if self._settling:
            self._settling.load_state_dict(settling)
