"""Where an edit may change texels and how much, what the views see of the source, and what is written back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from csd_addon.core.atlas import Shape
from csd_addon.core.color import decode_srgb, encode_srgb
from csd_addon.core.mesh import MeshData, Normalization
from csd_addon.core.source import EditSource, Tile
from csd_addon.worker.bake.bake import Atlas, build_atlas
from csd_addon.worker.bake.margin import margin_width
from csd_addon.worker.shape.canvas import Canvas, Texture
from tests import shapes

SQUARE = (64, 64)
MAGENTA = (1.0, 0.0, 1.0)


def atlas_of(mesh: MeshData, shape: Shape = SQUARE) -> Atlas:
    return build_atlas(mesh, Normalization.of(mesh.positions), shape)


def source_of(
    mesh: MeshData, shape: Shape = SQUARE, free: np.ndarray | None = None, *, corner_mask: np.ndarray | None = None,
    **changes,
) -> EditSource:  # fmt: skip
    """A grey source of ``mesh``. free: (T,) bool, the faces that may change; everything by default."""
    count = len(mesh.triangles)
    mask = np.repeat((np.ones(count) if free is None else free).astype(np.float32)[:, None], 3, axis=1)
    tile = Tile(np.full((*shape, 4), 0.5, np.float32), False, np.ones((1, 1), np.float32))
    number = np.zeros(count, np.int32)
    mask = mask if corner_mask is None else corner_mask
    return EditSource({0: replace(tile, **changes)}, number, mesh.corner_uvs, mask)


def texture_of(source: EditSource, mesh: MeshData) -> Texture:
    return Texture.of(source, mesh, Normalization.of(mesh.positions))


def canvas_of(mesh: MeshData, shape: Shape = SQUARE, free: np.ndarray | None = None, **changes) -> Canvas:
    return texture_of(source_of(mesh, shape, free, **changes), mesh).canvases[0]


def sheet(columns: int, low: tuple[float, float] = (0, 0), high: tuple[float, float] = (1, 1)) -> MeshData:
    """A flat strip of ``columns`` squares side by side; its one chart fills the UV rectangle ``low`` .. ``high``."""
    x, y = (values.ravel() for values in np.meshgrid(np.arange(columns + 1), [0, 1], indexing="ij"))
    positions = np.stack([x, y, 0 * x], axis=1).astype(np.float32)
    first = np.arange(columns) * 2
    triangles = np.stack([[first, first + 2, first + 3], [first, first + 3, first + 1]], axis=0)
    triangles = triangles.transpose(2, 0, 1).reshape(-1, 3).astype(np.int32)
    uv = np.asarray(low) + positions[:, :2] / (columns, 1) * (np.asarray(high) - low)
    normals = np.broadcast_to(np.float32([0, 0, 1]), (2 * columns, 3, 3))
    return MeshData(positions, triangles, normals, uv[triangles].astype(np.float32))


def joined(*meshes: MeshData) -> MeshData:
    starts = np.cumsum([0, *(len(mesh.positions) for mesh in meshes)])
    return MeshData(
        np.concatenate([mesh.positions + np.float32([0, 3 * i, 0]) for i, mesh in enumerate(meshes)]),
        np.concatenate([mesh.triangles + np.int32(starts[i]) for i, mesh in enumerate(meshes)]),
        np.concatenate([mesh.corner_normals for mesh in meshes]), np.concatenate([mesh.corner_uvs for mesh in meshes]),
    )  # fmt: skip


def covered(uvs: np.ndarray, shape: Shape, samples: int) -> np.ndarray:
    """(H, W, samples**2) bool: which samples of each texel lie inside a UV triangle; by brute force."""
    height, width = shape
    x = (np.arange(width * samples) + 0.5) / (width * samples)
    y = 1 - (np.arange(height * samples) + 0.5) / (height * samples)
    points = np.stack(np.meshgrid(x, y), axis=-1)
    inside = np.zeros(points.shape[:2], bool)
    for a, b, c in uvs.astype(np.float64):
        sides = [_cross(q - p, points - p) for p, q in ((a, b), (b, c), (c, a))]
        inside |= (np.min(sides, axis=0) > 1e-7) | (np.max(sides, axis=0) < -1e-7)
    grid = inside.reshape(height, samples, width, samples).transpose(0, 2, 1, 3)
    return grid.reshape(height, width, samples**2)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[0] * b[..., 1] - a[1] * b[..., 0]


@pytest.mark.parametrize("mesh", [shapes.cube(), shapes.torus(16, 8)], ids=["cube", "torus"])
def test_without_a_mask_every_texel_of_the_charts_is_free(mesh: MeshData) -> None:
    canvas = canvas_of(mesh)
    seen = covered(mesh.corner_uvs, SQUARE, 2).any(axis=2)
    assert (canvas.weight[seen] == 1).all() and set(np.unique(canvas.weight)) <= {0, 1}
    assert canvas.shape == SQUARE and seen.mean() > 0.5


@pytest.mark.parametrize("shape", [SQUARE, (48, 128)])
def test_texels_that_a_kept_face_touches_stay(shape: Shape) -> None:
    # Half of a sheared chart, and some faces of the other half: their borders cut through texels at all angles.
    mesh = shapes.torus(12, 6)
    generator = np.random.default_rng(0)
    mesh = replace(mesh, corner_uvs=_sheared(mesh.corner_uvs))
    free = (mesh.corner_uvs.mean(axis=1)[:, 0] < 0.55) | (generator.random(len(mesh.triangles)) < 0.2)
    canvas = canvas_of(mesh, shape, free)
    kept = covered(mesh.corner_uvs[~free], shape, 4).any(axis=2)
    cut = kept & covered(mesh.corner_uvs[free], shape, 4).any(axis=2)
    print(f"{kept.sum()} texels show a kept face, {cut.sum()} of them a free one too")
    assert (canvas.weight[kept] == 0).all() and cut.sum() > 50
    assert canvas.weight.max() == 1


def _sheared(uvs: np.ndarray) -> np.ndarray:
    u, v = uvs[..., 0], uvs[..., 1]
    return np.stack([0.1 + 0.6 * u + 0.17 * v, 0.1 + 0.7 * v + 0.09 * u], axis=-1).astype(np.float32)


@pytest.mark.parametrize("shape", [(8, 128), (16, 1024)])
def test_the_weight_fades_from_inside_over_a_margins_width(shape: Shape) -> None:
    canvas = canvas_of(sheet(2), shape, np.array([False, False, True, True]))
    width, half = margin_width(shape), shape[1] // 2
    row = canvas.weight[shape[0] // 2]
    expected = np.minimum(np.arange(1, half + 1) / width, 1)
    error = float(np.abs(row[half:] - expected).max())
    print(f"over {width} texels the weights are {row[half : half + width]}, largest error {error:.1e}, tolerance 1e-6")
    assert (row[:half] == 0).all() and error < 1e-6


def test_a_chart_beside_a_kept_one_is_free_up_to_its_border() -> None:
    # Two charts with two texels between them: near in UV space, strangers on the mesh.
    mesh = joined(sheet(2, (0.125, 0.125), (0.5, 0.875)), sheet(2, (0.53125, 0.125), (0.875, 0.875)))
    canvas = canvas_of(mesh, SQUARE, np.arange(8) < 4)
    kept, free = (covered(mesh.corner_uvs[part], SQUARE, 2).all(axis=2) for part in (slice(4, 8), slice(4)))
    assert (canvas.weight[free] == 1).all() and (canvas.weight[kept] == 0).all()
    # The same gap inside one chart does fade.
    one = canvas_of(sheet(8, (0.125, 0.125), (0.875, 0.875)), SQUARE, np.arange(16) < 8)
    assert 0 < one.weight[32, 31] < 1


@pytest.mark.parametrize("size", [64, 80, 100, 150])
def test_free_charts_of_a_cube_are_free_up_to_their_borders(size: int) -> None:
    # The gaps are 1.3 to 3 texels wide and lie anywhere on the grid.
    mesh = shapes.cube()
    free = np.arange(12) % 4 < 2
    canvas = canvas_of(mesh, (size, size), free)
    kept, inside = (covered(mesh.corner_uvs[part], (size, size), 4) for part in (~free, free))
    weights = canvas.weight[inside.all(axis=2)]
    print(f"{len(weights)} texels inside the free charts, weights from {weights.min()}, expected 1")
    assert weights.min() == 1 and (canvas.weight[kept.any(axis=2)] == 0).all()


def test_a_kept_chart_inside_the_box_of_another_does_not_make_it_fade() -> None:
    # Two triangles across the square's diagonal, two texels apart; the lower one is kept at its left end.
    lower = [[(0.1, 0.1), (0.2, 0.1), (0.1, 0.85)], [(0.2, 0.1), (0.85, 0.1), (0.1, 0.85)]]
    mesh = replace(
        sheet(2), triangles=np.int32([[0, 1, 2], [1, 3, 2], [3, 4, 5], [3, 4, 5]]),
        corner_uvs=np.float32([*lower, *[[(0.9, 0.1), (0.9, 0.9), (0.1, 0.9)]] * 2]),
    )  # fmt: skip
    canvas = canvas_of(mesh, SQUARE, np.array([False, True, False, False]))
    free = covered(mesh.corner_uvs[1:2], SQUARE, 2).all(axis=2)
    free[:, :32] = False
    weights = canvas.weight[free]
    print(f"{len(weights)} texels far from the kept end, weights from {weights.min()}, expected 1")
    assert len(weights) > 100 and weights.min() == 1
    assert 0 < canvas.weight[56, 14] < 1, "at its kept end it does fade"


def test_fading_only_takes_away() -> None:
    mesh = sheet(8)
    soft = np.clip(mesh.corner_uvs[..., 0] * 2 - 0.5, 0, 1).astype(np.float32)
    canvas = canvas_of(mesh, (16, 256), corner_mask=soft)
    centers = (np.arange(256) + 0.5) / 256
    linear = np.clip(centers * 2 - 0.5, 0, 1)
    row = canvas.weight[8]
    assert (row <= linear + 1e-6).all() and (row[:64] == 0).all() and (row[200:] == 1).all()


def test_soft_corner_weights_run_linearly_across_a_face() -> None:
    # From 0.2 to 0.8, so that nothing is kept and nothing fades.
    mesh = sheet(1)
    canvas = canvas_of(mesh, corner_mask=(0.2 + 0.6 * mesh.corner_uvs[..., 0]).astype(np.float32))
    # The smallest of a texel's samples, which lie at a quarter and three quarters of it.
    expected = np.broadcast_to(0.2 + 0.6 * (np.arange(64) + 0.25) / 64, SQUARE)
    error = float(np.abs(canvas.weight - expected).max())
    print(f"largest error {error:.1e}, tolerance 1e-6")
    assert error < 1e-6


@pytest.mark.parametrize("size", [16, 64, 200])
def test_a_painted_mask_of_any_size(size: int) -> None:
    painted = np.zeros((size, size), np.float32)
    painted[:, size // 2 :] = 1
    canvas = canvas_of(sheet(1, (0.1, 0.1), (0.9, 0.9)), painted=painted)
    border = 32 - 64 / size
    columns = np.arange(64)
    assert (canvas.weight[:, columns + 1 < border] == 0).all(), "black stays"
    inside = (columns > 32 + 64 / size + margin_width(SQUARE)) & (columns < 56)
    assert (canvas.weight[10:54, inside] == 1).all() and inside.sum() > 5, "white is free"
    assert (np.diff(canvas.weight[32, :56]) >= 0).all(), "and in between it only grows"


def test_grey_paint_is_half_free_and_has_the_right_way_up() -> None:
    painted = np.full((32, 32), 0.25, np.float32)
    painted[:16] = 0.75
    weight = canvas_of(sheet(1), painted=painted).weight
    assert weight[3:29] == pytest.approx(0.75) and weight[35:61] == pytest.approx(0.25), "row 0 is at the top"
    both = canvas_of(sheet(1), painted=painted, corner_mask=np.full((2, 3), 0.5, np.float32)).weight
    assert both == pytest.approx(weight / 2), "both masks count"


def test_texels_that_a_kept_face_shows_too_stay() -> None:
    mesh = joined(sheet(2), sheet(1, (0.0, 0.0), (0.5, 1.0)))
    canvas = canvas_of(mesh, SQUARE, np.arange(6) < 4)
    assert (canvas.weight[:, :32] == 0).all(), "the second mesh shows them and is kept"
    assert (canvas.weight[:, 32 + margin_width(SQUARE) :] == 1).all()


@pytest.mark.parametrize(
    ("mesh", "changes"),
    [(joined(sheet(2), sheet(2)), {"free": np.arange(8) < 4}),
     (sheet(2), {"free": np.zeros(4)}),
     (sheet(2), {"painted": np.zeros((4, 4), np.float32)}),
     (joined(sheet(1), sheet(1, (0.3, 0.3), (0.305, 0.305))), {"free": np.arange(4) >= 2})],
    ids=["kept faces show all of it", "no face", "black paint", "smaller than a texel"],
)  # fmt: skip
def test_nothing_left_to_change_is_a_sentence(mesh: MeshData, changes: dict) -> None:
    with pytest.raises(ValueError, match="The mask leaves no texel of the texture free"):
        canvas_of(mesh, **changes)


def test_uvs_outside_the_unit_square_are_masked_where_they_repeat() -> None:
    inside = sheet(2, (0.125, 0.25), (0.875, 0.75))
    free = np.array([False, False, True, True])
    moved = replace(inside, corner_uvs=inside.corner_uvs + np.float32([2, -1]))
    assert np.array_equal(canvas_of(moved, SQUARE, free).weight, canvas_of(inside, SQUARE, free).weight)


@pytest.mark.parametrize("shape", [SQUARE, (37, 100)])
@pytest.mark.parametrize("make", [shapes.cube, shapes.torus])
def test_what_lies_outside_the_charts_never_reaches_the_views(make, shape: Shape) -> None:
    mesh, color = make(), np.float32([0.2, 0.6, 0.3])
    pixels = np.ones((*shape, 4), np.float32)
    chart = atlas_of(mesh, shape).chart
    pixels[..., :3] = np.where(chart[..., None], color, np.float32(MAGENTA))
    canvas = canvas_of(mesh, shape, pixels=pixels)
    generator = np.random.default_rng(0)
    share = generator.dirichlet((0.5, 0.5, 0.5), 4000)
    uv = np.einsum("pk,pkc->pc", share, mesh.corner_uvs[generator.integers(len(mesh.triangles), size=4000)])
    for width in (0.3, 1.0, 2.0, 4.0, 8.0, 1000.0):
        colors, weight = canvas.look_up(uv, width)
        error = float(np.abs(colors - color).max())
        print(f"{width} texels wide: largest error {error:.1e}, tolerance 1e-5; weights from {weight.min()}")
        assert error < 1e-5 and weight.min() > 1 - 1e-5


def test_the_width_of_a_look_up_chooses_how_much_is_averaged() -> None:
    mesh = sheet(1)
    pixels = np.ones((*SQUARE, 4), np.float32)
    pixels[..., :3] = (np.indices(SQUARE).sum(axis=0) % 2)[..., None]
    canvas = canvas_of(mesh, pixels=pixels)
    uv = (np.stack(np.meshgrid(np.arange(8, 56), np.arange(8, 56)), -1).reshape(-1, 2) + 0.5) / 64
    spans = [float(np.ptp(canvas.look_up(uv, width)[0])) for width in (1.0, 2.0, 16.0)]
    print(f"contrast of a chessboard of single texels seen 1, 2 and 16 texels wide: {spans}")
    assert spans[0] == 1 and max(spans[1:]) < 1e-6
    assert canvas.look_up(uv, 2.0)[0].mean() == pytest.approx(0.5)


def test_the_source_is_seen_as_the_renderer_shows_it() -> None:
    ramp = np.ones((*SQUARE, 4), np.float32)
    ramp[..., 0] = np.arange(64) / 63
    ramp[..., 1] = np.arange(64)[::-1, None] / 63
    canvas = canvas_of(sheet(1), pixels=ramp)
    uv = np.random.default_rng(0).uniform(0.1, 0.9, (500, 2))
    expected = (uv * 64 - 0.5) / 63
    error = float(np.abs(canvas.look_up(uv, 1.0)[0][:, :2] - expected).max())
    print(f"u in red and v in green: largest error {error:.1e}, tolerance 1e-6")
    assert error < 1e-6


def test_written_texels_change_and_no_other_number_does() -> None:
    generator = np.random.default_rng(0)
    pixels = generator.uniform(-1, 4, (*SQUARE, 4)).astype(np.float32)
    canvas = canvas_of(sheet(1), pixels=pixels)
    before = pixels.copy()
    texel = generator.choice(64 * 64, 300, replace=False)
    colors = generator.random((300, 3)).astype(np.float32)
    got = canvas.written(texel, colors).reshape(-1, 4)
    others = np.setdiff1d(np.arange(64 * 64), texel)
    flat = before.reshape(-1, 4)
    assert got.dtype == np.float32 and got[others].tobytes() == flat[others].tobytes()
    assert got[:, 3].tobytes() == flat[:, 3].tobytes() and got[texel, :3].tobytes() == colors.tobytes()
    assert pixels.tobytes() == before.tobytes() and before.min() < 0, "the source itself is not written to"


def test_a_linear_source_is_seen_encoded_and_written_decoded() -> None:
    pixels = np.random.default_rng(0).uniform(0, 1, (*SQUARE, 4)).astype(np.float32)
    canvas = canvas_of(sheet(1), pixels=pixels, linear=True)
    error = float(np.abs(canvas.colors - encode_srgb(pixels[..., :3])).max())
    colors = canvas.colors.reshape(-1, 3)
    back = canvas.written(np.arange(len(colors)), colors)
    there_and_back = float(np.abs(back - pixels).max())
    print(f"encoded: {error:.1e}, there and back: {there_and_back:.1e}, tolerance 1e-6 each")
    assert error < 1e-6 and there_and_back < 1e-6
    (grey,) = canvas.written(np.array([5]), np.full((1, 3), 0.5)).reshape(-1, 4)[5:6, 0]
    assert grey == pytest.approx(float(decode_srgb(np.array(0.5))), abs=1e-7)


def test_colours_beyond_white_are_seen_as_white() -> None:
    pixels = np.full((*SQUARE, 4), 7.5, np.float32)
    canvas = canvas_of(sheet(1), pixels=pixels, linear=True)
    assert (canvas.colors == 1).all() and (canvas.written(np.array([], int), np.zeros((0, 3))) == 7.5).all()


def two_tiles() -> tuple[MeshData, EditSource]:
    """A strip of three squares: red bytes on tile 1001, green light on the larger tile 1012, and none at all."""
    mesh = sheet(3)
    uvs = np.concatenate([sheet(1).corner_uvs] * 3)
    red, green = np.ones((32, 32, 4), np.float32), np.ones((64, 128, 4), np.float32)
    red[..., 1:3], green[..., ::2] = 0, 0
    blank = np.ones((1, 1), np.float32)
    tiles = {1001: Tile(red, False, blank), 1012: Tile(green, True, blank)}
    number = np.repeat([1001, 1012, -1], 2).astype(np.int32)
    return mesh, EditSource(tiles, number, uvs, np.ones((6, 3), np.float32))


def test_each_face_shows_its_own_tile() -> None:
    mesh, source = two_tiles()
    texture = texture_of(source, mesh)
    assert {n: canvas.shape for n, canvas in texture.canvases.items()} == {1001: (32, 32), 1012: (64, 128)}
    triangle = np.random.default_rng(0).integers(6, size=300)
    share = np.random.default_rng(1).dirichlet((1, 1, 1), 300)
    for width in (0.0, 0.1):
        colors, weight = texture.look_up(triangle, share, width)
        expected = np.float32([(1, 0, 0), (0, 1, 0), (0.5, 0.5, 0.5)])[triangle // 2]
        error = float(np.abs(colors - expected).max())
        print(f"largest error {error:.1e}, tolerance 1e-6")
        assert error < 1e-6 and np.allclose(weight, triangle < 4, atol=1e-6)


def test_a_mask_holds_in_each_tile_and_may_leave_one_of_them_out() -> None:
    mesh, source = two_tiles()
    mask = source.corner_mask.copy()
    mask[:2] = 0
    texture = texture_of(replace(source, corner_mask=mask), mesh)
    assert (texture.canvases[1001].weight == 0).all() and (texture.canvases[1012].weight[:, 4:] == 1).all()
    black = np.zeros((2, 2), np.float32)
    tiles = {n: replace(tile, painted=black) for n, tile in source.tiles.items()}
    texture = texture_of(replace(source, tiles={**tiles, 1001: source.tiles[1001]}), mesh)
    assert (texture.canvases[1001].weight == 1).all() and (texture.canvases[1012].weight == 0).all()
    with pytest.raises(ValueError, match="The mask leaves no texel of the texture free"):
        texture_of(replace(source, tiles=tiles), mesh)


def test_a_sample_is_as_wide_as_the_texels_of_its_own_tile() -> None:
    # 32 and 128 texels along the same length: one blurs a chessboard of single texels where the other sees it.
    mesh, source = two_tiles()
    tiles = {}
    for number, edge in ((1001, 32), (1012, 128)):
        pixels = np.ones((edge, edge, 4), np.float32)
        pixels[..., :3] = (np.indices((edge, edge)).sum(axis=0) % 2)[..., None]
        tiles[number] = Tile(pixels, False, np.ones((1, 1), np.float32))
    texture = texture_of(replace(source, tiles=tiles), mesh)
    share = np.random.default_rng(1).dirichlet((3, 3, 3), 400)
    width = Normalization.of(mesh.positions).scale / 32
    spans = [float(np.ptp(texture.look_up(np.full(400, face), share, width)[0])) for face in (0, 2)]
    print(f"contrast seen one texel of tile 1001 wide: {spans[0]:.2f} there, {spans[1]:.1e} on tile 1012")
    assert spans[0] > 0.7 and spans[1] < 1e-6


@pytest.mark.parametrize("shown", ["one image", "two tiles", "another image"])
@pytest.mark.parametrize("smooth", [True, False])
def test_a_border_along_a_seam_fades_where_the_surface_is_smooth(smooth: bool, shown: str) -> None:
    # A strip whose halves are charts of their own, the left one kept; the seam is the left edge of the right chart.
    mesh = sheet(4)
    uvs = np.concatenate([sheet(2, (0.05, 0.1), (0.45, 0.9)).corner_uvs, sheet(2, (0.55, 0.1), (0.95, 0.9)).corner_uvs])
    normals = mesh.corner_normals.copy()
    if not smooth:
        normals[4:] = (0, 0.6, 0.8)
    mesh = replace(mesh, corner_uvs=uvs, corner_normals=normals)
    source = source_of(mesh, (64, 64), np.arange(8) >= 4)
    if shown != "one image":
        number = np.where(np.arange(8) >= 4, 1002, 1001 if shown == "two tiles" else -1).astype(np.int32)
        source = replace(source, number=number, tiles={n: source.tiles[0] for n in set(number.tolist()) - {-1}})
    weight = next(c.weight for n, c in texture_of(source, mesh).canvases.items() if n in (0, 1002))
    row, start = weight[32], int(0.55 * 64)
    print(f"weights from the seam on: {row[start : start + 7].tolist()}")
    assert (row[:30] == 0).all() and (row[start + 6 : 60] == 1).all(), "the right end and the rims stay free"
    if smooth and shown != "another image":
        assert row[start : start + 5].tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    else:
        assert (row[start + 1 :][:5] == 1).all()
