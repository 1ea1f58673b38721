"""Texels of a texture image: wrapping, bilinear look-up, seams. UV origin bottom left, images row 0 at the top.

Images are H x W, square or not. Texel (row, column) has its centre at u = (column + 0.5) / W, v = 1 - (row + 0.5) / H.
UVs outside 0..1 repeat, as Blender's image texture does.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .mesh import MeshData

Shape = tuple[int, int]


def texel_coordinates(uv: np.ndarray, shape: Shape) -> np.ndarray:
    """(..., 2) UVs to (..., 2) float64 image coordinates (x right, y down) in texels; not wrapped."""
    uv = np.asarray(uv, dtype=np.float64)
    return np.stack([uv[..., 0] * shape[1], (1 - uv[..., 1]) * shape[0]], axis=-1)


def sample_bilinear(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Look up (N, 2) ``uv`` in an (H, W, C) image as a renderer does: bilinear, repeating. (N, C) float64."""
    height, width = image.shape[:2]
    position = texel_coordinates(uv, (height, width)) - 0.5
    low = np.floor(position).astype(np.int64)
    part = position - low
    result = np.zeros((len(uv), image.shape[2]))
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (part[:, 0] if dx else 1 - part[:, 0]) * (part[:, 1] if dy else 1 - part[:, 1])
            result += weight[:, None] * image[(low[:, 1] + dy) % height, (low[:, 0] + dx) % width]
    return result


def edge_ends(triangles: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(3 T, 2, ...): the corners' (T, 3, ...) ``values`` at both ends of every edge of every triangle.

    Edge 3 t + k of triangle t begins at its corner k. The end with the lower vertex index comes first, so that
    neighbours agree on the direction.
    """
    ends = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2)
    result = np.stack([values, np.roll(values, -1, axis=1)], axis=2).reshape(-1, 2, *values.shape[2:])
    flipped = ends[:, 0] > ends[:, 1]
    result[flipped] = result[flipped, ::-1]
    return result


def seam_edges(triangles: np.ndarray, corner_uvs: np.ndarray, number: np.ndarray) -> np.ndarray:
    """(E, 2) both sides (edges as in ``edge_ends``) of every mesh edge whose two triangles disagree in UV space.

    triangles: (T, 3) vertex indices. corner_uvs: (T, 3, 2). number: (T,) of the tile that each shows.
    """
    ends, uvs = edge_ends(triangles, triangles), edge_ends(triangles, corner_uvs)
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    same = (ends[order][1:] == ends[order][:-1]).all(axis=1)
    sides = np.stack([order[:-1][same], order[1:][same]], axis=1)
    apart = np.abs(uvs[sides[:, 0]] - uvs[sides[:, 1]]).max(axis=(1, 2)) > 1e-5
    return np.asarray(sides[apart | (number[sides[:, 0] // 3] != number[sides[:, 1] // 3])])


def border_edges(triangles: np.ndarray, corner_uvs: np.ndarray) -> np.ndarray:
    """(3 T,) bool: the edges (as in ``edge_ends``) at which a chart ends: no other edge lies at the same place."""
    ends, uvs = edge_ends(triangles, triangles).astype(np.int64), edge_ends(triangles, corner_uvs)
    key = ends[:, 0] * (int(triangles.max(initial=0)) + 1) + ends[:, 1]
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    same[same] = np.abs(uvs[order[1:][same]] - uvs[order[:-1][same]]).max(axis=(1, 2)) <= 1e-5
    border = np.ones(len(key), bool)
    border[order[1:][same]] = border[order[:-1][same]] = False
    return border


def seam_error(images: Mapping[int, np.ndarray], meshes: Mapping[int, MeshData]) -> tuple[float, float]:
    """Mean and maximum colour difference across UV seams, 0..255.

    images: (H, W, C) by picture. meshes: the faces that show each of them, parts of one mesh (``images.parts``).
    Both sides of each seam edge are looked up bilinearly, at points about one texel apart, as a renderer would.
    Returns (0, 0) for a mesh without seams.
    """
    triangles = np.concatenate([mesh.triangles for mesh in meshes.values()])
    uvs = np.concatenate([mesh.corner_uvs for mesh in meshes.values()])
    number = np.repeat(list(meshes), [len(mesh.triangles) for mesh in meshes.values()])
    seams = seam_edges(triangles, uvs, number)
    if len(seams) == 0:
        return 0.0, 0.0
    ends, tiles = edge_ends(triangles, uvs.astype(np.float64))[seams], number[seams // 3]
    lengths = np.linalg.norm(ends[:, 0, 1] - ends[:, 0, 0], axis=1)
    counts = np.clip(np.ceil(lengths * max(max(i.shape[:2]) for i in images.values())), 1, 64).astype(np.int64)
    edge = np.repeat(np.arange(len(seams)), counts)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = ((step + 0.5) / counts[edge])[:, None]
    places = [ends[edge, k, 0] * (1 - share) + ends[edge, k, 1] * share for k in (0, 1)]
    colors = [_sample_tiles(images, tiles[edge, k], place) for k, place in enumerate(places)]
    difference = np.abs(colors[0] - colors[1]).max(axis=1) * 255
    return float(difference.mean()), float(difference.max())


def _sample_tiles(images: Mapping[int, np.ndarray], number: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Look up (N, 2) ``uv`` in the image of each point's tile; (N, C) float64."""
    result = np.empty((len(uv), next(iter(images.values())).shape[2]))
    for tile, image in images.items():
        result[number == tile] = sample_bilinear(image, uv[number == tile])
    return result


def chart_labels(triangles: np.ndarray, corner_uvs: np.ndarray) -> np.ndarray:
    """(T,) int64: equal for triangles of one chart, i.e. connected through vertices with the same place in UV space."""
    places = np.concatenate([triangles.reshape(-1, 1), np.round(corner_uvs.reshape(-1, 2) * 1e5)], axis=1)
    _, node = np.unique(places, axis=0, return_inverse=True)
    node = node.reshape(-1, 3)
    label = np.arange(node.max(initial=-1) + 1)
    while True:
        before, lowest = label.copy(), label[node].min(axis=1)
        np.minimum.at(label, node, lowest[:, None])
        # Jump along the chain: long charts settle in few rounds.
        label = label[label]
        if (label == before).all():
            return np.asarray(label[node[:, 0]])
