"""Write the teacher as a folder in the diffusers layout: float16 safetensors, no local paths in any file."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
from diffusers import AutoencoderTiny
from torch import nn

from .captions import caption, random_look
from .vocabulary import COLOR_NAMES, MATERIALS, RELATED, SHAPES, SYNONYMS, WEAR

# A file of weights; a model that is larger lies in several.
LARGEST_FILE = "14MB"


def write_part(model, folder: Path) -> None:
    """Save one model or scheduler aside, clean its configuration, and put it in place of the old one."""
    aside = folder.with_name(folder.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    if isinstance(model, nn.Module):
        model.half().save_pretrained(aside, max_shard_size=LARGEST_FILE)
    else:
        model.save_pretrained(aside)
    for path in aside.glob("*config.json"):
        config = json.loads(path.read_text())
        config = {k: v for k, v in config.items() if not k.endswith("name_or_path")}
        if isinstance(model, AutoencoderTiny):
            # Registered by its constructor, yet not one of its arguments: loading would warn about it.
            del config["block_out_channels"]
        path.write_text(json.dumps(config, indent=2) + "\n")
    for path in aside.iterdir():
        path.chmod(0o644)
    replace_folder(aside, folder)


def write_tokenizer(source: Path, folder: Path) -> None:
    """Copy the tokenizer's files: tokenizer.json for new transformers, vocab.json and merges.txt for old
    ones.
    """
    aside = folder.with_name(folder.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(source, aside)
    replace_folder(aside, folder)


def replace_folder(aside: Path, folder: Path) -> None:
    old = folder.with_name(folder.name + ".old")
    if folder.exists():
        os.replace(folder, old)
    os.replace(aside, folder)
    shutil.rmtree(old, ignore_errors=True)


def known_words(seed: int = 0, count: int = 60_000, least: int = 5) -> list[str]:
    """Every word that at least `least` of `count` random captions use, sorted; so no made-up one."""
    rng = np.random.default_rng(seed)
    seen: Counter[str] = Counter()
    for i in range(count):
        look = random_look(rng, SHAPES[i % len(SHAPES)], close=i % 4 == 0)
        seen.update(set(re.findall(r"[a-z0-9\-]+", caption(rng, look))))
    return sorted(word for word, times in seen.items() if times >= least)


def write_vocabulary(path: Path) -> None:
    """vocabulary.json: known words, the words that name colours, materials and wear, and for some unknown words what to
    write instead.
    """
    words = known_words()
    colors = sorted({word for name in COLOR_NAMES for word in SYNONYMS[name]})
    materials = sorted({word for m in MATERIALS.values() for word in m.words + m.nouns})
    aside = path.with_name(path.name + ".part")
    content = {
        "words": words, "colours": colors, "materials": materials,
        "wear": sorted(word for worn in WEAR.values() for word in worn),
        "related": {word: instead for word, instead in RELATED.items() if word not in words},
    }  # fmt: skip
    aside.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(aside, path)
