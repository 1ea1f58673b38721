"""The device a job computes on, its arithmetic, and how much memory was used at most."""

from __future__ import annotations

import sys

import psutil
import torch

from ..serve.control import JobFailure


def choose_device(wanted: str) -> torch.device:
    """The device for "auto", "cpu", "cuda" or "mps". Raises ``JobFailure`` if the wanted one is not there."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available[wanted]:
        raise JobFailure(
            "input", f"The device '{wanted}' is not available to the worker's torch {torch.__version__}; use 'auto'."
        )
    return torch.device(wanted)


def choose_dtype(device: torch.device) -> torch.dtype:
    """A teacher's arithmetic: bfloat16 on GPUs that have it, float16 on other CUDA GPUs, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.float32


def choose_noise_dtype(device: torch.device, dtype: torch.dtype, prediction: str) -> torch.dtype:
    """The arithmetic of the networks that predict noise, where the rest of a teacher computes in ``dtype``.

    bfloat16 on a CPU that multiplies it itself: the networks are three times as fast. Only for v: what rounding does to
    eps is magnified by sqrt((1 - abar) / abar) on its way to a clean image, what it does to v is not.
    """
    return torch.bfloat16 if device.type == "cpu" and prediction == "v_prediction" and has_bfloat16() else dtype


def has_bfloat16() -> bool:
    """Whether this machine's CPU multiplies bfloat16 numbers itself."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def peak_memory_mb(device: torch.device) -> float:
    """Most memory used so far, MiB: of the GPU where one is used, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 2**20
    # psutil knows the peak on Windows only, and Windows has no such module.
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, KiB on Linux. Linux begins with what the process that started this one held.
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
