"""How much memory a step takes, and how to take less: pure numbers, but for ``free_bytes`` and ``empty_cache``.

A step's two large consumers are the networks that predict the noise (rows x views samples, no gradient) and the
encoder of the autoencoder (views images, with everything that its backward needs). Both can work in smaller pieces;
the result is the same up to rounding. ``ladder`` lists what is given up, the cheapest first.

The factors are counts of feature maps, taken from Stable Diffusion 1.5 (1.6 GB for the encoder's backward at 512
pixels in 16 bits was measured; the others are estimates). A step that needs more than estimated takes one rung down.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

# Full-size maps of the encoder's first width that one view keeps for the backward; of it with recomputation; without.
ENCODER_MAPS, RECOMPUTED_MAPS, FORWARD_MAPS = 24, 15, 6
# Full-size maps of the UNet's first width that one sample needs at most, ControlNet residuals among them.
NOISE_MAPS = 50
# Bytes for each sample of a view on the surface: the field with its backward, float32.
FIELD_BYTES = 1200
# The device's own share: context, libraries, fragmentation.
OVERHEAD = 700 * 2**20
SAFETY = 0.95


@dataclass(frozen=True)
class Plan:
    """How a step is cut up.

    noise_batch: samples (rows x views) that go through the UNet at once. encoder_views: images whose encoder graph
    lives at one time; if fewer than all, the encoder runs a second time for its backward. recompute: gradient
    checkpointing inside of the encoder. text_on_cpu: the text encoder stays off the device.
    """

    noise_batch: int
    encoder_views: int
    recompute: bool = False
    text_on_cpu: bool = False

    def words(self) -> str:
        """How the step is cut up, for the artist."""
        told = [f"{_count(self.noise_batch, 'sample')} and {_count(self.encoder_views, 'view')} at a time"]
        told += ["the encoder computed twice"] * self.recompute + ["the text encoder on the CPU"] * self.text_on_cpu
        return ", ".join(told)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number > 1 else ''}"


@dataclass(frozen=True)
class Need:
    """What one run asks of the memory. Weights in bytes; bytes per sample or per view for the rest."""

    views: int
    rows: int
    weights: int
    text_weights: int
    noise: int
    encoder: int
    recomputed: int
    encoder_forward: int
    field: int

    @staticmethod
    def of(
        *, views: int, rows: int, resolution: int, supersample: int, latent: int, element: int, weights: int,
        text_weights: int, encoder_width: int, unet_width: int, field_parameters: int,
    ) -> Need:  # fmt: skip
        """resolution, latent: edges of the image and of the UNet's input. element: bytes of the teacher's numbers.

        encoder_width: channels of the encoder's first stage, 0 without one. unet_width: of the UNet's first.
        """
        image = encoder_width * resolution**2 * element
        # Parameters, gradients and Adam's two moments.
        field = 16 * field_parameters + views * (resolution * supersample) ** 2 * FIELD_BYTES
        return Need(
            views, rows, weights, text_weights, NOISE_MAPS * unet_width * latent**2 * element, ENCODER_MAPS * image,
            RECOMPUTED_MAPS * image, FORWARD_MAPS * image, field,
        )  # fmt: skip

    def bytes(self, plan: Plan) -> int:
        """The most that a step takes under ``plan``."""
        weights = self.weights - (self.text_weights if plan.text_on_cpu else 0)
        graph = plan.encoder_views * (self.recomputed if plan.recompute else self.encoder)
        # While the noise is predicted the encoder's graph waits, unless it is made anew afterwards.
        waiting = graph if plan.encoder_views >= self.views else 0
        noise = plan.noise_batch * self.noise
        return OVERHEAD + weights + self.field + max(graph, waiting + noise, self.encoder_forward)


def ladder(views: int, rows: int) -> list[Plan]:
    """From everything at once down to one sample, one view and recomputation; each rung takes less than the last."""
    plans = [Plan(views * rows, views), Plan(views * rows, views, text_on_cpu=True)]
    plans.append(Plan(views, views, text_on_cpu=True))
    count = views
    while count > 1:
        count //= 2
        plans.append(Plan(count, count, text_on_cpu=True))
    plans.append(Plan(1, 1, recompute=True, text_on_cpu=True))
    return list(dict.fromkeys(plans))


def fit(need: Need, free: int | None) -> Plan:
    """The first rung that fits into ``free`` bytes; the last one where none does; the first where free is None."""
    plans = ladder(need.views, need.rows)
    if free is None:
        return plans[0]
    return next((plan for plan in plans if need.bytes(plan) <= SAFETY * free), plans[-1])


def smaller(plan: Plan, need: Need) -> Plan | None:
    """The next rung below ``plan``, None at the end."""
    plans = ladder(need.views, need.rows)
    below = plans.index(plan) + 1
    return plans[below] if below < len(plans) else None


def free_bytes(device: torch.device) -> int | None:
    """What the device has left for us, None where it does not say.

    This process's tensors are not free; what torch holds for the next ones without using it is.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return _available_memory()


def empty_cache(device: torch.device) -> None:
    """Give back what torch holds without using it, so that it can be had in other pieces."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _available_memory() -> int | None:
    """Linux' own estimate of what a new program can have."""
    table = Path("/proc/meminfo")
    if not table.is_file():
        return None
    for line in table.read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
