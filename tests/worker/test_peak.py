"""The memory policy's factors against the true networks of Stable Diffusion 1.5, on tensors without data.

``FakeTensorMode`` runs every operation by its shapes alone; a ledger adds up what lives. So the peak is counted for the
true sizes, in seconds and without the gigabytes. What a GPU's libraries borrow beside the tensors is not in it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from csd_addon.core.mesh import Normalization
from csd_addon.core.recipe import Views
from csd_addon.core.views import View
from csd_addon.worker.field import hashgrid
from csd_addon.worker.look.compositing import composite
from csd_addon.worker.look.surface import Surface
from csd_addon.worker.look.views import sample_pool
from csd_addon.worker.method.pullback import Encoded
from csd_addon.worker.teacher import memory
from csd_addon.worker.teacher.diffusion import DiffusionTeacher
from csd_addon.worker.teacher.interface import Conditioning
from csd_addon.worker.teacher.loading import Networks
from csd_addon.worker.teacher.memory import Need, Plan, fit
from tests import shapes
from tests.worker.true_size import true_networks

GB = 10**9
EDGE, WIDTH, UNET_WIDTH, ELEMENT = 512, 128, 320, 2


class Ledger(TorchDispatchMode):
    """Bytes of all storages that are alive, those of ``owned`` not counted; ``peak`` is the most of them."""

    def __init__(self, owned: list[torch.Tensor]) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in owned}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in (leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._known:
                self._known.add(storage._cdata)
                self.live += storage.nbytes()
                weakref.finalize(storage, self._free, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.live)
        return result

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def counted(work: Callable[[], object], owned: list[torch.Tensor]) -> int:
    ledger = Ledger(owned)
    with ledger:
        work()
    return ledger.peak


MODE = FakeTensorMode(allow_non_fake_inputs=True)


@pytest.fixture(scope="module")
def networks() -> Networks:
    with MODE:
        made = true_networks(torch.bfloat16)
    # As the tokenizer of Stable Diffusion 1.5.
    made.tokenizer.model_max_length = 77
    for network in parts(made):
        # Tensors without data can't change their place, and need not.
        network.to = lambda *_, network=network, **__: network
    return made


@pytest.fixture
def teacher(networks: Networks) -> Iterator[DiffusionTeacher]:
    with MODE:
        yield DiffusionTeacher.of(networks, Path("sd15"), torch.device("cpu"), torch.bfloat16)


def parts(networks: Networks) -> list[torch.nn.Module]:
    return [networks.unet, networks.vae, networks.text_encoder, *networks.controlnets.values()]


def weights(networks: Networks) -> list[torch.Tensor]:
    return [tensor for network in parts(networks) for tensor in (*network.parameters(), *network.buffers())]


def encode_and_pull_back(teacher: DiffusionTeacher, views: int, piece: int) -> None:
    encoded = Encoded(teacher.encode, torch.rand(views, 3, EDGE, EDGE), piece)
    # The scale of g asks for a number, which a tensor without data has not.
    g = torch.ones_like(encoded.x)
    if encoded._graph:
        leaf, x = encoded._graph
        torch.autograd.grad(x, leaf, g)
    else:
        for images, part in zip(encoded._images.split(piece), g.split(piece), strict=True):
            encoded._one(images, part)


def predict(teacher: DiffusionTeacher, samples: int) -> None:
    told = Conditioning(
        prompts={"text": ["red brick"] * samples},
        images={name: torch.rand(samples, 3, EDGE, EDGE) for name in teacher.conditions},
        scales=dict.fromkeys(teacher.conditions, 1.0), cameras=[View(0, 0, 4, 35)] * samples,
    )  # fmt: skip
    teacher.predict_noise(torch.rand(samples, 4, 64, 64), torch.full((samples,), 300), told, ("text",))


@pytest.mark.parametrize(
    ("views", "plan"),
    [(2, Plan(2, 2)), (4, Plan(4, 1)), (2, Plan(2, 1, recompute=True)), (1, Plan(1, 1, recompute=True, tile=256))],
)
def test_the_encoders_graph_is_as_large_as_estimated(
    teacher: DiffusionTeacher, networks: Networks, views: int, plan: Plan
) -> None:
    teacher.adopt(plan)
    peak = counted(lambda: encode_and_pull_back(teacher, views, plan.encoder_views), weights(networks))
    estimate = need(views).graph(plan)
    print(f"{plan.words()}: {peak / GB:.3f} GB counted, {estimate / GB:.3f} estimated, from 0.97 to 1.2 times")
    assert 0.97 < estimate / peak < 1.2
    assert networks.vae.use_tiling == bool(plan.tile)


@pytest.mark.parametrize("samples", [1, 6])
def test_the_noise_takes_what_was_estimated(teacher: DiffusionTeacher, networks: Networks, samples: int) -> None:
    teacher.adopt(Plan(samples, 1))
    peak, estimate = counted(lambda: predict(teacher, samples), weights(networks)), samples * need(1).noise
    print(f"{samples} samples: {peak / GB:.3f} GB counted, {estimate / GB:.3f} estimated, from 1 to 1.6 times")
    assert 1 < estimate / peak < 1.6


def test_the_field_takes_what_was_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a GPU all samples go through at once.
    for name in ("_CPU_BLOCK", "_CPU_MLP_BLOCK"):
        monkeypatch.setattr(hashgrid, name, 10**9)
    levels, generator = hashgrid.level_table(16, 12, 16, 2048), torch.Generator().manual_seed(0)
    field = hashgrid.TextureField(levels, channels=3, albedo=(0.03, 0.97), generator=generator)
    owned = [*field.parameters()]
    for parameter in owned:
        parameter.grad = torch.zeros_like(parameter)
    numbers = Views(resolution=192, view_pool=1, close_up_share=1.0, close_up_fill=(9.0, 9.1))
    mesh = shapes.sphere()
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    (view,) = sample_pool(surface, numbers, generator, ())

    def work() -> None:
        images = composite([view], field(view.gbuffer.position), torch.rand(1, 3))
        (images * torch.rand_like(images)).sum().backward()

    samples = len(view.gbuffer.position)
    each = counted(work, [*owned, *(parameter.grad for parameter in owned)]) / samples
    print(f"{samples} samples: {each:.0f} bytes each, {memory.FIELD_BYTES} estimated, from 1 to 1.5 times")
    assert 0.66 * memory.FIELD_BYTES < each <= memory.FIELD_BYTES


def need(views: int, rows: int = 3) -> Need:
    return Need.of(
        views=views, rows=rows, resolution=EDGE, supersample=1, latent=EDGE // 8, element=ELEMENT, weights=0,
        text_weights=0, encoder_width=WIDTH, unet_width=UNET_WIDTH, field_parameters=12_200_090, tiles=True,
    )  # fmt: skip


@pytest.mark.parametrize(("card", "views"), [(6, 1), (8, 4), (24, 8)])
def test_the_plan_for_a_card_fits_into_it_by_the_count(
    teacher: DiffusionTeacher, networks: Networks, card: int, views: int
) -> None:
    text_weights = sum(p.nbytes for p in networks.text_encoder.parameters())
    asked = replace(need(views), weights=teacher.held(), text_weights=text_weights)
    free = (card - 0.5) * GB  # the desktop takes its share
    plan = fit(asked, int(free))
    teacher.adopt(plan)
    # While the noise is predicted the graph of all views waits, unless they are encoded again.
    waiting = asked.graph(plan) if plan.encoder_views >= views else 0
    graph = counted(lambda: encode_and_pull_back(teacher, views, plan.encoder_views), weights(networks))
    noise = counted(lambda: predict(teacher, plan.noise_batch), weights(networks))
    fixed = memory.OVERHEAD + asked.weights - asked.text_weights * plan.text_on_cpu + asked.field
    peak = fixed + max(graph, min(graph, waiting) + noise)
    print(f"{card} GB, {views} views, {plan.words()}: {peak / GB:.2f} of {free / GB:.2f} GB counted")
    assert peak < free
