"""Does the baked texture have the prompted colour? Twelve prompts through the real command line, judged on the surface.

    python benchmarks/named_colors.py --output DIR [--file MESH] [--preset draft] [--seed 0] [--teacher mini]

Points are drawn uniformly by area on the job's mesh, looked up in the written PNG through the UVs, and named by
the nearest of the teacher's reference colours in CIELAB. A prompt counts as reached if its colour leads
and holds at least 25 % of the points. Each run's files stay in DIR/<prompt>/ to be looked at.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from csd_addon.core.atlas import sample_bilinear  # noqa: E402
from csd_addon.core.mesh import MeshData, Normalization  # noqa: E402
from csd_addon.jobs.folder import read_json  # noqa: E402
from csd_addon.worker.bake.measure import surface_points  # noqa: E402
from training.vocabulary import COLOR_NAMES, nearest_color  # noqa: E402

PROMPTS = (
    "red brick", "brown wood", "green moss", "gray stone", "white marble", "orange rusty metal", "blue paint",
    "purple scales", "yellow bricks", "pink plastic", "black cobblestone", "cyan tiles",
)  # fmt: skip
LEAST_SHARE = 0.25
POINTS = 20_000


def texture(file: Path, output: Path, prompt: str, preset: str, seed: int, teacher: str) -> None:
    """Run the command line for one prompt; its progress goes to stderr."""
    subprocess.run(
        [sys.executable, "-m", "csd_addon", "texture", str(file), "--prompt", prompt, "--preset", preset,
         "--teacher", teacher, "--seed", str(seed), "--output", str(output / prompt.replace(" ", "_"))],
        cwd=ROOT, check=True,
    )  # fmt: skip


def shares(folder: Path) -> dict[str, float]:
    """Share of the surface by colour name, largest first."""
    mesh = MeshData.load(folder / "job" / "mesh.npz")
    (path,) = (folder / "textures").glob("*.png")
    image = np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) / 255
    _, uv = surface_points(mesh, Normalization.of(mesh.positions), POINTS)
    return color_shares(sample_bilinear(image, uv))


def color_shares(colors: np.ndarray) -> dict[str, float]:
    """Share of (N, 3) sRGB colours by nearest name, largest first."""
    counts = np.bincount(nearest_color(colors), minlength=len(COLOR_NAMES)) / len(colors)
    return {COLOR_NAMES[i]: float(counts[i]) for i in counts.argsort()[::-1]}


def judge(folder: Path) -> bool:
    """Print one row of the table; True if the prompted colour is reached."""
    report = read_json(folder / "report.json")
    prompt = report["settings"]["prompt"]
    wanted = next(word for word in prompt.split() if word in COLOR_NAMES)
    found = shares(folder)
    leader = next(iter(found))
    reached = leader == wanted and found[wanted] >= LEAST_SHARE
    others = ", ".join(f"{name} {share:.0%}" for name, share in list(found.items())[:3])
    print(
        f"{'yes' if reached else 'NO ':4}{prompt:22}{found[wanted]:6.0%}   {others:42}"
        f"seam {report['seam_error']['mean']:.2f}  PSNR {report['bake_psnr']:.1f}  cover {report['coverage']:.3f}  "
        f"{report['seconds']['total']:.0f} s"
    )
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--preset", default="draft")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--teacher", default="mini")
    words = parser.parse_args()
    if words.file:
        for prompt in PROMPTS:
            texture(words.file.resolve(), words.output.resolve(), prompt, words.preset, words.seed, words.teacher)
    folders = sorted(path.parent for path in words.output.glob("*/report.json"))
    reached = [judge(folder) for folder in folders]
    print(f"{sum(reached)} of {len(reached)} prompts have their colour as the leading one")


if __name__ == "__main__":
    main()
