"""The loop of every method, one screen: draw, image, encode, score, move.

Four parts make it: ``Views`` draws a batch, ``Shape`` makes its images, ``Guide`` gives their gradient, ``Mover`` gives
the noise and moves the shape. Images are (B, C, S, S) in [0, 1], colours sRGB-encoded, row 0 at the top.

Everything random comes from one CPU generator, so a seed fixes the run (bit for bit on the CPU). ``state`` holds that
generator's, so a resumed run is the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import torch

from ..look.batches import Batch, Views
from ..serve.control import Control, JobFailure, is_out_of_memory
from ..shape.interface import Shape
from ..teacher.interface import Teacher
from ..teacher.memory import Need, Plan, empty_cache, smaller
from .guide import Guide
from .mover import Mover
from .pullback import Encoded

# Seconds between two checkpoints.
CHECKPOINT_PERIOD = 30.0
# So many steps in a row may be left out because a number in them is not finite.
MOST_SKIPPED = 5

Result = TypeVar("Result")


class Loop:
    """One run. ``run`` goes to its end, ``step`` is one turn with what may go wrong around it.

    iteration: steps that are done, of ``iterations``. norms: the gradient's, of every step. notes: what the artist
    should be told; whoever runs the loop takes them away.
    """

    def __init__(
        self, teacher: Teacher, shape: Shape, views: Views, guide: Guide, mover: Mover, *,
        iterations: int, need: Need, generator: torch.Generator,
    ) -> None:  # fmt: skip
        """need: what a step takes of the memory. generator: on the CPU, the one that views and mover draw from."""
        self.teacher, self.shape, self.views, self.guide, self.mover = teacher, shape, views, guide, mover
        self.iterations, self.need, self.generator = iterations, need, generator
        self.iteration = 0
        self.norms: list[dict[str, float]] = []
        self.notes: list[str] = []
        self._plan: Plan | None = None
        self._skipped = 0

    def run(self, control: Control, on_step: Callable[[], None], save: Callable[[], None]) -> None:
        """Go on until the last iteration, or until the shape has settled, or ``control`` asks for an end.

        on_step: called after every step. save: writes a checkpoint; called now and then, when cancelled, and before a
        failure. Raises ``JobFailure`` with a sentence.
        """
        saved = time.monotonic()
        while self.iteration < self.iterations and not control.asked and not self.mover.settled(self.iteration):
            try:
                self.norms.append(self.step())
            except JobFailure:
                save()
                raise
            on_step()
            if time.monotonic() - saved > CHECKPOINT_PERIOD:
                save()
                saved = time.monotonic()
        if control.cancel:
            save()

    def step(self) -> dict[str, float]:
        """One step, in smaller pieces if the memory runs out; returns the gradient norms, {} if it was left out."""
        progress = self.iteration / self.iterations
        norms, judged = self._within_memory(self._turn)
        if judged is None:
            return self._skip()
        # By itself: where a guide runs out of memory while it learns, the shape must not be moved a second time.
        self._within_memory(lambda: self.guide.after_step(*judged, progress))
        self._skipped = 0
        self.iteration += 1
        return norms

    def _turn(self) -> tuple[dict[str, float], tuple[Batch, torch.Tensor] | None]:
        """The gradient norms, and the batch with the x that was judged; None where the shape was not moved."""
        batch = self.views.draw(self.iteration)
        images = self.shape.images(batch)
        encoded = Encoded(self.teacher.encode, images, self._plan.encoder_views if self._plan else len(batch))
        t, noise = self.mover.noise(batch, images, encoded.x, self.iteration)
        g, norms = self.guide.gradient(batch, encoded.x, t, noise, self.iteration / self.iterations)
        gradient = encoded.pull_back(self.mover.into_encoder(g))
        if not bool(torch.isfinite(g).all() & torch.isfinite(gradient).all()):
            return norms, None
        self.mover.move(batch, images, gradient, self.iteration)
        return norms, (batch, encoded.x)

    def _within_memory(self, work: Callable[[], Result]) -> Result:
        """What ``work`` gives; where the memory runs out it begins again, with the same numbers drawn."""
        drawn = self.generator.get_state()
        while True:
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # What the attempt held is free again here.
            self._take_smaller_pieces()
            self.generator.set_state(drawn)

    def _skip(self) -> dict[str, float]:
        """Leave the step out: the shape stays as the last good step left it."""
        self.iteration += 1
        self._skipped += 1
        if self._skipped == 1:
            self.notes.append(f"The gradient of step {self.iteration} was not finite; the step was left out.")
        if self._skipped < MOST_SKIPPED:
            return {}
        self.iteration -= self._skipped
        raise JobFailure(
            "internal",
            f"The teacher's prediction stopped being finite at step {self.iteration + 1}; what was good until then is "
            "in the checkpoint and can be resumed. Half precision on this device is the usual cause.",
        )

    def work_in(self, plan: Plan) -> None:
        """Cut the steps up as ``plan`` says."""
        self._plan = plan
        self.teacher.adopt(plan)

    def _take_smaller_pieces(self) -> None:
        empty_cache(self.teacher.device)
        plan = smaller(self._plan, self.need) if self._plan else None
        if plan is None:
            raise JobFailure(
                "memory",
                f"The memory of the device {self.teacher.device} does not suffice for one view of a step: close other "
                "programs, take smaller views (the expert value 'resolution'), or compute on the CPU.",
            )
        self.work_in(plan)
        self.notes.append(f"The memory ran out at step {self.iteration + 1}; it goes on with {plan.words()}.")

    def state(self) -> dict[str, torch.Tensor]:
        """All that a checkpoint keeps, but for ``iteration``."""
        parts = {"shape": self.shape.state(), "mover": self.mover.state(), "guide": self.guide.state()}
        tensors = {f"{part}.{name}": value for part, held in parts.items() for name, value in held.items()}
        return {**tensors, "generator": self.generator.get_state()}

    def load_state(self, tensors: dict[str, torch.Tensor], iteration: int) -> None:
        """Continue from what ``state`` gave after ``iteration`` steps.

        Raises ``RuntimeError`` or ``KeyError`` if it is of another run.
        """
        generator = tensors["generator"]
        for part, holder in (("shape", self.shape), ("mover", self.mover), ("guide", self.guide)):
            own = {name.removeprefix(f"{part}."): v for name, v in tensors.items() if name.startswith(f"{part}.")}
            holder.load_state(own)
        self.generator.set_state(generator)
        self.iteration = iteration
