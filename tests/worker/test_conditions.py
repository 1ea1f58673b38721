"""Depth and canny condition images."""

from __future__ import annotations

import torch

from csd_addon.core.mesh import Normalization
from csd_addon.core.views import View
from csd_addon.worker.look import conditions
from csd_addon.worker.look.gbuffer import render_gbuffer
from csd_addon.worker.look.surface import Surface
from tests import shapes


def g_buffer(mesh, view=None, size=96):
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    return render_gbuffer(surface, view or View(30, 25, 4, 35), size=size)


def test_depth_is_one_at_the_nearest_point_and_zero_outside() -> None:
    g = g_buffer(shapes.sphere())
    image = conditions.depth_image(g)
    assert image.shape == (3, 96, 96) and image.min() == 0 and image.max() == 1
    inside = image[0][g.coverage > 0]
    print(f"farthest foreground {float(inside.min()):.3f}, expected 0.1")
    assert abs(float(inside.min()) - 0.1) < 1e-6
    assert (image[0][g.coverage == 0] == 0).all()
    assert int(image[0].flatten().argmax()) == int(g.pixel[g.depth.argmin()])


def test_depth_is_normalised_per_image_and_finite_for_a_plane_facing_the_camera() -> None:
    near, far = (conditions.depth_image(g_buffer(shapes.cube(), View(30, 25, d, 35))) for d in (4, 8))
    assert abs(near.max() - far.max()) < 1e-6
    facing = g_buffer(shapes.cube(), View(0, 0, 4, 10))
    flat = conditions.depth_image(facing)
    assert torch.isfinite(flat).all() and float(flat[0][facing.coverage > 0].max()) == 1


def test_empty_view_gives_black_images() -> None:
    away = View(0, 0, 4, 20, target=(50.0, 0.0, 0.0))
    g = g_buffer(shapes.cube(), away)
    assert conditions.depth_image(g).abs().max() == 0
    assert conditions.canny_image(g).abs().max() == 0


def test_canny_finds_the_cubes_edges_and_nothing_on_its_faces() -> None:
    g = g_buffer(shapes.cube(), size=128)
    edges = conditions.canny_image(g)[0]
    share = float(edges.mean())
    print(f"{share:.3f} of the pixels are edges (expected 0.01 to 0.06)")
    assert 0.01 < share < 0.06 and set(edges.unique().tolist()) == {0.0, 1.0}
    # Six pixels away from any change of the normal map there is no edge.
    normals = (g.resolve(g.normal * 0.5 + 0.5) * 255).permute(2, 0, 1)[None]
    spread = torch.nn.functional.max_pool2d(normals, 13, 1, 6) + torch.nn.functional.max_pool2d(-normals, 13, 1, 6)
    assert (edges[(spread.amax(1)[0] < 1)] == 0).all()


def test_canny_thresholds() -> None:
    def ramp(step: float) -> torch.Tensor:
        image = torch.zeros(1, 32, 32)
        image[:, :, 16:] = step
        return conditions.canny(image)

    # A step of height h has an L1 Sobel response of 8 h / 5 after the 5-pixel box blur.
    assert not ramp(50 * 5 / 8 - 1).any()
    assert not ramp(100 * 5 / 8 - 2).any()
    assert ramp(100 * 5 / 8 + 2).any()
    assert int(ramp(200).sum(1).max()) == 1, "edges are one pixel wide"


def test_hysteresis_keeps_weak_edges_that_hang_on_to_strong_ones() -> None:
    candidate = torch.zeros(12, 12, dtype=torch.bool)
    candidate[range(8), range(8)] = True
    candidate[10, 2:9] = True
    strong = torch.zeros_like(candidate)
    strong[0, 0] = True
    kept = conditions._hysteresis(candidate, strong)
    assert kept[7, 7] and kept.sum() == 8 and not kept[10].any()
