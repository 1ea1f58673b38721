"""What a bake leaves out: only texels between which the field changes slowly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from csd_addon.core.mesh import MeshData, Normalization
from csd_addon.worker.bake import blocks
from csd_addon.worker.bake.bake import EXACT, Atlas, bake, build_atlas, texel_means
from tests import shapes
from tests.worker.test_bake import PositionField, Stripes


class Counting(torch.nn.Module):
    """A field that counts the points that it is asked at."""

    def __init__(self, field: torch.nn.Module) -> None:
        super().__init__()
        self.field, self.output, self.asked = field, field.output, 0

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        self.asked += len(points)
        return self.field(points)


def atlas_of(mesh: MeshData, size: int) -> Atlas:
    return build_atlas(mesh, Normalization.of(mesh.positions), (size, size))


def asked_everywhere(field: torch.nn.Module, atlas: Atlas) -> np.ndarray:
    image = np.zeros((*atlas.shape, 3), np.float32)
    for texel, colors in texel_means(field, atlas):
        image.reshape(-1, 3)[texel] = colors.numpy()
    return image


@pytest.mark.parametrize("make", [shapes.cube, shapes.torus, shapes.sphere])
@pytest.mark.parametrize("size", [301, 512])
def test_a_slow_field_is_asked_at_few_texels_and_met_within_half_a_step(make, size: int) -> None:
    atlas, field = atlas_of(make(), size), Counting(PositionField())
    image, filled = bake(field, atlas)
    share = field.asked / filled.sum()
    difference = np.abs(image - asked_everywhere(PositionField(), atlas))[filled].max()
    print(f"asked at {share:.2f} of the texels, at most 0.4; off by {difference:.5f}, at most {1.1 * EXACT:.5f}")
    # Only the middles are measured, and a texel beside one may miss by a little more.
    assert share < 0.4 and 0 < difference <= 1.1 * EXACT


def test_a_fast_field_is_asked_everywhere() -> None:
    atlas = atlas_of(shapes.torus(), 512)
    whole = asked_everywhere(Stripes(), atlas)
    texel, colors = blocks.ask_in_blocks(atlas.alone, lambda texel: whole.reshape(-1, 3)[texel], EXACT)
    assert len(texel) > 0 and np.array_equal(colors, whole.reshape(-1, 3)[texel])


def test_more_bits_are_met_more_closely() -> None:
    atlas = atlas_of(shapes.torus(), 512)
    whole = asked_everywhere(PositionField(), atlas)
    image, filled = bake(PositionField(), atlas, exact=0.5 / 65535)
    difference = np.abs(image - whole)[filled].max()
    print(f"off by {difference:.2e}, at most {0.5 / 65535:.2e}")
    assert difference <= 0.5 / 65535


def test_no_block_spans_two_charts_that_touch() -> None:
    atlas = atlas_of(two_charts_without_a_gap(), 128)
    assert atlas.chart.all() and not atlas.alone[:, 40:43].any() and atlas.alone[8:-8, 8:38].all()
    image, filled = bake(PositionField(), atlas)
    difference = np.abs(image - asked_everywhere(PositionField(), atlas))[filled].max()
    print(f"off by {difference:.5f}, at most {1.1 * EXACT:.5f}")
    assert difference <= 1.1 * EXACT


def test_no_block_holds_texels_of_several_faces() -> None:
    mesh = shapes.cube()
    uvs = mesh.corner_uvs.copy()
    uvs[6:8] = uvs[:2]
    alone = atlas_of(mesh, 256).alone & ~atlas_of(replace(mesh, corner_uvs=uvs), 256).alone
    print(f"{alone.mean():.3f} of the texels are shared by two faces, and some by the new gap's edge")
    assert alone.mean() > 0.02
    middle = np.floor([(1 - uvs[0, :, 1].mean()) * 256, uvs[0, :, 0].mean() * 256]).astype(int)
    assert alone[tuple(middle)]


def two_charts_without_a_gap() -> MeshData:
    """Opposite faces of the cube, left and right of a line at 41.2 of 128 texels."""
    mesh, cut = shapes.cube(), 41.2 / 128
    uvs = np.zeros_like(mesh.corner_uvs)
    unit = (mesh.corner_uvs[:2] - mesh.corner_uvs[:2].min((0, 1))) / np.ptp(mesh.corner_uvs[:2], axis=(0, 1))
    uvs[:2], uvs[2:4] = unit * [cut, 1], unit * [1 - cut, 1] + [cut, 0]
    kept = slice(0, 4)
    return replace(mesh, triangles=mesh.triangles[kept], corner_normals=mesh.corner_normals[kept],
                   corner_uvs=uvs[kept].astype(np.float32))  # fmt: skip


@pytest.mark.parametrize(("spot", "rough"), [((18, 17), 0), ((18, 18), 9)])
def test_a_block_next_to_a_rough_one_is_asked_too(spot: tuple[int, int], rough: int) -> None:
    image, step = np.zeros((33, 33, 1), np.float32), blocks.STEP
    image[spot] = 1
    whole = blocks.whole_blocks(np.ones((33, 33), bool))
    middle = image[step // 2 :: step, step // 2 :: step][whole]
    slow = blocks.slow_blocks(whole, image[::step, ::step], middle, EXACT)
    print(f"{(whole & ~slow).sum()} blocks are asked, {rough} expected: the spot lies in a middle or in none")
    assert whole.all() and (whole & ~slow).sum() == rough
