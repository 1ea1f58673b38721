"""Field -> texels -> look-up: what a renderer sees must be what the field says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from csd_addon.core import atlas as texels
from csd_addon.core.mesh import MeshData, Normalization
from csd_addon.worker.bake import Filling, bake, build_atlas, measure
from csd_addon.worker.texture_run import write_png
from tests import shapes


class PositionField(torch.nn.Module):
    """A smooth, asymmetrical field of known form: colour = 1/2 + position / 3 + a ripple."""

    def __init__(self) -> None:
        super().__init__()
        self.output = torch.nn.Parameter(torch.zeros(3))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return 0.5 + points / 3 + 0.05 * torch.sin(6 * points.roll(1, dims=1))


def baked(mesh: MeshData, size: int) -> tuple[np.ndarray, np.ndarray, dict, Normalization]:
    normalization = Normalization.of(mesh.positions)
    atlas = build_atlas(mesh, normalization, (size, size))
    image, filled = bake(PositionField(), atlas)
    image = np.round(image * 255).astype(np.float32) / 255
    figures = measure(PositionField(), {0: mesh}, normalization, {0: image}, [Filling.of(atlas)])
    return image, filled, figures, normalization


@pytest.mark.parametrize("make", [shapes.cube, shapes.torus, shapes.sphere])
def test_bake_agrees_with_the_field(make) -> None:
    for size in (128, 512):
        _, _, figures, _ = baked(make(), size)
        print(f"{make.__name__} at {size}: {figures}")
    assert figures["coverage"] == 1.0
    assert figures["bake_psnr"] >= 40
    assert figures["seam_error"]["mean"] <= 2.0
    assert figures["overlap"] < 0.01


def test_orientation_u_right_v_up_row_zero_at_the_top() -> None:
    mesh = shapes.torus()
    image, filled, _, normalization = baked(mesh, 128)
    uv = mesh.corner_uvs.mean(axis=1)
    row, column = ((1 - uv[:, 1]) * 128).astype(int), (uv[:, 0] * 128).astype(int)
    center = torch.from_numpy(normalization.to_unit(mesh.positions)[mesh.triangles].mean(axis=1))
    error = np.abs(image[row, column] - PositionField()(center).numpy()).mean()
    flipped = np.abs(image[::-1][row, column] - PositionField()(center).numpy()).mean()
    print(f"mean error {error:.4f} (tolerance 0.02), upside down {flipped:.4f}")
    assert error < 0.02 < flipped


def test_uvs_outside_the_unit_square_repeat() -> None:
    inside = shapes.torus()
    shifted = MeshData(
        inside.positions, inside.triangles, inside.corner_normals, inside.corner_uvs - np.float32([0.3, 2.2])
    )
    image, _, figures, _ = baked(shifted, 256)
    print(figures)
    assert figures["coverage"] == 1.0 and figures["bake_psnr"] >= 40


def test_overlap_is_measured() -> None:
    mesh = shapes.cube()
    uvs = mesh.corner_uvs.copy()
    uvs[6:] = uvs[:6]
    _, _, figures, _ = baked(MeshData(mesh.positions, mesh.triangles, mesh.corner_normals, uvs), 256)
    print(f"overlap {figures['overlap']:.3f}, expected 0.5 +- 0.02")
    assert figures["overlap"] == pytest.approx(0.5, abs=0.02)


def test_border_texels_continue_the_field() -> None:
    mesh = shapes.torus()
    normalization = Normalization.of(mesh.positions)
    atlas = build_atlas(mesh, normalization, (256, 256))
    image, filled = bake(PositionField(), atlas)
    ring = filled & ~atlas.chart
    assert ring.sum() > 0
    rows, columns = np.nonzero(ring)
    uv = np.stack([(columns + 0.5) / 256, 1 - (rows + 0.5) / 256], axis=1)
    inner = texels.sample_bilinear(image, np.clip(uv, 0.052, 0.948))
    print(f"largest step across the chart border {np.abs(image[ring] - inner).max():.4f}, tolerance 0.05")
    assert np.abs(image[ring] - inner).max() < 0.05


def test_same_image_twice_byte_for_byte(tmp_path) -> None:
    for name in "ab":
        image, *_ = baked(shapes.cube(), 64)
        write_png(tmp_path / f"{name}.png", image)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    stored = np.asarray(Image.open(tmp_path / "a.png"), dtype=np.float32) / 255
    assert np.abs(stored - image).max() <= 1 / 255
