"""A surface whose field an optimiser trains: a hash grid with an MLP behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ...core.channels import Channel, width
from ..field.hashgrid import HashField, Level
from ..look.batches import Batch
from ..look.compositing import composite
from .appearance import Appearance


class TrainedSurface:
    """See ``interface.Trainable``."""

    fitted = 0

    def __init__(
        self, appearance: Appearance, levels: tuple[Level, ...], channels: Sequence[Channel],
        generator: torch.Generator, device: torch.device,
    ) -> None:  # fmt: skip
        """generator: on the CPU, gives the first weights."""
        self.channels, self._appearance = channels, appearance
        self.field: HashField = appearance.trained_field(levels, width(channels), generator).to(device)

    def images(self, batch: Batch) -> torch.Tensor:
        """See ``interface.Shape``; differentiable."""
        return composite(batch.views, self._appearance.values(self.field, batch), batch.backgrounds)

    def parameter_groups(self) -> Mapping[str, list[torch.nn.Parameter]]:
        """See ``interface.Trainable``."""
        return {"grid": self.field.grid_parameters(), "mlp": self.field.mlp_parameters()}

    def watched(self) -> torch.nn.Parameter | None:
        """The last matrix, through which every place of the surface is seen."""
        return self.field.output

    def penalty(self, batch: Batch, images: torch.Tensor) -> torch.Tensor | float:
        """See ``interface.Trainable``."""
        return self._appearance.penalty(batch, images)

    def state(self) -> dict[str, torch.Tensor]:
        """See ``interface.Shape``."""
        return self.field.state_dict()

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """See ``interface.Shape``."""
        self.field.load_state_dict(state)
