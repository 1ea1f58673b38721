"""How well do the bundled teachers keep their word? Images and textures, judged by an independent oracle and by hand.

    python benchmarks/teacher_suite.py --work DIR                  oracle and images
    python benchmarks/teacher_suite.py --work DIR --csd 24         textures: 24 prompts on 3 meshes, every method
    python benchmarks/teacher_suite.py --work DIR --csd 4 --methods sampling "sds 7.5" --meshes spot

Two judges look at the same pictures (`judges.py`): the oracle, which learns in DIR, and one made by hand. Images:
DDIM of "broad" with classifier-free guidance under the depth ControlNet and without it, one image a prompt; true
renders of the same prompts say how much of it the judges could find. Textures: the real command line with the draft
preset; the baked PNG is seen from eight fixed directions whose angles training's and synthesis' random ones never
equal, whole and three times as near, as an artist looks at it. The first twelve runs, unselected, are put on
DIR/sheet.png.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.judges import HELD_OUT_SEED, OBJECT, Found, Judges, Wanted, held_out_images, object_masks  # noqa: E402
from csd_addon.core.atlas import sample_bilinear  # noqa: E402
from csd_addon.core.mesh import MeshData, Normalization  # noqa: E402
from csd_addon.core.views import View, framing_distance  # noqa: E402
from csd_addon.worker.look.gbuffer import render_gbuffer  # noqa: E402
from csd_addon.worker.look.surface import Surface  # noqa: E402
from training import dataset, oracle  # noqa: E402
from training import meshes as training_meshes  # noqa: E402
from training.captions import Look, random_look, random_second  # noqa: E402
from training.evaluate import Judge, save_sheet  # noqa: E402
from training.vocabulary import COLOR_NAMES, HELD_OUT, MATERIALS, TWO_COLORED  # noqa: E402

TEACHER = ROOT / "csd_addon" / "teachers" / "broad"
PROMPT_SEED = 7
COLORS_A_MATERIAL = 3
PROMPT_SETS = ("vocabulary", "held-out combinations")
RENDERS_A_PROMPT = 8
# Of the images, as the teacher's csd.json has it for textures by sampling.
GUIDANCE = 5.0

# Prompt, material, colour ("" where the material names none).
PROMPTS = (
    ("red brick", "brick", "red"), ("brown wooden planks", "wood", "brown"), ("mossy stone", "moss", "green"),
    ("white marble", "marble", "white"), ("gold", "gold", ""), ("blue ceramic", "ceramic", "blue"),
    ("lava", "lava", ""), ("gray cobblestone", "cobblestone", "gray"), ("green dragon scales", "scales", "green"),
    ("zebra stripes", "zebra", ""), ("blue denim", "denim", "blue"), ("brown leather", "leather", "brown"),
    ("red and white checkered", "checker", "red"), ("copper", "copper", ""), ("purple knitted wool", "knit", "purple"),
    ("snow", "snow", ""), ("teal roof tiles", "shingles", "teal"), ("leopard print", "leopard", ""),
    ("pink plastic", "plain", "pink"), ("rusty metal", "rust", ""), ("beige wicker", "wicker", "beige"),
    ("green camouflage", "camouflage", "green"), ("black rubber", "rubber", "black"), ("ice", "ice", ""),
)  # fmt: skip
_BROAD = ("--teacher", "broad")
_CSD = (*_BROAD, "--method", "distill")
_NEGATIVE = ("--negative", "blurry, shadow")
# The first is what an artist gets who sets nothing: the bundled teacher that knows the words.
METHODS: dict[str, tuple[str, ...]] = {
    "as installed": (),
    "sampling": (*_BROAD, "--method", "sample"),
    "csd kappa 0": (*_CSD, "--set", "kappa=0"),
    "csd kappa 0.05": (*_CSD, "--set", "kappa=0.05"),
    "csd constant w2": (*_CSD, *_NEGATIVE, "--set", "w2=1"),
    "csd annealed w2": (*_CSD, *_NEGATIVE, "--set", "w2=[0,1,0.5,1]"),
    "sds 7.5": (*_BROAD, "--loss", "sds", "--set", "sds_weight=7.5"),
}
SHAPES = {"vase": training_meshes.vase, "arch": training_meshes.arch}
MESHES = ("spot", *SHAPES)
WHOLE, NEAR = 35.0, 12.0
VIEWS = [View(azimuth, elevation, framing_distance(WHOLE, 0.9), fov) for azimuth, elevation in (
    (11, 7), (57, 23), (103, -12), (149, 31), (191, 5), (233, 44), (277, -21), (319, 16),
) for fov in (WHOLE, NEAR)]  # fmt: skip
# A near view through a hole shows nothing to judge.
LEAST_COVERED = 0.3


def judge_the_judges(judges: Judges, teacher: Judge, data: dataset.Dataset) -> None:
    """How often they are right on images that nothing else saw, and on what the teacher can draw of them."""
    wanted = [Wanted("", look.material, look.first) for look in data.looks]
    for title, images in (("as rendered", data.images), ("through the autoencoder", teacher.restored(data.images))):
        worn = oracle.accuracy(judges.oracle, dataclasses.replace(data, images=images))["worn"]
        shares = judges.look(images, object_masks(data)).shares(wanted)
        print(f"the judges, {title}: {shares}, wear {worn:.0%}", flush=True)


def the_teacher() -> tuple[Judge, ControlNetModel]:
    def part(kind, name: str):
        model = kind.from_pretrained(TEACHER / name, local_files_only=True)
        return model.float().eval() if isinstance(model, torch.nn.Module) else model

    judge = Judge(
        part(UNet2DConditionModel, "unet"), part(CLIPTextModel, "text_encoder"), part(CLIPTokenizer, "tokenizer"),
        part(AutoencoderTiny, "vae"), part(DDIMScheduler, "scheduler"),
    )  # fmt: skip
    return judge, part(ControlNetModel, "controlnet_depth")


def sampled_prompts() -> tuple[list[Wanted], list[Wanted]]:
    """Prompts over the vocabulary, and the combinations that training never saw."""
    rng, usual = np.random.default_rng(PROMPT_SEED), []
    for name, material in MATERIALS.items():
        nameable = COLOR_NAMES if material.colors is None else material.colors
        for color in rng.permutation([c for c in nameable if (c, name) not in HELD_OUT])[:COLORS_A_MATERIAL]:
            usual.append(wanted(str(color), name, rng))
        if not nameable:
            usual.append(Wanted(material.words[0], name, ""))
    return usual, [wanted(color, name, rng) for color, name in HELD_OUT]


def wanted(color: str, material: str, rng: np.random.Generator) -> Wanted:
    words = MATERIALS[material].words[0]
    if material in TWO_COLORED:
        second = str(rng.choice([c for c in COLOR_NAMES if c != color]))
        return Wanted(f"{color} and {second} {words}", material, color)
    return Wanted(f"{color} {words}", material, color)


def deserving(wanted: Wanted, rng: np.random.Generator, shape: str, close: bool) -> Look:
    """What an image shows that deserves the prompt: evenly lit and unworn."""
    natural = str(rng.choice(MATERIALS[wanted.material].natural)) if not wanted.color else ""
    return dataclasses.replace(
        random_look(rng, shape, close), material=wanted.material, first=wanted.color or natural, shade="",
        second=random_second(rng, wanted.material, wanted.color or natural), natural=bool(natural), worn="", lit=False,
        blurred=False,
    )  # fmt: skip


def rendered(prompts: list[Wanted]) -> tuple[np.ndarray, np.ndarray]:
    """Images [P, 64, 64, 3] uint8 such as training shows for the prompts, and masks: what a perfect teacher would
    sample.
    """
    rng, images, masks = np.random.default_rng(HELD_OUT_SEED), [], []
    for wanted in prompts:
        shape = training_meshes.random_shape(rng)
        buffer, view, close = dataset.visible_buffer(rng, shape)
        look = deserving(wanted, rng, shape.kind, close)
        images.append(dataset.paint_image(rng, buffer, view, look, dataset.random_fineness(rng, view, close)))
        masks.append(buffer.coverage.numpy() > 0.99)
    return np.stack(images), np.stack(masks)


def ceiling(judges: Judges, teacher: Judge) -> None:
    """What the judges find in RENDERS_A_PROMPT true images a prompt: no teacher's samples can be expected above it."""
    for title, prompts in zip(PROMPT_SETS, sampled_prompts(), strict=True):
        prompts = prompts * RENDERS_A_PROMPT
        images, masks = rendered(prompts)
        for way, seen in (("as rendered", images), ("through the autoencoder", teacher.restored(images))):
            print(f"renders of the {title}, {way}: {judges.look(seen, masks).shares(prompts)}", flush=True)


