"""A diffusion model in diffusers layout behind the interface of ``score.Teacher``.

Images are (B, 3, H, W) sRGB-encoded in [0, 1]; x is the model's latent, already scaled (pixels in [-1, 1] for a
model without a VAE). Whatever the model predicts is converted to eps here and nowhere else:

    eps:  as it is
    v:    eps = sqrt(abar) v + sqrt(1 - abar) x_t
    x0:   eps = (x_t - sqrt(abar) x0) / sqrt(1 - abar)

Everything is loaded from local folders; nothing is ever downloaded here.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..control import JobFailure


class DiffusionTeacher:
    """UNet2DConditionModel + CLIPTextModel + scheduler, with an optional VAE and optional ControlNets.

    conditions: the names of the loaded ControlNets in the order in which ``predict_noise`` expects their images.
    """

    def __init__(
        self, folders: dict[str, str], device: torch.device, dtype: torch.dtype, *, use: Sequence[str]
    ) -> None:
        """folders: "root" and optionally "vae", "controlnet_depth", "controlnet_canny" (where not below the root).

        use: condition names wanted ("depth", "canny"); those whose folder is missing are left out.
        Raises ``JobFailure`` (kind "teacher") naming the file that is missing or damaged.
        """
        self.root = Path(folders["root"])
        self._folders = {k: Path(v) for k, v in folders.items() if v}
        self.device, self.dtype = device, dtype
        self._load(use)

    def _load(self, use: Sequence[str]) -> None:
        # Imported here: diffusers and transformers take seconds, and score and its tests need neither.
        from diffusers import ControlNetModel, DDPMScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        scheduler = self._part(DDPMScheduler, self.root / "scheduler")
        self.prediction: str = scheduler.config.prediction_type
        self.alphas_cumprod = scheduler.alphas_cumprod.to(self.device, torch.float32)
        self.tokenizer = self._part(CLIPTokenizer, self.root / "tokenizer")
        self._text = self._model(CLIPTextModel, self.root / "text_encoder")
        self._unet = self._model(UNet2DConditionModel, self.root / "unet")
        self._vae = self._load_vae()
        present = [name for name in use if self._folder(f"controlnet_{name}").is_dir()]
        self._controlnets = [self._model(ControlNetModel, self._folder(f"controlnet_{n}")) for n in present]
        self.conditions: tuple[str, ...] = tuple(present)

    def _load_vae(self) -> Any:
        """The autoencoder of the class that its own config names, or None for a pixel model."""
        import diffusers

        folder = self._folder("vae")
        if not folder.is_dir():
            return None
        name = json.loads((folder / "config.json").read_text(encoding="utf-8"))["_class_name"]
        if name not in ("AutoencoderKL", "AutoencoderTiny"):
            raise JobFailure("teacher", f"The autoencoder in {folder} is a '{name}', which is not supported.")
        return self._model(getattr(diffusers, name), folder)

    def _folder(self, part: str) -> Path:
        return self._folders.get(part, self.root / part)

    def _part(self, kind: Any, folder: Path, **options: Any) -> Any:
        try:
            return kind.from_pretrained(folder, local_files_only=True, **options)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise JobFailure("teacher", f"The teacher's part {folder} can't be loaded: {error}") from error

    def _model(self, kind: Any, folder: Path) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            model = self._part(kind, folder, torch_dtype=self.dtype, variant=_variant(folder))
        return model.to(self.device).eval().requires_grad_(False)

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """(N, L, D) text embeddings; texts longer than the model's limit are cut."""
        tokens = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self.tokenizer.model_max_length,
            return_tensors="pt",
        )  # fmt: skip
        return self._text(tokens.input_ids.to(self.device)).last_hidden_state

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) images in [0, 1] to (B, C, h, w) float32 x, differentiable.

        The mean of the posterior is taken where the autoencoder has one: it removes noise from the gradient.
        """
        pixels = (2 * images - 1).to(self.dtype)
        if self._vae is None:
            return pixels.float()
        encoded = self._vae.encode(pixels)
        latents = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latents
        return latents.float() * self._vae.config.scaling_factor

    def predict_noise(
        self, x_t: torch.Tensor, t: torch.Tensor, prompts: torch.Tensor,
        conditions: Sequence[torch.Tensor], scales: Sequence[float],
    ) -> torch.Tensor:  # fmt: skip
        """See ``score.Teacher``. conditions: one (N, 3, S, S) image batch for each of ``self.conditions``."""
        x = x_t.to(self.dtype)
        residuals = self._control(x, t, prompts, conditions, scales)
        output = self._unet(x, t, encoder_hidden_states=prompts, return_dict=False, **residuals)[0].float()
        return to_noise(output, x_t, self.alphas_cumprod[t], self.prediction)

    def _control(
        self, x: torch.Tensor, t: torch.Tensor, prompts: torch.Tensor,
        conditions: Sequence[torch.Tensor], scales: Sequence[float],
    ) -> dict[str, Any]:  # fmt: skip
        """Residuals of all ControlNets, summed; nothing for nets at scale 0."""
        down: list[torch.Tensor] | None = None
        middle: torch.Tensor | None = None
        for net, image, scale in zip(self._controlnets, conditions, scales, strict=True):
            if scale == 0:
                continue
            d, m = net(
                x, t, encoder_hidden_states=prompts, controlnet_cond=image.to(self.dtype),
                conditioning_scale=scale, return_dict=False,
            )  # fmt: skip
            down = list(d) if down is None else [a + b for a, b in zip(down, d, strict=True)]
            middle = m if middle is None else middle + m
        if down is None:
            return {}
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}


def _variant(folder: Path) -> str | None:
    """"fp16" where only the half-precision files of a repository were fetched."""
    plain = (*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json"))
    return "fp16" if plain and all(".fp16" in path.name for path in plain) else None


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


def read_preferences(root: Path) -> dict[str, Any]:
    """What the teacher likes: its ``csd.json``, or {} without one. Raises ``JobFailure`` if it is damaged."""
    return _read_json(root / "csd.json")


def read_vocabulary(root: Path) -> list[str]:
    """The words that the teacher knows, from its ``vocabulary.json``; [] for a teacher without such a list."""
    words: list[str] = _read_json(root / "vocabulary.json").get("words", [])
    return words


def read_related(root: Path) -> dict[str, str]:
    """Words that the teacher does not know, each with what to write instead, from its ``vocabulary.json``; or {}."""
    related: dict[str, str] = _read_json(root / "vocabulary.json").get("related", {})
    return related


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise JobFailure("teacher", f"The teacher's file {path} is damaged: {error}") from error
    return values
