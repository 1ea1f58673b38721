"""Every choice of a job, with one default and one range each: the artist's words, the same names in the panel, the
flags and the operators. ``core.recipe`` has the method's numbers, ``core.resolving`` brings the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .limits import in_choices, in_range, reject_unknown
from .recipe import PRESETS, check_expert

# The name that stands for whichever bundled teacher knows most of the words (``core.choose_teacher``).
AUTO_TEACHER = "auto"
KINDS = ("texture", "edit", "diagnosis")
KEEPS = ("auto", "pattern", "nothing")
# How a texture is moved: as the teacher prefers, by distillation (the paper), or by sampling.
CHOICES_OF_METHOD = ("auto", "distill", "sample")
LOSSES = ("csd", "sds")
DEVICES = ("auto", "cpu", "cuda", "mps")
# Which of Blender's views shows the object's front, and the azimuth (``core.views``) from which that one looks.
FRONTS = {"front": 0.0, "right": 90.0, "back": 180.0, "left": 270.0}
DEPTHS = ("auto", "8", "16")
# What becomes of texels that several faces share.
OVERLAPS = ("first", "average", "new")
# How an object without (usable) UVs gets them.
UNWRAPS = ("smart", "xatlas")
# How many images a new texture of an object of several materials has.
IMAGES = ("one", "material")
SIZE_RANGE = (64, 8192)
ITERATION_RANGE = (0, 100_000)
STRENGTH_RANGE = (0.0, 1.0)
MARGIN_RANGE = (0, 128)


@dataclass(frozen=True)
class JobSettings:
    """What the artist chose. Empty text and 0 iterations mean: as the preset and the teacher prefer.

    kind: "texture" for a new texture, "edit" for a change of the one that is there, "diagnosis" to compare losses
    (``core.diagnosis``).
    prompt, negative: what a new texture should show and should not.
    target, remove: what an edited texture should show, and what it shows now and should lose. strength: 0 .. 1.
    mask: where an edit may change something, empty for everywhere (``scene.mask``). keep: one of ``KEEPS``, whether an
    edit keeps the source's pattern (``core.edit``).
    preset: a key of ``PRESETS``. teacher: "auto" for the bundled one that knows the words, "mini", "broad", "sd15", a
    folder or a .safetensors file. lora: a file to be merged into the teacher's UNet, ``FILE`` or ``FILE:WEIGHT``, empty
    for none. device: one of ``DEVICES``.
    iterations: optimisation steps. size: edge of the image in pixels; 0 for an edit: as the source.
    depth: one of ``DEPTHS``, bits of a channel; auto: as the source for an edit, else 8. margin: texels around each
    chart; 0: as many as the image's size asks for (``atlas.margin_width``).
    overlaps: one of ``OVERLAPS``, for a new texture: where faces share texels the first one gives the colour, or all of
    them their mean, or the object gets a new UV map without overlaps.
    unwrap: one of ``UNWRAPS``, where it gets a new UV map: Blender's Smart UV Project, or xatlas beside the worker.
    images: one of ``IMAGES``, for a new texture: one image for the object, or each of its materials has its own.
    unseen_map: whether a new texture comes with an image that shows in white what no view saw.
    seed: 0 .. 2**31 - 1. uv_map: name of the UV layer, empty for the active one.
    method: one of ``CHOICES_OF_METHOD``. loss: one of ``LOSSES``, of distillation alone.
    front: a key of ``FRONTS``, for the view words of teachers that know them.
    expert: names of a recipe's numbers with their values as in JSON, laid over everything else; one number for a
    schedule stays the same for the whole run.
    """

    kind: str = "texture"
    prompt: str = ""
    negative: str = ""
    target: str = ""
    remove: str = ""
    strength: float = 1.0
    mask: str = ""
    keep: str = "auto"
    preset: str = "balanced"
    teacher: str = AUTO_TEACHER
    lora: str = ""
    device: str = "auto"
    iterations: int = 0
    size: int = 2048
    depth: str = "auto"
    margin: int = 0
    overlaps: str = "first"
    unwrap: str = "smart"
    images: str = "one"
    unseen_map: bool = False
    seed: int = 0
    uv_map: str = ""
    front: str = "front"
    method: str = "auto"
    loss: str = "csd"
    expert: Mapping[str, Any] = field(default_factory=dict)

    def validate(self) -> JobSettings:
        """Return ``self``. Raises ``ValueError`` with one sentence that names the setting and its range."""
        self._check_words()
        in_choices("keep", self.keep, KEEPS)
        in_choices("preset", self.preset, tuple(PRESETS))
        in_choices("method", self.method, CHOICES_OF_METHOD)
        in_choices("loss", self.loss, LOSSES)
        in_choices("device", self.device, DEVICES)
        in_choices("front", self.front, tuple(FRONTS))
        in_choices("depth", self.depth, DEPTHS)
        in_choices("overlaps", self.overlaps, OVERLAPS)
        in_choices("unwrap", self.unwrap, UNWRAPS)
        in_choices("images", self.images, IMAGES)
        in_range("margin", self.margin, MARGIN_RANGE)
        if self.kind == "texture" or self.size:
            in_range("size", self.size, SIZE_RANGE)
        in_range("iterations", self.iterations, ITERATION_RANGE)
        in_range("seed", self.seed, (0, 2**31 - 1))
        in_range("strength", self.strength, STRENGTH_RANGE)
        check_expert(self.expert)
        return self

    def _check_words(self) -> None:
        in_choices("kind", self.kind, KINDS)
        if self.kind != "edit" and not self.prompt.strip():
            raise ValueError("The prompt is empty: write what the texture should show, for example 'red brick'.")
        if self.kind == "edit" and not self.target.strip():
            raise ValueError("The target is empty: write what the texture should show, for example 'blue brick'.")
        if self.kind == "edit" and self.target.lower().split() == self.remove.lower().split():
            raise ValueError("Target and remove say the same, so there is nothing to change: let them differ.")

    def to_json(self) -> dict[str, Any]:
        """Plain dict for ``job.json``; ``from_json`` is the inverse."""
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> JobSettings:
        """Raises ``ValueError`` naming the settings that this version does not know."""
        reject_unknown(values, JobSettings, "job.json")
        return JobSettings(**values)
