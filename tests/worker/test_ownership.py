"""Every place belongs, in shares that sum up to 1, to the views that see it from the front."""

from __future__ import annotations

import torch

from csd_addon.core.mesh import Normalization
from csd_addon.core.views import View
from csd_addon.worker.render.gbuffer import render_gbuffer
from csd_addon.worker.render.ownership import shares
from csd_addon.worker.render.surface import Surface
from csd_addon.worker.render.views import PooledView
from tests import shapes


def pool(*azimuths: float) -> list[PooledView]:
    """Views of a sphere from the side."""
    mesh = shapes.sphere(48, 96)
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    views = [View(azimuth, 0, 4, 35) for azimuth in azimuths]
    return [PooledView(surface, v, False, render_gbuffer(surface, v, size=160, supersample=2), {}) for v in views]


def test_the_shares_of_a_place_sum_up_to_one() -> None:
    seen = pool(*range(0, 360, 30))
    cubes, total, count = {}, {}, {}
    for number, (view, share) in enumerate(zip(seen, shares(seen), strict=True)):
        inside = (view.gbuffer.coverage == 1).flatten()[view.gbuffer.pixel]
        places = torch.floor(view.gbuffer.position[inside] * 4).long()
        for place, value in zip(places.tolist(), share.flatten()[view.gbuffer.pixel][inside].tolist(), strict=True):
            cubes.setdefault((tuple(place), number), []).append(value)
    for (place, _), values in cubes.items():
        total[place] = total.get(place, 0.0) + sum(values) / len(values)
        count[place] = count.get(place, 0) + len(values)
    sums = torch.tensor([total[place] for place in total if count[place] > 2000])
    print(f"{len(sums)} places; sums {sums.min():.2f} to {sums.max():.2f}, mean {sums.mean():.3f}; within 0.1, 0.03")
    assert len(sums) > 20 and (sums - 1).abs().max() < 0.1 and abs(float(sums.mean()) - 1) < 0.03


def test_a_place_belongs_to_the_view_that_faces_it() -> None:
    seen = pool(0, 50)
    mine = shares(seen)[0]
    center, between, far = float(mine[80, 80]), float(mine[80, 115]), float(mine[80, 140])
    print(f"share of the view from the front at its middle {center:.3f}, half way {between:.3f}, beyond {far:.3f}")
    assert center > 0.95 and 0.1 < between < 0.9 and far < 0.05
    assert float(mine[0, 0]) == 0, "beside the sphere"


def test_what_one_view_alone_sees_is_its_own() -> None:
    """However steeply it looks at it."""
    seen = pool(0, 180)
    for view, share in zip(seen, shares(seen), strict=True):
        inside = view.gbuffer.coverage == 1
        print(f"below {float(share[inside].quantile(0.2)):.3f} lies a fifth, in cubes of both views at the rim")
        assert float(share[inside].quantile(0.2)) > 0.99
        assert bool(torch.isfinite(share).all())