def sampling(judges: Judges, teacher: Judge, controlnet: ControlNetModel, depth: np.ndarray, work: Path) -> None:
    """Under the depth ControlNet, and alone: what the ControlNet costs."""
    for title, prompts in zip(PROMPT_SETS, sampled_prompts(), strict=True):
        conditions = depth[np.arange(len(prompts)) * 7 % len(depth)]
        images = sampled(teacher, prompts, controlnet, conditions)
        save_sheet(images[: len(images) // 14 * 14], 14, work / f"sampled_{title.split()[0]}.png")
        found = judges.look(images, conditions > OBJECT)
        print(f"sampling, {title}: {len(prompts)} prompts; {found.shares(prompts)}")
        missed = np.flatnonzero(~found.right(prompts)["material"])
        print("  materials missed: " + ", ".join(f"{prompts[i].prompt} ({found.material[i]})" for i in missed))
        alone = judges.look(sampled(teacher, prompts, None, conditions), np.ones_like(conditions, bool))
        print(f"  without the ControlNet: {alone.shares(prompts)}", flush=True)


def sampled(
    teacher: Judge, prompts: list[Wanted], controlnet: ControlNetModel | None, conditions: np.ndarray
) -> np.ndarray:
    """One image [P, 64, 64, 3] uint8 for each of the prompts."""
    parts = []
    for i in range(0, len(prompts), 32):
        texts = [p.prompt for p in prompts[i : i + 32]]
        parts.append(teacher.sample(
            texts, guidance=GUIDANCE, controlnet=controlnet, conditions=conditions[i : i + 32],
        ))  # fmt: skip
    return np.concatenate(parts)


def textured(work: Path, mesh: str, file: Path, method: str, prompt: str) -> Path:
    """Folder of a finished run of the command line; runs that are there are kept."""
    folder = work / "csd" / method.replace(" ", "_") / f"{mesh}_{prompt.replace(' ', '_')}"
    if not (folder / "report.json").exists():
        subprocess.run(
            [sys.executable, "-m", "csd_addon", "texture", str(file), "--prompt", prompt, "--preset", "draft",
             "--size", "512", "--output", str(folder), *METHODS[method]],
            cwd=ROOT, check=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    return folder


def pictures(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The baked texture on gray from those of VIEWS that show some of it: [V, 64, 64, 3] uint8, and where it is."""
    mesh = MeshData.load(folder / "job" / "mesh.npz")
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    (path,) = (folder / "textures").glob("*.png")
    texture = np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) / 255
    images, masks = [], []
    for view in VIEWS:
        buffer = render_gbuffer(surface, view, size=64, supersample=2)
        uv = (mesh.corner_uvs[buffer.triangle.numpy()] * buffer.barycentric.numpy()[..., None]).sum(axis=1)
        color = buffer.resolve(torch.from_numpy(sample_bilinear(texture, uv)).float()).numpy()
        coverage = buffer.coverage.numpy()
        if view.fov == NEAR and coverage.mean() < LEAST_COVERED:
            continue
        images.append(color + (1 - coverage[..., None]) * 0.5)
        masks.append(coverage > 0.99)
    return (np.stack(images).clip(0, 1) * 255).round().astype(np.uint8), np.stack(masks)


def meshes(work: Path, names: list[str]) -> dict[str, Path]:
    """A file for each mesh: Spot as it is stored, the others written without UVs, so the command line unwraps them."""
    files = {"spot": ROOT.parent / "shared" / "meshes" / "spot.obj"}
    for name, shape in SHAPES.items():
        files[name] = work / f"{name}.obj"
        write_obj(shape(np.random.default_rng(PROMPT_SEED))[0], files[name])
    return {name: files[name] for name in names}


def write_obj(corners: np.ndarray, path: Path) -> None:
    """Triangles [T, 3, 3] as an OBJ, Y up, equal corners welded."""
    points, index = np.unique(corners.reshape(-1, 3).round(5), axis=0, return_inverse=True)
    lines = [f"v {x:.5f} {z:.5f} {-y:.5f}" for x, y, z in points]
    lines += ["f " + " ".join(str(i + 1) for i in triangle) for triangle in index.reshape(-1, 3)]
    path.write_text("\n".join(lines) + "\n")


def csd(judges: Judges, work: Path, count: int, methods: list[str], names: list[str]) -> None:
    files, first = meshes(work, names), []
    for method in methods:
        wanted, found = [], []
        for prompt, material, color in PROMPTS[:count]:
            for name, file in files.items():
                images, masks = pictures(textured(work, name, file, method, prompt))
                wanted.append(Wanted(prompt, material, color))
                found.append(judges.look_together(images, masks))
                first.append(np.concatenate(list(images[:4]), axis=1))
                print(f"{method:16}{name:6}{prompt:26} {found[-1]}", flush=True)
        print(f"{method}: {together(found).shares(wanted)}, of {len(wanted)}")
    save_sheet(np.stack(first[:12]), 3, work / "sheet.png")


def together(found: list[Found]) -> Found:
    """Answers one after another as one."""
    fields = [field.name for field in dataclasses.fields(Found)]
    return Found(*([name for one in found for name in getattr(one, field)] for field in fields))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--csd", type=int, default=0, metavar="PROMPTS")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--meshes", nargs="+", choices=MESHES, default=list(MESHES))
    words = parser.parse_args()
    torch.set_num_threads(1)
    work = words.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    judges = Judges.of(work)
    if words.csd:
        csd(judges, work, words.csd, words.methods, words.meshes)
    else:
        teacher, controlnet = the_teacher()
        data = held_out_images(work)
        judge_the_judges(judges, teacher, data)
        ceiling(judges, teacher)
        sampling(judges, teacher, controlnet, data.depth, work)


if __name__ == "__main__":
    main()
