"""Field -> texels -> look-up: what a renderer sees must be what the field says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from csd_addon.core import atlas as texels
from csd_addon.core.mesh import MeshData, Normalization
from csd_addon.worker.bake.bake import Atlas, bake, build_atlas, texel_means
from csd_addon.worker.bake.measure import Filling, measure, surface_points
from csd_addon.worker.bake.write_png import write_png
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
    uvs[6:8] = uvs[:2]
    _, _, figures, _ = baked(replace(mesh, corner_uvs=uvs), 256)
    print(f"overlap {figures['overlap']:.3f}, expected 0.2 +- 0.01: one of five charts has two owners")
    assert figures["overlap"] == pytest.approx(0.2, abs=0.01)


def test_faces_that_share_texels_are_averaged_when_asked() -> None:
    mesh = shapes.cube()
    uvs = mesh.corner_uvs.copy()
    uvs[6:8] = uvs[4:6] = uvs[:2]
    mesh, normalization = replace(mesh, corner_uvs=uvs), Normalization.of(mesh.positions)
    middle = tuple(np.floor([(1 - uvs[0, :, 1].mean()) * 128, uvs[0, :, 0].mean() * 128]).astype(int))
    uv = np.array([[(middle[1] + 0.5) / 128, 1 - (middle[0] + 0.5) / 128]])
    wanted = [PositionField()(point_at(mesh, normalization, face, uv)) for face in (0, 4, 6)]
    for average, expected in ((False, wanted[0]), (True, sum(wanted) / 3)):
        image, _ = bake(PositionField(), build_atlas(mesh, normalization, (128, 128), average=average))
        difference = np.abs(image[middle] - expected.detach().numpy()).max()
        print(f"average {average}: off by {difference:.5f}, tolerance 0.001")
        assert difference < 1e-3


def point_at(mesh: MeshData, normalization: Normalization, face: int, uv: np.ndarray) -> torch.Tensor:
    """(1, 3) unit-ball position of the point of ``face`` (or of its other half) with these UVs."""
    for triangle in (face, face + 1):
        corners = np.c_[mesh.corner_uvs[triangle], np.ones(3)].T.astype(np.float64)
        share = np.linalg.solve(corners, [*uv[0], 1])
        if share.min() >= 0:
            place = share @ normalization.to_unit(mesh.positions)[mesh.triangles[triangle]]
            return torch.from_numpy(place[None].astype(np.float32))
    raise AssertionError("the point lies in neither half")


def test_a_chart_thinner_than_a_texel_is_not_lost() -> None:
    mesh = shapes.cube()
    uvs = mesh.corner_uvs.copy()
    # A strip of a fifth of a texel, between two rows of texel centres, in a gap of the layout.
    unit = (uvs[0:2] - uvs[0:2].min((0, 1))) / np.ptp(uvs[0:2], axis=(0, 1))
    uvs[0:2] = unit * [0.9, 0.2 / 128] + [0.05, 0.9999 / 128]
    uvs[2:] = uvs[2:] * [1, 0.9] + [0, 0.08]
    mesh, normalization = replace(mesh, corner_uvs=uvs), Normalization.of(mesh.positions)
    image, filled = bake(PositionField(), build_atlas(mesh, normalization, (128, 128)))
    points, uv = surface_points(replace(mesh, triangles=mesh.triangles[:2], corner_normals=mesh.corner_normals[:2],
                                        corner_uvs=uvs[:2]), normalization, 500)  # fmt: skip
    found, wanted = texels.sample_bilinear(image, uv), PositionField()(points).detach().numpy()
    # Across the strip the surface runs over its whole width within a fifth of a texel; along it, it must be right.
    along = np.abs(found - wanted).mean()
    print(f"mean difference on the strip {along:.3f}, tolerance 0.2; {filled.sum()} texels filled")
    assert along < 0.2 and filled[-2:, 8:-8].all()


@pytest.mark.parametrize("make", [shapes.cube, shapes.torus])
def test_seams_are_invisible_from_afar_too(make) -> None:
    mesh = make()
    image, _, figures, _ = baked(mesh, 1024)
    print(f"{make.__name__}: bake {figures['bake_psnr']:.1f} dB, at least 45")
    assert figures["bake_psnr"] >= 45
    for level in range(4):
        mean, largest = texels.seam_error({0: mip(image, level)}, {0: mesh})
        print(f"  mip {level}: mean {mean:.2f} (tolerance 1.5), largest {largest:.2f} (tolerance 12)")
        assert mean <= 1.5 and largest <= 12


def mip(image: np.ndarray, level: int) -> np.ndarray:
    """(H, W, C) halved ``level`` times, as renderers do it."""
    step = 2**level
    return image.reshape(image.shape[0] // step, step, image.shape[1] // step, step, -1).mean(axis=(1, 3))


class Stripes(PositionField):
    """Changes within a texel of 256 on the unit ball."""

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return 0.5 + 0.4 * torch.sin(150 * points)


def test_texels_hold_means_where_the_field_changes_fast() -> None:
    mesh = shapes.torus()
    normalization = Normalization.of(mesh.positions)
    atlas = build_atlas(mesh, normalization, (128, 128))
    whole, _ = bake(Stripes(), atlas)
    centers, means = (
        texel_image(build_atlas(mesh, normalization, (128, 128), samples=samples)) for samples in (1, 2)
    )
    differences = [np.abs(image - means)[atlas.chart].mean() * 255 for image in (whole, centers)]
    print("from the mean of four points: the bake {:.2f}, the texels' centres {:.2f} of 255".format(*differences))
    assert differences[0] < 0.2 * differences[1]


def texel_image(atlas: Atlas) -> np.ndarray:
    image = np.zeros((*atlas.shape, 3), np.float32)
    for texel, colors in texel_means(Stripes(), atlas):
        image.reshape(-1, 3)[texel] = colors.numpy()
    return image


def test_a_chart_at_the_edge_of_the_image_goes_on_beyond_it() -> None:
    mesh = shapes.torus()
    wide = replace(mesh, corner_uvs=(mesh.corner_uvs - 0.05) / 0.9)
    whole, _, figures, _ = baked(replace(wide, corner_uvs=wide.corner_uvs * 0.999 + 0.0005), 256)
    print(figures)
    assert figures["coverage"] == 1 and figures["seam_error"]["max"] < 12


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
