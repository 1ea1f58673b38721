"""Rendered training images with their captions' attributes and condition images.

The renderer, its cameras and the condition images are the ones synthesis uses, at the same 64 px with 2 x 2
samples a pixel. Each G-buffer is painted several times with different materials. Most images are close-ups, as most
views of synthesis are: a whole object at 64 px shows more background than pattern. Images are uint8 [N, 64, 64, 3]
sRGB, row 0 at the top; conditions are uint8 [G, 64, 64] (depth, canny).
"""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter

from csd_addon.core.views import View, framing_distance
from csd_addon.worker.look.conditions import canny_image, depth_image
from csd_addon.worker.look.gbuffer import GBuffer, render_gbuffer

from .captions import Look, random_look
from .materials import albedo
from .meshes import Shape, random_shape
from .surfaces.common import Paint
from .vocabulary import sample_color

SIZE, SUPERSAMPLE = 64, 2
VIEWS_PER_SHAPE = 5
CLOSE_SHARE = 0.7
# Half the width of what a close-up shows, and pixels a unit of the pattern's own length in it (the ball's radius is 1).
CLOSE_EXTENT = (0.2, 0.6)
PATTERN_PIXELS = (32.0, 90.0)
SHARD = 6000


@dataclass(frozen=True)
class Dataset:
    """images [N, 64, 64, 3] uint8, looks (N of them), buffer [N] int64 into depth and canny [G, 64, 64]
    uint8.
    """

    images: np.ndarray
    looks: list[Look]
    buffer: np.ndarray
    depth: np.ndarray
    canny: np.ndarray


def random_view(rng: np.random.Generator, shape: Shape, close: bool) -> View:
    """A camera as in synthesis: the object fills 65 to 125 % of the frame, or the frame covers 20 to 60 % of it."""
    azimuth = rng.uniform(0, 360)
    elevation = np.degrees(np.arcsin(rng.uniform(np.sin(np.radians(-45)), np.sin(np.radians(80)))))
    fov = rng.uniform(25, 45)
    if not close:
        return View(
            azimuth,
            elevation,
            framing_distance(fov, rng.uniform(0.65, 1.25)),
            fov,
            tuple(rng.uniform(-0.12, 0.12, 3)),
        )
    facing = View(azimuth, elevation, 1.0, fov).direction
    surface = shape.surface
    seen = np.flatnonzero(surface.corner_normals[:, 0].numpy() @ facing > 0.4)
    triangle = int(rng.choice(seen)) if len(seen) else 0
    target = surface.positions[surface.triangles[triangle]].mean(0).numpy() * 0.85
    return View(
        azimuth,
        elevation,
        log_uniform(rng, *CLOSE_EXTENT) / np.tan(np.radians(fov / 2)),
        fov,
        tuple(map(float, target)),
    )


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def random_fineness(rng: np.random.Generator, view: View, close: bool) -> float:
    """How many times finer than its surface function draws it the material lies on the object, 1 or more.

    A close-up shows the pattern at PATTERN_PIXELS whatever it is close to, so that a texture may carry more detail than
    a whole object at 64 px could; whole objects wear such fine textures too.
    """
    if not close:
        return 1.0 if rng.random() < 0.5 else log_uniform(rng, 1.0, 2.0)
    pixels = SIZE / 2 / (view.distance * np.tan(np.radians(view.fov / 2)))
    return max(1.0, pixels / log_uniform(rng, *PATTERN_PIXELS))


def random_background(rng: np.random.Generator) -> np.ndarray:
    """A solid colour [3]: white, gray or black one time in four, mostly neutral, seldom saturated."""
    kind = rng.random()
    if kind < 0.25:
        return np.full(3, rng.choice([0.0, 0.5, 1.0]))
    value = rng.uniform(0.05, 0.95)
    return np.clip(value + rng.uniform(-1, 1, 3) * (0.02 if kind < 0.65 else 0.12 if kind < 0.9 else 0.5), 0, 1)


def paint_image(rng: np.random.Generator, buffer: GBuffer, view: View, look: Look, fineness: float) -> np.ndarray:
    """One image [64, 64, 3] uint8 of the G-buffer with a new instance of `look`, `fineness` times finer."""
    first = sample_color(rng, look.first, look.shade)
    second = sample_color(rng, look.second) if look.second else first
    normal = buffer.normal.numpy()
    color = albedo(
        look.material,
        Paint(rng, first, second, look.direction, not look.natural),
        buffer.position.numpy() * fineness,
        normal,
        look.worn,
    )
    if look.lit:
        light = view.direction + rng.normal(0, 0.35, 3)
        ambient = rng.uniform(0.55, 0.9)
        color = color * (ambient + (1 - ambient) * np.clip(normal @ (light / np.linalg.norm(light)), 0, 1))[:, None]
    image = buffer.resolve(torch.from_numpy(color.astype(np.float32))).numpy()
    image = image + (1 - buffer.coverage.numpy())[..., None] * random_background(rng)
    pixels = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    if look.blurred:
        pixels = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 3.0))))
    return pixels


