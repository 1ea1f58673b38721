"""Whether a folder is a teacher in diffusers layout.

``unet/``, ``text_encoder/``, ``tokenizer/`` and ``scheduler/`` must be there. ``vae/`` may be there: without it the
teacher works on pixels. ``controlnet_depth/`` and ``controlnet_canny/`` may be there. Weights are safetensors, whole or
in shards.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..errors import TeacherMissing

# The alternatives for a part: it is complete when every file of one of the tuples is there.
TOKENIZER = (("tokenizer.json",), ("vocab.json", "merges.txt"))
SCHEDULER = (("scheduler_config.json",),)
# The networks that a teacher has, and the names of their weights without suffix.
NETWORKS = {"unet": "diffusion_pytorch_model", "text_encoder": "model"}
# The networks that it may have.
OPTIONAL_NETWORKS = {
    "vae": "diffusion_pytorch_model",
    "controlnet_depth": "diffusion_pytorch_model",
    "controlnet_canny": "diffusion_pytorch_model",
}
# The largest list of shards that is read, in bytes.
_LARGEST_INDEX = 2**26
# The longest name that a file can have, in bytes.
_LONGEST_NAME = 255


def check_layout(folder: Path) -> list[str]:
    """Return what ``folder`` lacks to be a teacher, as relative paths with a reason; [] when complete.

    The required parts are checked, and the optional ones where their folder exists.
    """
    optional = {part: stem for part, stem in OPTIONAL_NETWORKS.items() if (folder / part).is_dir()}
    missing = []
    for part, stem in (NETWORKS | optional).items():
        missing += [f"{part}/{what}" for what in missing_network(folder / part, stem)]
    missing += missing_files(folder, "tokenizer", TOKENIZER)
    return missing + missing_files(folder, "scheduler", SCHEDULER)


def missing_files(folder: Path, part: str, alternatives: tuple[tuple[str, ...], ...]) -> list[str]:
    """Return what the ``part`` of a teacher lacks in words, with all its ``alternatives``; [] when one is complete."""
    if any(all((folder / part / name).is_file() for name in names) for names in alternatives):
        return []
    return [f"{part}/" + " or ".join(" and ".join(names) for names in alternatives)]


def missing_network(folder: Path, stem: str) -> list[str]:
    """Return which of ``config.json`` and the weights named ``stem`` a network's folder lacks."""
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    index = folder / f"{stem}.safetensors.index.json"
    if index.is_file():
        return missing + [shard for shard in _shards(index) if not (folder / shard).is_file()]
    whole = (folder / f"{stem}{variant}.safetensors" for variant in ("", ".fp16"))
    return missing if any(file.is_file() for file in whole) else [*missing, f"{stem}.safetensors"]


def _shards(index: Path) -> list[str]:
    try:
        if index.stat().st_size > _LARGEST_INDEX:
            raise ValueError("it is far too large")
        shards = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        for shard in shards:
            if not isinstance(shard, str) or shard in ("", "..") or Path(shard).name != shard or _is_too_long(shard):
                raise ValueError(f"it names {str(shard)[:80]!r}, which is no file beside it")
        return shards
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TeacherMissing(f"{index} lists no weight shards ({error}): fetch that file again.") from error


def _is_too_long(name: str) -> bool:
    """Whether no file can have the name: then even to ask for it is an error."""
    return len(os.fsencode(name)) > _LONGEST_NAME
