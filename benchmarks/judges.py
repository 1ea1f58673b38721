"""Two independent judges of pictures, and what share of prompts they find right.

One is learned (`training/oracle.py`) from generator seeds that training never uses. To the other, made by hand, the
colour is the nearest named one in CIELAB over the object, and the material the one whose pattern has the nearest
statistics (`training/patterns.py`). Images are uint8 [N, 64, 64, 3] sRGB, masks bool [N, 64, 64]: where the object is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training import dataset, oracle, patterns
from training.vocabulary import leading_color

ORACLE_SEED, HELD_OUT_SEED = 500_000, 900_000
ORACLE_IMAGES, ORACLE_STEPS = 100_000, 14_000
# A depth image, 0 to 255, shows the object above this.
OBJECT = 20


@dataclass(frozen=True)
class Wanted:
    """What one picture should show; color "" where the prompt leaves it to the material."""

    prompt: str
    material: str
    color: str


@dataclass(frozen=True)
class Found:
    """Names for each picture, by the oracle and by hand."""

    color: Sequence[str]
    material: Sequence[str]
    color_by_hand: Sequence[str]
    material_by_hand: Sequence[str]

    def right(self, wanted: Sequence[Wanted]) -> dict[str, np.ndarray]:
        """Whether each is what was wanted [N]; a colour that nobody named is right."""
        pairs = {"colour": self.color, "colour by hand": self.color_by_hand}
        hits = {key: np.array([w.color in ("", c) for w, c in zip(wanted, v, strict=True)]) for key, v in pairs.items()}
        for key, names in (("material", self.material), ("material by hand", self.material_by_hand)):
            hits[key] = np.array([w.material == m for w, m in zip(wanted, names, strict=True)])
        return {**hits, "both": hits["colour"] & hits["material"]}

    def shares(self, wanted: Sequence[Wanted]) -> str:
        """Of colours over the prompts that name one, of the rest over all."""
        named = np.array([bool(w.color) for w in wanted])
        hits = self.right(wanted)
        return ", ".join(f"{k} {(v[named] if 'colour' in k else v).mean():.0%}" for k, v in hits.items())


@dataclass(frozen=True)
class Judges:
    oracle: oracle.Oracle
    statistics: patterns.Statistics

    @classmethod
    def of(cls, work: Path) -> Judges:
        """Both, taught in `work` if they are not there yet."""
        path, first = work / "oracle.safetensors", work / "oracle_images" / "shard00"
        if not path.exists():
            # With the pairs that the teacher never saw: a judge that never saw a blue brick calls none one.
            dataset.build(first.parent, ORACLE_IMAGES, ORACLE_SEED, paints=3, every_pair=True)
            oracle.save(oracle.train_oracle(dataset.load(first.parent), steps=ORACLE_STEPS, seed=0), path)
        data = dataset.load_shard(first)
        materials = [look.material for look in data.looks]
        return cls(oracle.load(path), patterns.learn(data.images, object_masks(data), materials))

    def look(self, images: np.ndarray, masks: np.ndarray) -> Found:
        seen = oracle.judge(self.oracle, images)
        colors = [leading_color(image[mask] / 255) for image, mask in zip(images, masks, strict=True)]
        return Found(seen.first, seen.material, colors, self.statistics.named(images, masks))

    def look_together(self, images: np.ndarray, masks: np.ndarray) -> Found:
        """One answer to several views of one object."""
        seen = oracle.judge_together(self.oracle, images)
        material = self.statistics.named_together(images, masks)
        return Found(seen.first, seen.material, [leading_color(images[masks] / 255)], [material])


def held_out_images(work: Path) -> dataset.Dataset:
    """Images of seeds that nothing else saw."""
    dataset.build(work / "oracle_held_out", 1_500, HELD_OUT_SEED, paints=3, every_pair=True)
    return dataset.load(work / "oracle_held_out")


def object_masks(data: dataset.Dataset) -> np.ndarray:
    return data.depth[data.buffer] > OBJECT
