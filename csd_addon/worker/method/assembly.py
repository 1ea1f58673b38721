"""From a recipe to a loop: the one place that knows which parts go together."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...core.channels import CHANNELS, width
from ...core.recipe import Recipe
from ...core.recipe import Sample as SampleNumbers
from ..field.hashgrid import level_table
from ..look.batches import RandomViews, Views, ViewsInTurn
from ..look.views import PooledView
from ..shape.appearance import NewTexture
from ..shape.edited import EditedTexture
from ..shape.fitted import FittedSurface
from ..shape.trained import TrainedSurface
from ..teacher.interface import Teacher
from .distill import Distill
from .guide import Words, guide_for
from .loop import Loop
from .mover import Mover
from .sample import Sample


def assemble(
    teacher: Teacher, pool: Sequence[PooledView], appearance: NewTexture | EditedTexture, recipe: Recipe, words: Words,
    *, loss: str, generator: torch.Generator,
) -> Loop:  # fmt: skip
    """A run over the surface that ``pool`` shows. loss: "csd" or "sds". generator: on the CPU, seeds everything."""
    numbers, count, channels = recipe.mover, recipe.views.views_per_step, width(CHANNELS)
    field = recipe.field
    levels = level_table(field.levels, field.table_log2, field.coarsest, field.finest)
    shape: FittedSurface | TrainedSurface
    views: Views
    mover: Mover
    if isinstance(numbers, SampleNumbers):
        shape = FittedSurface(appearance, levels, CHANNELS, pool, teacher.device)
        views = turns = ViewsInTurn(pool, count, channels, generator, generator.initial_seed())
        mover = Sample(
            shape, numbers, teacher, turns, iterations=recipe.run.iterations, resolution=recipe.views.resolution,
            channels=channels, generator=generator,
        )  # fmt: skip
    else:
        shape = TrainedSurface(appearance, levels, CHANNELS, generator, teacher.device)
        views = RandomViews(pool, count, channels, generator)
        mover = Distill(
            shape, numbers, iterations=recipe.run.iterations, steps=len(teacher.alphas_cumprod), generator=generator
        )
    source_images = appearance.source_images if isinstance(appearance, EditedTexture) else None
    guide = guide_for(teacher, words, recipe, loss, source_images)
    need = teacher.need(
        views=count, rows=guide.rows(), resolution=recipe.views.resolution, supersample=recipe.views.supersample,
        field_parameters=sum(p.numel() for p in shape.field.parameters()), fitted=shape.fitted,
    )  # fmt: skip
    return Loop(teacher, shape, views, guide, mover, iterations=recipe.run.iterations, need=need, generator=generator)
