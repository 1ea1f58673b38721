"""How much memory a step takes, and how to take less: pure numbers, but for ``free_bytes`` and ``empty_cache``.

A step's two large consumers are the networks that predict the noise (rows x views samples, no gradient) and the
encoder of the autoencoder (views images, with everything that its backward needs). Both can work in smaller pieces;
the result is the same up to rounding, but for tiles, the last resort. ``ladder`` lists what is given up, the cheapest
first.

The factors are counts of feature maps. ``tests/worker/test_peak.py`` runs the true networks of Stable Diffusion 1.5 on
tensors without data and compares them. A step that needs more than estimated takes one rung down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import psutil
import torch

# Full-size maps of the encoder's first width that one view keeps for the backward; of it with recomputation; with
# recomputation and tiles of half the edge. Counted: 23.8, 15.6, 5.7.
ENCODER_MAPS, RECOMPUTED_MAPS, TILED_MAPS = 24, 16, 6
# Full-size maps of the UNet's first width that one sample needs at most, ControlNet residuals among them. Counted: 36;
# the rest is for what convolutions on a GPU borrow.
NOISE_MAPS = 50
# Bytes for each sample of a view on the surface: the field with its backward, float32.
FIELD_BYTES = 1200
# Bytes for each pixel of a view that a field is fitted to, and each of its levels. Counted: 105.
VIEW_MATRIX_BYTES = 128
# The device's own share: context, libraries, fragmentation.
OVERHEAD = 700 * 2**20
SAFETY = 0.95
# Autoencoders were trained on images of this edge and more; smaller tiles show them too little.
SMALLEST_TILE = 256


@dataclass(frozen=True)
class Plan:
    """How a step is cut up.

    noise_batch: samples (rows x views) that go through the UNet at once. encoder_views: images whose encoder graph
    lives at one time; if fewer than all, the encoder runs a second time for its backward. recompute: gradient
    checkpointing inside of the encoder. text_on_cpu: the text encoder stays off the device. tile: edge in pixels of
    the overlapping tiles in which the encoder sees an image, 0 for whole images; norms and attention then end at the
    tiles' edges, so x is another one, a little.
    """

    noise_batch: int
    encoder_views: int
    recompute: bool = False
    text_on_cpu: bool = False
    tile: int = 0

    def words(self) -> str:
        """How the step is cut up, for the artist."""
        told = [f"{_count(self.noise_batch, 'sample')} and {_count(self.encoder_views, 'view')} at a time"]
        told += ["the encoder computed twice"] * self.recompute + ["the text encoder on the CPU"] * self.text_on_cpu
        told += [f"images in tiles of {self.tile} pixels, which is less exact"] * (self.tile > 0)
        return ", ".join(told)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number > 1 else ''}"


@dataclass(frozen=True)
class Need:
    """What one run asks of the memory. Weights in bytes; bytes per sample or per view for the rest.

    encoder, recomputed, tiled: of one view's graph, by the plan. tile: the edge of tiles, 0 where there can be none.
    """

    views: int
    rows: int
    weights: int
    text_weights: int
    noise: int
    encoder: int
    recomputed: int
    tiled: int
    field: int
    tile: int = 0

    @staticmethod
    def of(
        *, views: int, rows: int, resolution: int, supersample: int, latent: int, element: int, weights: int,
        text_weights: int, encoder_width: int, unet_width: int, field_parameters: int, fitted: int = 0,
        tiles: bool = False,
    ) -> Need:  # fmt: skip
        """resolution, latent: edges of the image and of the UNet's input. element: bytes of the teacher's numbers.

        encoder_width: channels of the encoder's first stage, 0 without one. unet_width: of the UNet's first. fitted: to
        how many views the field is fitted, times its levels. tiles: whether the encoder can work in tiles.
        """
        image = encoder_width * resolution**2 * element
        # Parameters, gradients and Adam's two moments, or what the fit needs for all that a step shows.
        field = 24 * field_parameters + views * (resolution * supersample) ** 2 * FIELD_BYTES
        field += fitted * resolution**2 * VIEW_MATRIX_BYTES
        return Need(
            views, rows, weights, text_weights, NOISE_MAPS * unet_width * latent**2 * element, ENCODER_MAPS * image,
            RECOMPUTED_MAPS * image, TILED_MAPS * image, field,
            resolution // 2 if tiles and resolution >= 2 * SMALLEST_TILE else 0,
        )  # fmt: skip

    def graph(self, plan: Plan) -> int:
        """What the encoder's graph takes that lives at one time."""
        one = self.tiled if plan.tile else self.recomputed if plan.recompute else self.encoder
        return plan.encoder_views * one

    def bytes(self, plan: Plan) -> int:
        """The most that a step takes under ``plan``."""
        weights = self.weights - (self.text_weights if plan.text_on_cpu else 0)
        # While the noise is predicted the encoder's graph waits, unless it is made anew afterwards.
        waiting = self.graph(plan) if plan.encoder_views >= self.views else 0
        noise = plan.noise_batch * self.noise
        return OVERHEAD + weights + self.field + max(self.graph(plan), waiting + noise)


def ladder(need: Need) -> list[Plan]:
    """From everything at once down to one sample, one view, recomputation and tiles; each rung takes less memory."""
    rungs = [Plan(need.views * need.rows, need.views)]
    for plan in _savings(rungs[0], need):
        if need.bytes(plan) < need.bytes(rungs[-1]):
            rungs.append(plan)
    return rungs


def _savings(plan: Plan, need: Need) -> Iterator[Plan]:
    """One saving after the other: what costs next to nothing first, then at the larger consumer."""
    plan = replace(plan, text_on_cpu=True)
    yield plan
    plan = replace(plan, noise_batch=need.views)
    yield plan
    while smaller_still := _saved(plan, need):
        plan = smaller_still
        yield plan


def _saved(plan: Plan, need: Need) -> Plan | None:
    """``plan`` with less for its larger consumer, or for the other one where that has nothing left to give."""
    noise = replace(plan, noise_batch=plan.noise_batch // 2) if plan.noise_batch > 1 else None
    encoder = _saved_encoder(plan, need)
    if need.graph(plan) >= plan.noise_batch * need.noise:
        return encoder or noise
    return noise or encoder


def _saved_encoder(plan: Plan, need: Need) -> Plan | None:
    if plan.encoder_views > 1:
        return replace(plan, encoder_views=plan.encoder_views // 2)
    if not plan.recompute:
        return replace(plan, recompute=True)
    return replace(plan, tile=need.tile) if need.tile and not plan.tile else None


def fit(need: Need, free: int | None) -> Plan:
    """The first rung that fits into ``free`` bytes; the last one where none does; the first where free is None."""
    plans = ladder(need)
    if free is None:
        return plans[0]
    return next((plan for plan in plans if need.bytes(plan) <= SAFETY * free), plans[-1])


def smaller(plan: Plan, need: Need) -> Plan | None:
    """The next rung below ``plan``, None at the end."""
    plans = ladder(need)
    below = plans.index(plan) + 1
    return plans[below] if below < len(plans) else None


def free_bytes(device: torch.device) -> int:
    """What the device has left for us, in bytes. Of a CPU: what a new program can have without swapping.

    This process's tensors are not free. What torch holds for the next ones without using it is.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return int(psutil.virtual_memory().available)


def empty_cache(device: torch.device) -> None:
    """Give back what torch holds without using it, so that it can be had in other pieces."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