def visible_buffer(rng: np.random.Generator, shape: Shape) -> tuple[GBuffer, View, bool]:
    """A view in which the object covers at least 6 % of the image."""
    while True:
        close = bool(rng.random() < CLOSE_SHARE)
        view = random_view(rng, shape, close)
        buffer = render_gbuffer(shape.surface, view, size=SIZE, supersample=SUPERSAMPLE)
        if buffer.coverage.mean() > 0.06:
            return buffer, view, close


def generate(seed: int, count: int, paints: int, every_pair: bool = False) -> Dataset:
    """`count` images, `paints` of them on each G-buffer, VIEWS_PER_SHAPE G-buffers a mesh; repeatable from
    the seed. every_pair: held-out pairs of colour and material too.
    """
    rng = np.random.default_rng(seed)
    images, looks, owner, depth, canny, shape = [], [], [], [], [], None
    while len(images) < count:
        if len(depth) % VIEWS_PER_SHAPE == 0:
            shape = random_shape(rng)
        buffer, view, close = visible_buffer(rng, shape)
        depth.append((depth_image(buffer)[0].numpy() * 255).round().astype(np.uint8))
        canny.append((canny_image(buffer)[0].numpy() * 255).astype(np.uint8))
        for _ in range(min(paints, count - len(images))):
            look = random_look(rng, shape.kind, close, every_pair)
            images.append(paint_image(rng, buffer, view, look, random_fineness(rng, view, close)))
            looks.append(look)
            owner.append(len(depth) - 1)
    return Dataset(np.stack(images), looks, np.array(owner), np.stack(depth), np.stack(canny))


def build(folder: Path, count: int, seed: int, paints: int = 5, every_pair: bool = False) -> None:
    """Generate `count` images in shards of at most SHARD, a process on every core; shards that exist are kept."""
    shards = [
        (folder / f"shard{i:02d}", seed + i, min(SHARD, count - i * SHARD), paints, every_pair)
        for i in range(-(-count // SHARD))
    ]
    missing = [shard for shard in shards if not (shard[0] / "looks.json").exists()]
    if len(missing) == 1:
        print(f"images: {build_shard(missing[0])} done", flush=True)
    elif missing:
        with multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, len(missing))) as pool:
            for name in pool.imap_unordered(build_shard, missing):
                print(f"images: {name} done", flush=True)


def build_shard(shard: tuple[Path, int, int, int, bool]) -> str:
    folder, *how = shard
    torch.set_num_threads(1)
    save(generate(*how), folder)
    return folder.name


def save(data: Dataset, folder: Path) -> None:
    """Write the arrays and looks.json; looks.json last, renamed into place, marks the set as whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("images", "buffer", "depth", "canny"):
        np.save(folder / f"{name}.npy", getattr(data, name))
    aside = folder / "looks.json.part"
    aside.write_text(json.dumps([asdict(look) for look in data.looks]))
    aside.rename(folder / "looks.json")


def load(folder: Path) -> Dataset:
    """Read what `build` wrote, all shards joined in memory."""
    parts = [load_shard(path.parent) for path in sorted(folder.glob("*/looks.json"))]
    starts = np.cumsum([0] + [len(part.depth) for part in parts])
    return Dataset(
        np.concatenate([part.images for part in parts]),
        [look for part in parts for look in part.looks],
        np.concatenate([part.buffer + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate([part.depth for part in parts]),
        np.concatenate([part.canny for part in parts]),
    )


def load_shard(folder: Path) -> Dataset:
    arrays = {
        name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("images", "buffer", "depth", "canny")
    }
    return Dataset(looks=shard_looks(folder), **arrays)


def load_looks(folder: Path) -> list[Look]:
    """Those of `load`, without the images."""
    return [look for path in sorted(folder.glob("*/looks.json")) for look in shard_looks(path.parent)]


def shard_looks(folder: Path) -> list[Look]:
    return [Look(**fields) for fields in json.loads((folder / "looks.json").read_text())]
