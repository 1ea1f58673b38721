"""Speed as ratios within one run, on one thread: rasteriser against Embree, hash grid against its naive form.

    python benchmarks/speed.py

Run it with an interpreter that has torch; the Embree row needs the package embreex as well. CPU seconds of the
process are counted, the best of several repeats, so other work on the machine disturbs little.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from csd_addon.core.views import View, framing_distance  # noqa: E402
from csd_addon.worker.field.hashgrid import Level, encode, level_table  # noqa: E402
from csd_addon.worker.look.raster import rasterize  # noqa: E402
from tests import shapes  # noqa: E402

SIZE = 512
POINTS = 262_144
REPEATS = 5


def best(work: Callable[[], object]) -> float:
    """Least CPU seconds of ``REPEATS`` calls after one to warm up."""
    work()
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds)


def raster() -> None:
    mesh = shapes.torus(265, 133, bump=0.05)
    positions = (mesh.positions / np.linalg.norm(mesh.positions, axis=1).max()).astype(np.float32)
    view = View(30, 50, framing_distance(40, 1.0), 40)
    pixels, depth = view.project(positions, SIZE)
    points, near = torch.from_numpy(pixels), torch.from_numpy(1 / depth)
    triangles = torch.from_numpy(mesh.triangles).long()
    ids = rasterize(points, near, triangles, height=SIZE, width=SIZE)
    ours = best(lambda: rasterize(points, near, triangles, height=SIZE, width=SIZE))
    print(f"rasteriser: {len(triangles)} triangles at {SIZE}^2, {float((ids >= 0).float().mean()):.0%} covered")
    print(f"  torch scanline {ours * 1e3:7.1f} ms")
    try:
        from embreex import rtcore_scene
        from embreex.mesh_construction import TriangleMesh
    except ImportError:
        print("  embreex is not installed: no comparison")
        return
    scene = rtcore_scene.EmbreeScene()
    TriangleMesh(scene, positions, mesh.triangles)
    grid = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    tangent = np.tan(np.radians(view.fov) / 2)
    camera = np.stack(np.broadcast_arrays(grid[None] * tangent, -grid[:, None] * tangent, -1.0), -1)
    directions = (camera.reshape(-1, 3) @ view.world_to_camera()[:3, :3]).astype(np.float32)
    origins = np.broadcast_to(view.position.astype(np.float32), directions.shape).copy()
    theirs = best(lambda: scene.run(origins, directions))
    hits = scene.run(origins, directions).reshape(SIZE, SIZE)
    print(f"  embreex        {theirs * 1e3:7.1f} ms      ratio {ours / theirs:.2f} (limit 1.5)")
    print(f"  pixels with another triangle: {int((hits != ids.numpy()).sum())} of {SIZE * SIZE}")


def naive_encode(points: torch.Tensor, tables: torch.Tensor, levels: tuple[Level, ...]) -> torch.Tensor:
    """The textbook form: one batched index tensor, (entries, 2) tables, autograd's own backward."""
    corners = torch.tensor([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    primes = torch.tensor([1, 2654435761, 805459861])
    indices, weights = [], []
    for level in levels:
        scaled = (points + 1) * (level.resolution / 2)
        cell = scaled.floor().clamp(max=level.resolution - 1)
        part = (scaled - cell)[:, None]
        vertices = cell.long()[:, None] + corners
        if level.hashed:
            x, y, z = (vertices * primes).unbind(-1)
            index = (x ^ y ^ z) & (level.entries - 1)
        else:
            index = (vertices * torch.tensor([1, level.resolution + 1, (level.resolution + 1) ** 2])).sum(-1)
        indices.append(index + level.offset)
        weights.append(torch.where(corners.bool(), part, 1 - part).prod(-1))
    flat = torch.nn.functional.embedding_bag(
        torch.stack(indices, 1).reshape(-1, 8), tables, per_sample_weights=torch.stack(weights, 1).reshape(-1, 8),
        mode="sum",
    )  # fmt: skip
    return flat.reshape(len(points), -1)


def hashgrid() -> None:
    levels = level_table(16, 19, 16, 2048)
    total = sum(level.entries for level in levels)
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(POINTS, 3, generator=generator) * 2 - 1
    tables = torch.rand(total, 2, generator=generator).requires_grad_()
    first, second = (tables.detach()[:, k].clone().requires_grad_() for k in (0, 1))

    def ours() -> torch.Tensor:
        features = encode(points, first, second, levels)
        features.sum().backward()
        return features

    def naive() -> torch.Tensor:
        features = naive_encode(points, tables, levels)
        features.sum().backward()
        return features

    difference = float((ours().reshape(len(levels), 2, -1).permute(2, 0, 1).flatten(1) - naive()).detach().abs().max())
    a, b = best(ours), best(naive)
    print(f"hash grid: {POINTS} points, 16 levels x 2, 2^19, forward + backward")
    print(f"  per level {a:6.2f} s (limit 0.6)   naive {b:6.2f} s   ratio {b / a:.1f} (limit 10)")
    print(f"  largest difference {difference:.1e}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    raster()
    hashgrid()
