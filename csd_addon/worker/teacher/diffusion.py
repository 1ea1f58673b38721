"""A diffusion model in diffusers layout behind ``interface.Teacher``.

Images are (B, 3, H, W) sRGB-encoded in [0, 1]; x is the model's latent, already scaled (pixels in [-1, 1] for a
model without a VAE). Whatever the model predicts is converted to eps here and nowhere else:

    eps:  as it is
    v:    eps = sqrt(abar) v + sqrt(1 - abar) x_t
    x0:   eps = (x_t - sqrt(abar) x0) / sqrt(1 - abar)

Networks compute in ``dtype``, those that predict noise in ``noise_dtype``; everything that they give back is float32.
``plan`` says in what pieces they work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ...core.channels import BASE_COLOR, CHANNELS, spans
from ..serve.control import JobFailure
from . import lora
from .device import choose_noise_dtype
from .interface import Conditioning
from .loading import Networks, load_networks
from .memory import Need, Plan

# A warm worker sees many prompts; more embeddings than these are not kept from batch to batch.
MOST_EMBEDDED = 256


class DiffusionTeacher:
    """UNet2DConditionModel + CLIPTextModel + scheduler, with an optional VAE and optional ControlNets.

    conditions: the names of the loaded ControlNets. plan: in what pieces to work, None for everything at once.
    notes: what became of the LoRA, if the artist should know.
    """

    _seen = spans(CHANNELS)[BASE_COLOR.name]
    plan: Plan | None = None
    notes: Sequence[str] = ()
    _compiled = False

    def __init__(
        self, folders: Mapping[str, str], device: torch.device, dtype: torch.dtype, *, use: Sequence[str],
        lora_words: str = "",
    ) -> None:  # fmt: skip
        """folders: see ``loading.load_networks``. lora_words: ``FILE[:WEIGHT]``, merged into the UNet.

        use: condition names wanted ("depth", "canny"); those whose folder is missing are left out.
        Raises ``JobFailure`` (kind "teacher", or "input" for the LoRA) naming the file that is missing or damaged.
        """
        networks = load_networks(folders, dtype, use)
        if lora_words:
            self.notes = lora.merge(networks.unet, *lora.parse(lora_words)).notes()
        self._take(networks, Path(folders["root"]), device, dtype)

    @classmethod
    def of(cls, networks: Networks, root: Path, device: torch.device, dtype: torch.dtype) -> DiffusionTeacher:
        """A teacher from ``networks`` that are made already; ``root`` is where its preferences would be."""
        teacher = cls.__new__(cls)
        teacher._take(networks, root, device, dtype)
        return teacher

    def _take(self, networks: Networks, root: Path, device: torch.device, dtype: torch.dtype) -> None:
        self.root, self.device, self.dtype = root, device, dtype
        self.prediction: str = networks.scheduler.config.prediction_type
        self.noise_dtype = choose_noise_dtype(device, dtype, self.prediction)
        self.alphas_cumprod = networks.scheduler.alphas_cumprod.to(device, torch.float32)
        self.tokenizer = networks.tokenizer
        self._text, self.unet, self._vae = map(self._placed, (networks.text_encoder, networks.unet, networks.vae))
        self._controlnets = [self._placed(networks.controlnets[name]) for name in networks.controlnets]
        if self.noise_dtype != dtype:
            for network in (self.unet, *self._controlnets):
                # diffusers' own ``to`` warns that such a cast may be wrong, whatever the network.
                torch.nn.Module.to(network, self.noise_dtype)
        self.conditions: tuple[str, ...] = tuple(networks.controlnets)
        self._embedded: dict[str, torch.Tensor] = {}

    def _placed(self, network: Any) -> Any:
        """``network`` on the device; convolutions of GPUs prefer the channels last."""
        if network is None:
            return None
        if self.device.type == "cuda":
            return network.to(self.device, memory_format=torch.channels_last)
        return network.to(self.device)

    def adopt(self, plan: Plan) -> None:
        """Work in the pieces of ``plan`` from now on."""
        self.plan = plan
        self._text.to("cpu" if plan.text_on_cpu else self.device)
        if hasattr(self._vae, "enable_gradient_checkpointing"):
            (self._vae.enable_gradient_checkpointing if plan.recompute else self._vae.disable_gradient_checkpointing)()
        if self._can_tile():
            (self._vae.enable_tiling if plan.tile else self._vae.disable_tiling)()
            self._vae.tile_sample_min_size = plan.tile or self._vae.config.sample_size
            self._vae.tile_latent_min_size = self._vae.tile_sample_min_size // self._scale()

    def compile(self) -> None:
        """Let torch compile the UNet and the ControlNets, once: it takes a minute and pays in long runs."""
        if not self._compiled:
            self._compiled = True
            self.unet.compile()
            for net in self._controlnets:
                net.compile()

    def need(
        self, *, views: int, rows: int, resolution: int, supersample: int, field_parameters: int, fitted: int
    ) -> Need:
        """What a step of a run takes, from the sizes of the networks that are loaded."""
        widths = (getattr(self._vae.config, "block_out_channels", None) or (0,)) if self._vae is not None else (0,)
        networks = [self.unet, self._vae, self._text, *self._controlnets]
        return Need.of(
            views=views, rows=rows, resolution=resolution, supersample=supersample, latent=resolution // self._scale(),
            element=self.dtype.itemsize, weights=sum(map(_weight, networks)), text_weights=_weight(self._text),
            encoder_width=widths[0], unet_width=self.unet.config.block_out_channels[0],
            field_parameters=field_parameters, fitted=fitted, tiles=self._can_tile(),
        )  # fmt: skip

    def _scale(self) -> int:
        """Pixels of an image for one number of x, along an edge."""
        widths = getattr(self._vae.config, "block_out_channels", None) if self._vae is not None else None
        return 2 ** (len(widths) - 1) if widths else 1

    def _can_tile(self) -> bool:
        # The other kind, AutoencoderTiny, needs little as it is.
        return type(self._vae).__name__ == "AutoencoderKL"

    def held(self) -> int:
        """Bytes of weights that lie on the device now."""
        networks = [self.unet, self._vae, self._text, *self._controlnets]
        return sum(_weight(n) for n in networks if n is not None and n.device.type == self.device.type)

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """(N, L, D) text embeddings; texts longer than the model's limit are cut.

        Each text is embedded alone, and once: what it gives does not depend on what else was asked for.
        """
        if len(self._embedded) > MOST_EMBEDDED:
            self._embedded.clear()
        for text in texts:
            if text not in self._embedded:
                tokens = self.tokenizer(
                    [text], padding="max_length", truncation=True, max_length=self.tokenizer.model_max_length,
                    return_tensors="pt",
                )  # fmt: skip
                output = self._text(tokens.input_ids.to(self._text.device))
                self._embedded[text] = output.last_hidden_state[0].to(self.device)
        return torch.stack([self._embedded[text] for text in texts])

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) images in [0, 1] to (B, c, h, w) float32 x, differentiable. Of all channels it sees base colour.

        The mean of the posterior is taken where the autoencoder has one: it removes noise from the gradient.
        """
        pixels = (2 * images[:, self._seen] - 1).to(self.dtype)
        if self._vae is None:
            return pixels.float()
        encoded = self._vae.encode(pixels)
        latents = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latents
        return latents.float() * self._vae.config.scaling_factor

    @torch.no_grad()
    def encode_still(self, images: torch.Tensor) -> torch.Tensor:
        """``encode`` for images that need no gradient, in the pieces of ``plan``."""
        piece = self.plan.encoder_views if self.plan else len(images)
        return torch.cat([self.encode(part) for part in images.split(piece)])

    @torch.no_grad()
    def predict_noise(
        self, x_t: torch.Tensor, t: torch.Tensor, told: Conditioning, rows: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        """See ``interface.Scorer``. Rows are stacked in front of the batch, and go through the networks in pieces."""
        count, batch = len(rows), len(x_t)
        # So many rows go through the networks side by side; the ControlNets see the first of them alone.
        shared = count if told.share_control else 1
        x, steps = x_t.repeat(count, *[1] * (x_t.dim() - 1)), t.repeat(count)
        prompts = torch.cat([self.embed(told.prompts[row]) for row in rows])
        images = [told.images[name].repeat(count, 1, 1, 1) for name in self.conditions]
        scales = [told.scales[name] for name in self.conditions]
        views = len(x) // shared
        piece = max(1, (self.plan.noise_batch if self.plan else len(x)) // shared)
        noise = torch.empty_like(x, dtype=torch.float32)
        for first in torch.arange(views, device=x.device).split(piece):
            index = torch.cat([first + row * views for row in range(shared)])
            controlled = first if shared > 1 else index
            residuals = self._control(
                x[controlled].to(self.noise_dtype), steps[controlled], prompts[controlled].to(self.noise_dtype),
                [image[controlled] for image in images], scales, repeat=shared,
            )  # fmt: skip
            output = self.unet(
                x[index].to(self.noise_dtype), steps[index], encoder_hidden_states=prompts[index].to(self.noise_dtype),
                return_dict=False, **residuals,
            )[0]
            abar = self.alphas_cumprod[steps[index]]
            noise[index] = to_noise(output.float(), x[index].float(), abar, self.prediction)
        return dict(zip(rows, noise.to(x_t.dtype).split(batch), strict=True))

    def _control(
        self, x: torch.Tensor, t: torch.Tensor, prompts: torch.Tensor,
        conditions: Sequence[torch.Tensor], scales: Sequence[float], repeat: int,
    ) -> dict[str, Any]:  # fmt: skip
        """Residuals of all ControlNets, summed, ``repeat`` times in a row; nothing for nets at scale 0."""
        down: list[torch.Tensor] | None = None
        middle: torch.Tensor | None = None
        for net, image, scale in zip(self._controlnets, conditions, scales, strict=True):
            if scale == 0:
                continue
            d, m = net(
                x, t, encoder_hidden_states=prompts, controlnet_cond=image.to(self.noise_dtype),
                conditioning_scale=scale, return_dict=False,
            )  # fmt: skip
            down = list(d) if down is None else [a + b for a, b in zip(down, d, strict=True)]
            middle = m if middle is None else middle + m
        if down is None or middle is None:
            return {}
        if repeat > 1:
            down, middle = [part.repeat(repeat, 1, 1, 1) for part in down], middle.repeat(repeat, 1, 1, 1)
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}


def _weight(network: Any) -> int:
    """Bytes of a network's parameters, 0 for none."""
    return 0 if network is None else sum(p.numel() * p.element_size() for p in network.parameters())


def to_noise(
    output: torch.Tensor, x_t: torch.Tensor, alphas_cumprod: torch.Tensor, prediction: str
) -> torch.Tensor:
    """Convert a model's (N, ...) ``output`` of kind ``prediction`` to eps; (N,) ``alphas_cumprod`` are abar_t."""
    abar = alphas_cumprod.reshape(-1, *[1] * (x_t.dim() - 1))
    if prediction == "epsilon":
        return output
    if prediction == "v_prediction":
        return abar.sqrt() * output + (1 - abar).sqrt() * x_t
    if prediction == "sample":
        return (x_t - abar.sqrt() * output) / (1 - abar).sqrt()
    raise JobFailure("teacher", f"The teacher's scheduler names an unknown prediction type '{prediction}'.")
