"""Tokenizer and text encoder: a CLIP-format BPE learned from the captions, and a small CLIPTextModel.

The encoder is first taught to name what a caption says (supervised, from the mean token) and then frozen:
trained together with the UNet from scratch it collapses, and the UNet learns to ignore it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .captions import DIRECTIONS, Look, caption
from .vocabulary import (
    CLOSE_WORDS,
    COLOR_NAMES,
    LIGHT_WORDS,
    MATERIAL_NAMES,
    MATERIALS,
    SHADE_NAMES,
    SHADE_WORDS,
    SHADED_SYNONYMS,
    SYNONYMS,
    TWO_COLORED,
    WEAR,
    WEAR_NAMES,
)

LENGTH, WIDTH = 32, 128
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
IGNORED = -100
# Classes of each attribute that the encoder is taught to name.
HEADS = {
    "material": len(MATERIAL_NAMES), "first": len(COLOR_NAMES) + 1, "second": len(COLOR_NAMES) + 1,
    "shade": len(SHADE_NAMES), "direction": len(DIRECTIONS) + 1, "worn": len(WEAR_NAMES), "lit": 2, "close": 2,
    "blurred": 2,
}  # fmt: skip


def train_tokenizer(captions: list[str], folder: Path) -> CLIPTokenizer:
    """Learn byte-pair merges and save a CLIPTokenizer that any transformers release reads (tokenizer.json,
    vocab.json, merges.txt). All 256 bytes are in the vocabulary, so no text is unknown."""
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), ByteLevel(add_prefix_space=False)])
    trainer = trainers.BpeTrainer(vocab_size=1600, min_frequency=20, end_of_word_suffix="</w>", show_progress=False)
    learner.train_from_iterator(captions, trainer)
    merges = [tuple(m) for m in json.loads(learner.to_str())["model"]["merges"]]
    alphabet = sorted(ByteLevel.alphabet())
    words = [*alphabet, *(a + "</w>" for a in alphabet), *dict.fromkeys("".join(m) for m in merges), BOS, EOS]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(words))}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in merges) + "\n")
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """[N, 32] int64 token ids, padded with the end token and cut at 32."""
    return tokenizer(captions, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt").input_ids


def labels(look: Look, text: str) -> list[int]:
    """What `text` says, one class per head; IGNORED where the caption leaves it open."""
    words = set(text.replace(",", " ").split())
    single = SHADED_SYNONYMS.get((look.shade, look.first), ())
    named = any(word in words for word in SYNONYMS[look.first]) or any(word in text for word in single)
    pattern = look.material in TWO_COLORED
    bare = not pattern and not look.natural and len(words) <= 3 and not _mentions_material(look, text)
    shaded = look.shade and (words & set(SHADE_WORDS[look.shade]) or any(word in text for word in single))
    return [
        IGNORED if bare else MATERIAL_NAMES.index(look.material),
        COLOR_NAMES.index(look.first) if named else len(COLOR_NAMES),
        COLOR_NAMES.index(look.second) if pattern else len(COLOR_NAMES),
        SHADE_NAMES.index(look.shade if shaded else ""),
        1 + look.direction if DIRECTIONS[look.direction] in words else 0,
        WEAR_NAMES.index(look.worn if _mentions_wear(look, text) else ""),
        int(any(word in text for word in LIGHT_WORDS)), int(any(word in text for word in CLOSE_WORDS)),
        int("blurry" in words),
    ]  # fmt: skip


def _mentions_wear(look: Look, text: str) -> bool:
    covered = {"mossy": ("covered in moss",), "snowy": ("covered in snow",)}
    return bool(look.worn) and any(word in text for word in WEAR[look.worn] + covered.get(look.worn, ()))


def _mentions_material(look: Look, text: str) -> bool:
    spec = MATERIALS[look.material]
    return look.material == "plain" or any(word in text for word in spec.words + spec.nouns)


def new_model(tokenizer: CLIPTokenizer, seed: int) -> CLIPTextModel:
    torch.manual_seed(seed)
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=4 * WIDTH, projection_dim=WIDTH,
        num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=LENGTH, hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    ))  # fmt: skip


@torch.no_grad()
def inherit(model: CLIPTextModel, tokenizer: CLIPTokenizer, other: CLIPTextModel, known: CLIPTokenizer) -> None:
    """Give `model` the weights of `other`, in place; of the token embeddings those that both tokenizers have."""
    state, own = other.state_dict(), model.state_dict()
    (table,) = [name for name in own if name.endswith("token_embedding.weight")]
    theirs = state.pop(table)
    old = known.get_vocab()
    for token, row in tokenizer.get_vocab().items():
        if token in old:
            own[table][row] = theirs[old[token]]
    model.load_state_dict({**own, **state})


def pretrain(
    model: CLIPTextModel, tokenizer: CLIPTokenizer, looks: list[Look], *, steps: int, seed: int
) -> None:
    """Teach the encoder to name the attributes of captions, in place; it comes back frozen, in eval mode."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    heads = nn.ModuleDict({name: nn.Linear(WIDTH, classes) for name, classes in HEADS.items()})
    parameters = [*model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1.5e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        batch = [looks[i] for i in rng.integers(len(looks), size=128)]
        texts = [caption(rng, look) for look in batch]
        target = torch.tensor([labels(look, text) for look, text in zip(batch, texts, strict=True)])
        mean = model(tokenize(tokenizer, texts)).last_hidden_state.mean(dim=1)
        guesses = [heads[name](mean) for name in HEADS]
        losses = [nn.functional.cross_entropy(g, target[:, i], ignore_index=IGNORED) for i, g in enumerate(guesses)]
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            right = [
                f"{n} {(g.argmax(1) == target[:, i]).float().mean():.2f}"
                for i, (n, g) in enumerate(zip(HEADS, guesses, strict=True))
            ]
            print(f"text {step}: loss {sum(losses):.3f}  " + "  ".join(right), flush=True)
    model.eval().requires_grad_(False)
