"""Do edits by words reach what they name, and leave alone what they don't? Fourteen edits through the command line.

    python benchmarks/edit_suite.py --output DIR [--spot MESH.obj] [--preset draft] [--seed 0] [--teacher NAME]
    python benchmarks/edit_suite.py --output DIR --only NUMBER [--only NUMBER]...
    python benchmarks/edit_suite.py --output DIR --strengths [--only NUMBER]

Sources are painted by our own generator (training/materials.py) into the UVs of Suzanne, a cube and Spot, so nothing
depends on how well the teacher draws. An edit counts as right if, at random surface points where it may change
something,

- the target's colour leads, with at least 25 %, and a removed colour is left on less than 10 %;
- where it only names a colour, lightness still correlates with the source's: at least 0.6;
- where it names another pattern, the old one is gone: correlation at most 0.4, or, for a plain target, less than 40 %
  of its contrast is left. (That says nothing about how good the new pattern is: look at the sheet.)

With a mask no texel outside may differ, by bytes. ``sheet.png`` shows source and result of every edit.
``--strengths`` runs one edit at 0, 0.25, 0.5, 0.75 and 1 instead: 0 must give the source's bytes, and the mean CIELAB
difference must grow.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from named_colors import color_shares  # noqa: E402

from csd_addon.core.atlas import sample_bilinear  # noqa: E402
from csd_addon.core.color import srgb_to_lab  # noqa: E402
from csd_addon.core.mesh import MeshData, Normalization  # noqa: E402
from csd_addon.core.views import View, framing_distance  # noqa: E402
from csd_addon.jobs.folder import read_json  # noqa: E402
from csd_addon.protocol import PROTOCOL_VERSION  # noqa: E402
from csd_addon.runtime.environment import planning, venv  # noqa: E402
from csd_addon.runtime.paths import Paths, default_base  # noqa: E402
from csd_addon.worker.bake.bake import build_atlas  # noqa: E402
from csd_addon.worker.bake.margin import fill_margin  # noqa: E402
from csd_addon.worker.bake.measure import surface_points  # noqa: E402
from csd_addon.worker.look.gbuffer import render_gbuffer  # noqa: E402
from csd_addon.worker.look.surface import Surface  # noqa: E402
from training.materials import Paint, albedo  # noqa: E402
from training.vocabulary import COLOR_NAMES, sample_color  # noqa: E402

SIZE, POINTS = 1024, 20_000
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
VIEWS = [View(azimuth, 15, framing_distance(35, 0.9), 35) for azimuth in (20, 110, 200, 290)]


@dataclass(frozen=True)
class Edit:
    """paint: material, first and second colour. changes: "color", "pattern", "plain" (to no pattern) or "both".

    half: whether only the half at x > 0 may change.
    """

    mesh: str
    paint: tuple[str, str, str]
    remove: str
    target: str
    changes: str
    half: bool = False

    @property
    def name(self) -> str:
        return f"{self.mesh}_{self.remove}_to_{self.target}{'_half' if self.half else ''}".replace(" ", "-")


EDITS = (
    Edit("spot", ("brick", "red", "gray"), "red brick", "blue brick", "color"),
    Edit("suzanne", ("wood", "brown", "gray"), "brown wood", "green wood", "color"),
    Edit("cube", ("checker", "red", "white"), "red and white checkered", "blue and white checkered", "color"),
    Edit("spot", ("scales", "purple", "gray"), "purple scales", "yellow scales", "color"),
    Edit("suzanne", ("stone", "gray", "gray"), "gray stone", "orange stone", "color"),
    Edit("cube", ("brick", "red", "gray"), "red brick", "green brick", "color", half=True),
    Edit("spot", ("wood", "brown", "gray"), "brown wood", "red wood", "color", half=True),
    Edit("spot", ("brick", "red", "gray"), "red brick", "red plastic", "plain"),
    Edit("suzanne", ("checker", "blue", "white"), "blue and white checkered", "blue paint", "plain"),
    Edit("cube", ("wood", "brown", "gray"), "brown wood", "brown bricks", "pattern"),
    Edit("spot", ("brick", "red", "gray"), "red brick", "green moss", "both"),
    Edit("suzanne", ("wood", "brown", "gray"), "brown wood", "white marble", "both"),
    Edit("cube", ("stone", "gray", "gray"), "gray stone", "yellow bricks", "both"),
    Edit("spot", ("brick", "red", "gray"), "red brick", "gray stone", "both", half=True),
)

_EXPORT = """
import bpy, sys
bpy.ops.wm.read_factory_settings(use_empty=True)
if sys.argv[-2] == "suzanne":
    bpy.ops.mesh.primitive_monkey_add()
    bpy.context.object.modifiers.new("Subdivision", "SUBSURF").levels = 1
else:
    bpy.ops.mesh.primitive_cube_add()
