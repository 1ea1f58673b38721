"""What the loop promises to parts that are not built in: groups of views, a guide that learns, a mover that remembers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from csd_addon.core.recipe import Recipe
from csd_addon.core.resolving import overridden
from csd_addon.worker.look.batches import Batch, Views
from csd_addon.worker.look.views import PooledView
from csd_addon.worker.method.guide import Guide
from csd_addon.worker.method.loop import Loop
from csd_addon.worker.method.mover import Mover
from csd_addon.worker.run.checkpoint import load_checkpoint
from csd_addon.worker.serve.control import JobFailure
from csd_addon.worker.shape.interface import Shape
from csd_addon.worker.teacher.interface import Conditioning
from csd_addon.worker.teacher.memory import ladder
from tests.worker.test_edited import RECIPE as EDIT
from tests.worker.test_edited import Case
from tests.worker.test_loop import RECIPE, colors, make_run, run
from tests.worker.test_sample import SAMPLING

SHORT = overridden(RECIPE, {"iterations": 6})
KINDS: dict[str, Recipe] = {"distill": SHORT, "sample": overridden(SAMPLING, {"iterations": 6})}


def with_parts(
    loop: Loop, *, views: Views | None = None, guide: Guide | None = None, mover: Mover | None = None
) -> Loop:
    """``loop`` with other parts."""
    return Loop(
        loop.teacher, loop.shape, views or loop.views, guide or loop.guide, mover or loop.mover,
        iterations=loop.iterations, need=loop.need, generator=loop.generator,
    )  # fmt: skip


class Pairs:
    """Views of which two belong together each time."""

    def __init__(self, views: Views) -> None:
        self._views = views

    @property
    def pool(self) -> Sequence[PooledView]:
        return self._views.pool

    def draw(self, iteration: int) -> Batch:
        batch = self._views.draw(iteration)
        return replace(batch, groups=torch.arange(len(batch)) // 2)


class Learning:
    """A guide that learns from each step: it pulls x towards the mean of what it has judged so far."""

    def __init__(self, inner: Guide) -> None:
        self.inner = inner
        self.mean, self.steps = torch.zeros(3), torch.zeros((), dtype=torch.int64)
        self.judged: torch.Tensor | None = None
        self.heard: list[tuple[Batch, float]] = []
        # How many more times the memory runs out there.
        self.full = {"gradient": 0, "after_step": 0}

    def rows(self) -> int:
        return self.inner.rows()

    def gradient(
        self, batch: Batch, x: torch.Tensor, t: torch.Tensor, noise: torch.Tensor, progress: float
    ) -> tuple[torch.Tensor, dict[str, float]]:
        self._need_memory("gradient")
        g, norms = self.inner.gradient(batch, x, t, noise, progress)
        self.judged = x
        return g + 0.3 * (x - self.mean[:, None, None]), norms

    def after_step(self, batch: Batch, x: torch.Tensor, progress: float) -> None:
        self._need_memory("after_step")
        assert self.judged is not None and torch.equal(x, self.judged), "the x that was judged"
        self.heard.append((batch, progress))
        self.steps += 1
        self.mean = self.mean.lerp(x.mean((0, 2, 3)), 1 / float(self.steps))

    def _need_memory(self, place: str) -> None:
        if self.full[place]:
            self.full[place] -= 1
            raise MemoryError

    def state(self) -> dict[str, torch.Tensor]:
        return {"lora.mean": self.mean, "steps": self.steps}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        self.mean, self.steps = state["lora.mean"], state["steps"].clone()


class Slowing:
    """A mover that goes less far the further it has gone, over another one."""

    def __init__(self, inner: Mover) -> None:
        self.inner, self.gone = inner, torch.zeros((), dtype=torch.float64)

    def noise(
        self, batch: Batch, images: torch.Tensor, x: torch.Tensor, iteration: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inner.noise(batch, images, x, iteration)

    def into_encoder(self, g: torch.Tensor) -> torch.Tensor:
        return self.inner.into_encoder(g)

    def move(self, batch: Batch, images: torch.Tensor, gradient: torch.Tensor, iteration: int) -> None:
        self.inner.move(batch, images, gradient / (1 + self.gone.float()), iteration)
        self.gone += gradient.abs().mean()

    def settled(self, iteration: int) -> bool:
        return self.inner.settled(iteration)

    def state(self) -> dict[str, torch.Tensor]:
        return {**self.inner.state(), "gone": self.gone}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        rest = dict(state)
        self.gone = rest.pop("gone").clone()
        self.inner.load_state(rest)


def own_run(recipe: Recipe) -> Loop:
    """A run with a guide and a mover that have a state."""
    loop = make_run(recipe)
    return with_parts(loop, guide=Learning(loop.guide), mover=Slowing(loop.mover))


def heard(loop: Loop) -> list[Conditioning]:
    """What the teacher of ``loop`` is told from now on."""
    predict_noise, all_told = loop.teacher.predict_noise, []

    def listening(x_t, t, told, rows):
        all_told.append(told)
        return predict_noise(x_t, t, told, rows)

    loop.teacher.predict_noise = listening
    return all_told


@pytest.mark.parametrize("kind", KINDS)
def test_the_teacher_is_told_which_views_belong_together_and_from_where_they_look(kind: str) -> None:
    loop = make_run(overridden(KINDS[kind], {"views_per_step": 4}))
    loop = with_parts(loop, views=Pairs(loop.views))
    all_told = heard(loop)
    loop.step()
    (told,) = all_told
    assert told.groups is not None and told.groups.tolist() == [0, 0, 1, 1]
    cameras = [view.view for view in loop.views.pool]
    assert len(told.cameras) == 4 and all(camera in cameras for camera in told.cameras)
    assert len(told.images["depth"]) == len(told.prompts["text"]) == len(told.prompts["null"]) == 4


def test_views_stand_alone_unless_their_batch_says_otherwise() -> None:
    loop = make_run(SHORT)
    all_told = heard(loop)
    loop.step()
    assert [told.groups for told in all_told] == [None]


def test_the_source_of_an_edit_is_judged_in_the_same_groups() -> None:
    loop = Case(recipe=overridden(EDIT, {"reference": True})).loop
    loop = with_parts(loop, views=Pairs(loop.views))
    all_told = heard(loop)
    loop.step()
    assert [told.groups.tolist() for told in all_told] == [[0, 0], [0, 0]], "here, and at the source"


@pytest.mark.parametrize("kind", KINDS)
def test_a_guide_hears_once_of_each_step_that_moved_the_shape(kind: str, tmp_path: Path) -> None:
    loop = own_run(KINDS[kind])
    predict_noise, calls = loop.teacher.predict_noise, []

    def not_finite_at_the_third(x_t, t, told, rows):
        calls.append(1)
        factor = float("nan") if len(calls) == 3 else 1.0
        return {row: eps * factor for row, eps in predict_noise(x_t, t, told, rows).items()}

    loop.teacher.predict_noise = not_finite_at_the_third
    moved = []
    for _ in range(6):
        before = colors(loop)
        loop.step()
        moved.append(not torch.equal(colors(loop), before))
    assert moved == [True, True, False, True, True, True] and loop.iteration == 6
    progress = [progress for _, progress in loop.guide.heard]
    assert progress == pytest.approx([0, 1 / 6, 3 / 6, 4 / 6, 5 / 6]), "the step that was left out taught nothing"
    assert all(isinstance(batch, Batch) and len(batch) == 2 for batch, _ in loop.guide.heard)


@pytest.mark.parametrize("place", ["gradient", "after_step"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_whose_memory_ran_out_moves_the_shape_and_teaches_the_guide_once(kind: str, place: str) -> None:
    loop, undisturbed = own_run(KINDS[kind]), own_run(KINDS[kind])
    for each in (loop, undisturbed):
        each.work_in(ladder(each.need)[0])
        each.step()
    loop.guide.full[place] = 1
    for each in (loop, undisturbed):
        each.step()
    assert len(loop.notes) == 1 and loop.notes[0].startswith("The memory ran out at step 2; it goes on with")
    assert loop.iteration == 2 and len(loop.guide.heard) == 2
    assert torch.equal(colors(loop), colors(undisturbed)), "not moved twice"
    assert torch.equal(loop.guide.mean, undisturbed.guide.mean)


@pytest.mark.parametrize("kind", KINDS)
def test_a_guide_and_a_mover_with_a_state_survive_saving_and_loading(kind: str, tmp_path: Path) -> None:
    recipe = KINDS[kind]
    whole, first, second = own_run(recipe), own_run(recipe), own_run(recipe)
    run(whole, tmp_path / "none")
    run(first, tmp_path, until=3)
    load_checkpoint(tmp_path, second)
    assert second.iteration == 3 and int(second.guide.steps) == 3 and float(second.mover.gone) > 0
    assert torch.equal(second.guide.mean, first.guide.mean) and torch.equal(second.mover.gone, first.mover.gone)
    run(second, tmp_path)
    assert torch.equal(colors(second), colors(whole)) and torch.equal(second.guide.mean, whole.guide.mean)
    # Both have a say: with either forgotten it is another run.
    for forget in ("guide", "mover"):
        third = own_run(recipe)
        load_checkpoint(tmp_path, third)
        if forget == "guide":
            third.guide.mean = torch.zeros(3)
        else:
            third.mover.gone = torch.zeros((), dtype=torch.float64)
        run(third, tmp_path)
        assert not torch.equal(colors(third), colors(whole)), forget


def test_a_checkpoint_without_the_state_of_a_part_is_of_another_job(tmp_path: Path) -> None:
    run(make_run(SHORT), tmp_path, until=2)
    loop = make_run(SHORT)
    with pytest.raises(JobFailure, match="damaged or of another job"):
        load_checkpoint(tmp_path, with_parts(loop, guide=Learning(loop.guide)))
    with pytest.raises(JobFailure, match="damaged or of another job"):
        load_checkpoint(tmp_path, with_parts(loop, mover=Slowing(loop.mover)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_of_a_checkpoint_is_of_a_named_part(kind: str) -> None:
    loop = own_run(KINDS[kind])
    loop.step()
    parts = {name.partition(".")[0] for name in loop.state()}
    shape: Shape = loop.shape
    assert parts == {"shape", "mover", "guide", "generator"} and "guide.lora.mean" in loop.state()
    assert {f"shape.{name}" for name in shape.state()} <= set(loop.state())
