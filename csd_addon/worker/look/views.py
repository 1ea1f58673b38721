"""Which cameras a job uses: a fixed pool, drawn once per job from its seed.

Whole-object views are stratified in azimuth; half of the elevations are uniform in angle, half on the sphere.
Every fourth view looks along the normal of a point that no view has shown from the front yet (``targets``), so that
undersides and hollows get their share. Close-ups look at such points alone, where the recipe says so from a few
directions that they share: views that see a curved surface from one side draw one pattern. A close-up before whose
point something else stands is drawn again, because what is much nearer shows its pattern larger, and its noise coarser
than the pixels. G-buffers are rendered once, here. Without undersides no camera goes below the horizon, and none is
spent on faces that look down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
import torch

from ...core import recipe
from ...core.views import View, direction, even_directions, framing_distance
from .conditions import canny_image, depth_image
from .gbuffer import GBuffer, render_gbuffer
from .surface import Surface
from .targets import Targets

# Of so many whole-object views one is spent on what was not shown yet.
COVERAGE_PERIOD = 4
# A close-up is drawn so many times at most, until no more than this share of what it shows is nearer than this share of
# the distance to its target.
CLOSE_UP_DRAWS = 8
MOST_NEAR, NEAR = 0.05, 0.7
# Cosine of the angle to the normal up to which a close-up of a point would graze it.
GRAZING = 0.35
# Z of the unit normal below which a face looks down so steeply that it is an underside.
_DOWN = -0.5
# Horizontal part of a unit normal up to which it looks straight up or down.
_STEEP = 1e-3

_CONDITIONS: dict[str, Callable[[GBuffer], torch.Tensor]] = {"depth": depth_image, "canny": canny_image}


@dataclass(frozen=True)
class CameraView:
    """What a teacher is told of one view, whatever is seen in it.

    close_up: whether the frame shows a part only. conditions: name -> (size, size) float16 image in [0, 1].
    """

    view: View
    close_up: bool
    conditions: dict[str, torch.Tensor]


@dataclass(frozen=True)
class PooledView(CameraView):
    """A view of a surface that does not change. surface: what is seen. gbuffer: the constant samples."""

    surface: Surface
    gbuffer: GBuffer


def sample_pool(
    surface: Surface, numbers: recipe.Views, generator: torch.Generator, conditions: tuple[str, ...],
    interest: np.ndarray | None = None,
) -> Iterator[PooledView]:  # fmt: skip
    """Yield ``numbers.view_pool`` views one by one (rendering them takes the time).

    generator: a CPU generator; equal states give equal pools. interest: (T,) weights of the triangles for an edit of a
    part: then every view looks along the normal of a face of interest, for the whole object from other sides is idle.
    """
    sampler = _Sampler(surface, numbers, generator, interest)
    for index in range(numbers.view_pool):
        view, close_up, gbuffer = sampler.next_view(index)
        images = {name: _CONDITIONS[name](gbuffer)[0].half() for name in conditions}
        yield PooledView(view, close_up, images, surface, gbuffer)


class _Sampler:
    """Draws views and remembers what they have shown."""

    def __init__(
        self, surface: Surface, numbers: recipe.Views, generator: torch.Generator, interest: np.ndarray | None
    ) -> None:
        self._surface, self._numbers, self._generator = surface, numbers, generator
        self._everywhere = interest is None
        self._targets = Targets(surface, _weights(surface, numbers, interest), generator)
        self._lowest = -89.0 if numbers.undersides else 0.0
        self._directions = self._shared_directions()

    def next_view(self, index: int) -> tuple[View, bool, GBuffer]:
        """The view with number ``index``, whether it is a close-up, and what it sees."""
        fov = self._uniform(*self._numbers.fov)
        close_up = self._uniform(0, 1) < self._numbers.close_up_share
        view, gbuffer = self._close_up(fov) if close_up else self._rendered(self._whole(index, fov))
        self._targets.shown(view, gbuffer)
        return view, close_up, gbuffer

    def _close_up(self, fov: float) -> tuple[View, GBuffer]:
        """A view of a point that is due, the freest of those drawn if something stands before all of them."""
        drawn = []
        for target, azimuth, elevation in islice(self._aims(), CLOSE_UP_DRAWS):
            distance = framing_distance(fov, self._uniform(*self._numbers.close_up_fill))
            x, y, z = self._targets.points[target].tolist()
            view, gbuffer = self._rendered(View(azimuth, elevation, distance, fov, (x, y, z)))
            # A point so thin that no sample meets it shows nothing: worse than any.
            near = float((gbuffer.depth < NEAR * distance).float().mean().nan_to_num(1.0))
            flaws = (near > MOST_NEAR, not self._targets.visible(target, gbuffer), near)
            drawn.append((flaws, view, gbuffer))
            if not any(flaws[:2]):
                break
        return min(drawn, key=lambda each: each[0])[1:]

    def _aims(self) -> Iterator[tuple[int, float, float]]:
        """Targets with an azimuth and an elevation for a close-up of each; of those that are shared all that do not
        graze it, the nearest to its normal first, or else any near it. The first target is due; where it can't be
        looked at, ones follow that could.
        """
        for draw in count():
            target = self._targets.known() if draw else self._targets.next()
            if len(self._directions):
                cosines = direction(*self._directions.T) @ self._targets.normals[target].double().numpy()
                for i in sorted(np.flatnonzero(cosines > GRAZING), key=lambda i: -cosines[i]):
                    yield target, *self._directions[i].tolist()
            else:
                yield target, *self._towards(target, spread=35.0)

    def _shared_directions(self) -> np.ndarray:
        """(N, 2) azimuths and elevations of the close-ups, turned by chance, none below the lowest; (0, 2): any."""
        if not self._numbers.close_up_directions:
            return np.empty((0, 2))
        turned = even_directions(self._numbers.close_up_directions) + [self._uniform(0, 360), 0]
        return turned[turned[:, 1] >= self._lowest]

    def _whole(self, index: int, fov: float) -> View:
        distance = framing_distance(fov, self._uniform(*self._numbers.fill))
        if index % COVERAGE_PERIOD == COVERAGE_PERIOD - 1 and not self._targets.covered:
            azimuth, elevation = self._towards(self._targets.next(), spread=10.0)
        elif not self._everywhere:
            azimuth, elevation = self._towards(self._targets.next(), spread=25.0)
        else:
            azimuth, elevation = self._azimuth(index), self._elevation()
        return View(azimuth, elevation, distance, fov)

    def _rendered(self, view: View) -> tuple[View, GBuffer]:
        size, supersample = self._numbers.resolution, self._numbers.supersample
        return view, render_gbuffer(self._surface, view, size=size, supersample=supersample)

    def _azimuth(self, index: int) -> float:
        # The golden-ratio sequence is stratified at every prefix.
        return (index * 0.6180339887 % 1.0) * 360 + self._uniform(-10, 10)

    def _elevation(self) -> float:
        low, high = (max(edge, self._lowest) for edge in self._numbers.elevation)
        if self._uniform(0, 1) < 0.5:
            return self._uniform(low, high)
        sines = torch.deg2rad(torch.tensor([low, high])).sin().tolist()
        return float(torch.rad2deg(torch.asin(torch.tensor(self._uniform(sines[0], sines[1])))))

    def _towards(self, target: int, *, spread: float) -> tuple[float, float]:
        """Azimuth and elevation that look at ``target`` along its normal, give or take ``spread`` degrees."""
        x, y, z = self._targets.normals[target].tolist()
        # Above a roof one azimuth is as good as another.
        azimuth = math.degrees(math.atan2(x, -y)) if math.hypot(x, y) > _STEEP else self._uniform(-180, 180)
        elevation = math.degrees(math.asin(min(max(z, -1.0), 1.0))) + self._uniform(-spread, spread)
        if abs(elevation) > 90:
            # Over the pole and down on the other side.
            azimuth, elevation = azimuth + 180, math.copysign(180, elevation) - elevation
        return azimuth + self._uniform(-spread, spread), min(max(elevation, self._lowest), 89.0)

    def _uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self._generator, dtype=torch.float64))


def _weights(surface: Surface, numbers: recipe.Views, interest: np.ndarray | None) -> torch.Tensor:
    """(T,) how much of the cameras' attention each triangle is worth: its area, none where nobody is to look."""
    a, b, c = surface.positions.cpu()[surface.triangles.cpu()].unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    areas = normals.norm(dim=1) / 2
    if interest is not None:
        areas = areas * torch.from_numpy(interest)
    above = areas * (torch.nn.functional.normalize(normals, dim=1)[:, 2] > _DOWN)
    return above if not numbers.undersides and above.any() else areas