bpy.ops.wm.obj_export(filepath=sys.argv[-1], export_materials=False)
"""


def mesh_file(name: str, spot: Path, folder: Path) -> Path:
    """The .obj of a mesh; Suzanne and the cube come from Blender."""
    if name == "spot":
        return spot
    path = folder / f"{name}.obj"
    if not path.exists():
        plan = planning.plan_blender(Paths(default_base()))
        venv.create(plan, str(PROTOCOL_VERSION), report=lambda *_: None)
        subprocess.run([venv.python(plan), "-c", _EXPORT, name, path], check=True, stdout=subprocess.DEVNULL)
    return path


def read_obj(path: Path) -> MeshData:
    """Triangles of an .obj with UVs, turned to Z up as Blender's importer turns them; flat normals."""
    words = [line.split() for line in path.read_text().splitlines()]
    x, y, z = np.array([w[1:4] for w in words if w and w[0] == "v"], np.float32).T
    positions = np.stack([x, -z, y], axis=1)
    uvs = np.array([w[1:3] for w in words if w and w[0] == "vt"], np.float32)
    faces = [[tuple(map(int, corner.split("/")[:2])) for corner in w[1:]] for w in words if w and w[0] == "f"]
    corners = np.array([(f[0], f[i], f[i + 1]) for f in faces for i in range(1, len(f) - 1)]) - 1
    triangles = corners[..., 0].astype(np.int32)
    a, b, c = (positions[triangles[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return MeshData(positions, triangles, np.repeat(normals[:, None], 3, axis=1), uvs[corners[..., 1]])


@dataclass(frozen=True)
class Stage:
    """A mesh with what is needed to paint and to judge it."""

    mesh: MeshData
    normalization: Normalization

    @staticmethod
    def of(path: Path) -> Stage:
        mesh = read_obj(path)
        return Stage(mesh, Normalization.of(mesh.positions))

    def painted(self, paint: tuple[str, str, str]) -> tuple[np.ndarray, np.ndarray]:
        """(SIZE, SIZE, 3) uint8 image of a material, and (SIZE, SIZE) uint8 mask of the half at x > 0."""
        atlas = build_atlas(self.mesh, self.normalization, (SIZE, SIZE))
        points = atlas.points(slice(None)).numpy()
        normals = self.mesh.corner_normals[atlas.triangle(slice(None)).numpy(), 0]
        rng = np.random.default_rng(5)
        first, second = sample_color(rng, paint[1]), sample_color(rng, paint[2])
        colors = albedo(paint[0], Paint(rng, first, second, 0), points, normals)
        values = np.concatenate([colors, (points[:, :1] > 0)], axis=1)
        texel = atlas.texel(slice(None)).numpy()
        count = np.bincount(texel, minlength=SIZE * SIZE)
        total = np.stack([np.bincount(texel, values[:, c], minlength=SIZE * SIZE) for c in range(4)], axis=1)
        image = (total / np.maximum(count, 1)[:, None]).reshape(SIZE, SIZE, 4)
        image = fill_margin(image, count.reshape(SIZE, SIZE) > 0, 8)
        return np.round(image[..., :3] * 255).astype(np.uint8), np.where(image[..., 3] == 1, 255, 0).astype(np.uint8)

    def picture(self, image: np.ndarray) -> np.ndarray:
        """Four views side by side of (S, S, 3) ``image`` in 0..1."""
        surface, row = Surface.of(self.mesh, self.normalization), []
        for view in VIEWS:
            buffer = render_gbuffer(surface, view, size=160, supersample=2)
            share = buffer.barycentric.numpy()
            uv = np.einsum("pk,pkc->pc", share, self.mesh.corner_uvs[buffer.triangle.numpy()])
            colors = torch.from_numpy(sample_bilinear(image, uv).astype(np.float32))
            row.append((buffer.resolve(colors) + 0.85 * (1 - buffer.coverage[..., None])).numpy())
        return np.concatenate(row, axis=1)


def prepare(edit: Edit, stage: Stage, mesh: Path, folder: Path) -> Path:
    """Write the .obj with its painted image and mask; returns the .obj."""
    folder.mkdir(parents=True, exist_ok=True)
    image, mask = stage.painted(edit.paint)
    Image.fromarray(image).save(folder / "source.png")
    Image.fromarray(mask).save(folder / "mask.png")
    (folder / "source.mtl").write_text("newmtl painted\nmap_Kd source.png\n")
    (folder / "source.obj").write_text("mtllib source.mtl\nusemtl painted\n" + mesh.read_text())
    return folder / "source.obj"


def run(edit: Edit, file: Path, output: Path, *options: str) -> None:
    """The command line; its progress goes to stderr."""
    mask = ["--mask", f"image:{file.with_name('mask.png')}"] if edit.half else []
    command = [sys.executable, "-m", "csd_addon", "edit", file, "--target", edit.target, "--remove", edit.remove]
    subprocess.run([*command, "--output", output, *mask, *options], cwd=ROOT, check=True)


def load(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def judge(edit: Edit, stage: Stage, folder: Path) -> bool:
    """Print one row of the table; True if the edit is right."""
    source, result = load(folder / "source.png"), load(next((folder / "result" / "textures").glob("*.png")))
    points, uv = surface_points(stage.mesh, stage.normalization, POINTS)
    inside = points[:, 0].numpy() > 0.1 if edit.half else np.ones(POINTS, bool)
    before, after = (sample_bilinear(image / 255, uv[inside]) for image in (source, result))
    light_before, light_after = srgb_to_lab(before)[:, 0], srgb_to_lab(after)[:, 0]
    correlation = float(np.corrcoef(light_before, light_after)[0, 1])
    contrast = float(light_after.std() / light_before.std())
    colors = color_shares(after)
    wanted = next((w for w in edit.target.split() if w in COLOR_NAMES), "")
    removed = next((w for w in edit.remove.split() if w in COLOR_NAMES), "")
    reached = next(iter(colors)) == wanted and colors[wanted] >= 0.25
    gone = removed == wanted or colors[removed] < 0.1
    kept = {"color": correlation >= 0.6, "plain": contrast < 0.4}.get(edit.changes, abs(correlation) <= 0.4)
    mask = load(folder / "mask.png")[..., 0] == 0
    touched = int((source[mask] != result[mask]).any(axis=-1).sum()) if edit.half else 0
    report = read_json(folder / "result" / "report.json")
    shares = ", ".join(f"{name} {share:.0%}" for name, share in list(colors.items())[:3])
    right = reached and gone and kept and not touched
    print(
        f"{'yes' if right else 'NO ':4}{edit.mesh:8}{edit.remove} > {edit.target}{' (half)' if edit.half else ''}: "
        f"{shares}; lightness correlation {correlation:.2f}, contrast {contrast:.2f}, "
        f"dE {report['edit']['mean_delta_e']:.0f}, "
        f"outside {touched}, {report['edit']['way']}, {report['iterations']} steps, {report['seconds']['total']:.0f} s",
        flush=True,
    )
    return right


def suite(edits: list[Edit], words: argparse.Namespace) -> None:
    """Run and judge; the sheet has a row of source and result for each edit."""
    rows, right = [], 0
    for edit in edits:
        folder = words.output / edit.name
        mesh = mesh_file(edit.mesh, words.spot, words.output)
        stage = Stage.of(mesh)
        if not (folder / "result" / "report.json").exists():
            file = prepare(edit, stage, mesh, folder)
            run(edit, file, folder / "result", *chosen(words))
        right += judge(edit, stage, folder)
        images = [load(folder / "source.png"), load(next((folder / "result" / "textures").glob("*.png")))]
        rows.append(np.concatenate([stage.picture(image / 255) for image in images], axis=1))
    Image.fromarray((np.concatenate(rows).clip(0, 1) * 255).astype(np.uint8)).save(words.output / "sheet.png")
    print(f"{right} of {len(edits)} edits are right; see {words.output / 'sheet.png'}")


def strengths(edit: Edit, words: argparse.Namespace) -> None:
    """The same edit at five strengths."""
    folder = words.output / f"strength_{edit.name}"
    mesh = mesh_file(edit.mesh, words.spot, words.output)
    file = prepare(edit, Stage.of(mesh), mesh, folder)
    differences = []
    for strength in STRENGTHS:
        output = folder / f"{strength}"
        run(edit, file, output, "--strength", str(strength), *chosen(words))
        differences.append(read_json(output / "report.json")["edit"]["mean_delta_e"])
    same = (load(next((folder / "0.0" / "textures").glob("*.png"))) == load(folder / "source.png")).all()
    grows = all(a < b for a, b in zip(differences, differences[1:], strict=False))
    print(f"{edit.name}: mean dE at {STRENGTHS}: {', '.join(f'{d:.1f}' for d in differences)}")
    print(f"strength 0 is the source byte for byte: {bool(same)}; grows with strength: {grows}")


def chosen(words: argparse.Namespace) -> list[str]:
    return ["--preset", words.preset, "--seed", str(words.seed), "--teacher", words.teacher]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--spot", type=Path, default=ROOT.parent / "shared" / "meshes" / "spot.obj")
    parser.add_argument("--preset", default="draft")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--teacher", default="auto")
    parser.add_argument("--only", type=int, action="append", help="number of an edit, from 1")
    parser.add_argument("--strengths", action="store_true")
    words = parser.parse_args()
    words.output = words.output.resolve()
    words.output.mkdir(parents=True, exist_ok=True)
    edits = [EDITS[number - 1] for number in words.only or range(1, len(EDITS) + 1)]
    if words.strengths:
        strengths(edits[0], words)
    else:
        suite(edits, words)


if __name__ == "__main__":
    main()
