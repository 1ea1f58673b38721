"""Builds the release: ``python3 tools/package.py --output DIR [--blender PATH]``.

DIR then holds one zip for each platform and, around them, a static Blender repository (``index.json`` and
``index.html``): put the folder on any web server, and Blender installs from its address. The wheels of ``uv`` come from
the package registry by their pinned sha256 into ``wheels/``, once. Blender's own tools build, validate and list; after
building, each zip is written again without times and in a fixed order, so two builds of one source give equal bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from csd_addon.runtime.environment.installer import UV_VERSION, UV_WHEELS, fitting_wheel  # noqa: E402

WHEELS = ROOT / "wheels"
LANDING_PAGE = ROOT / "tools" / "repository.html"
SHIPPED = ("__init__.py", "csd_addon", "LICENSE", "README.md")
WHEEL_TAGS = {
    "linux-x64": "manylinux_2_17_x86_64",
    "windows-x64": "win_amd64",
    "macos-arm64": "macosx_11_0_arm64",
}
# The oldest time that a zip can hold.
NO_TIME = (1980, 1, 1, 0, 0, 0)


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--blender", default=os.environ.get("CSD_BLENDER") or shutil.which("blender"), metavar="PATH")
    chosen = parser.parse_args(words)
    if not chosen.blender:
        raise SystemExit("No Blender is on PATH or named by CSD_BLENDER: give one with --blender.")
    output = chosen.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="csd-package-") as scratch:
        stage = make_stage(Path(scratch) / "source", [fetch_uv(platform) for platform in UV_WHEELS])
        archives = build(chosen.blender, stage, output)
    for archive in archives:
        run_extension(chosen.blender, "validate", str(archive))
        print(f"{archive.name}: {archive.stat().st_size / 1e6:.1f} MB, sha256 {sha256(archive)}")
    run_extension(
        chosen.blender, "server-generate", "--repo-dir", str(output), "--html", "--html-template", str(LANDING_PAGE)
    )
    print(f"The repository is in {output}: {output / 'index.json'} lists {len(archives)} archives.")


def fetch_uv(platform: str) -> Path:
    """Return the wheel of ``uv`` for ``platform`` with the pinned sha256, fetched by pip unless it is there."""
    if (found := fitting_wheel(WHEELS, platform)) and sha256(found) == UV_WHEELS[platform]:
        return found
    with tempfile.TemporaryDirectory() as scratch:
        pin = Path(scratch) / "uv.txt"
        pin.write_text(f"uv=={UV_VERSION} --hash=sha256:{UV_WHEELS[platform]}\n", encoding="utf-8")
        command = [str(scratch_pip(Path(scratch) / "pip")), "-m", "pip", "download", "--quiet"]
        command += ["--no-deps", "--only-binary", ":all:"]
        command += ["--require-hashes", "--platform", WHEEL_TAGS[platform]]
        command += ["--dest", scratch, "--requirement", str(pin)]
        if subprocess.run(command).returncode:
            raise SystemExit(f"pip could not fetch uv {UV_VERSION} for {platform}: see its message above.")
        (wheel,) = Path(scratch).glob("uv-*.whl")
        # Aside and renamed: an installation that begins now must not find half a wheel.
        aside = shutil.copy(wheel, WHEELS / f"{wheel.name}.part")
        os.replace(aside, WHEELS / wheel.name)
        return WHEELS / wheel.name


def scratch_pip(folder: Path) -> Path:
    """Return a Python that has pip for certain: environments that uv made have none."""
    venv.create(folder, with_pip=True)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make_stage(stage: Path, wheels: list[Path]) -> Path:
    """Lay out what a release holds, with a manifest that names the wheels and a list of licences."""
    stage.mkdir()
    for name in SHIPPED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, stage / name, ignore=shutil.ignore_patterns("__pycache__", "*.part", ".*"))
        else:
            shutil.copyfile(source, stage / name)
    (stage / "wheels").mkdir()
    for wheel in wheels:
        shutil.copyfile(wheel, stage / "wheels" / wheel.name)
    manifest = (ROOT / "blender_manifest.toml").read_text("utf-8")
    (stage / "blender_manifest.toml").write_text(complete_manifest(manifest, wheels), encoding="utf-8", newline="\n")
    (stage / "LICENSES.md").write_text(licences(wheels), encoding="utf-8", newline="\n")
    return stage


def complete_manifest(text: str, wheels: list[Path]) -> str:
    """Add what only a release has: the platforms and their wheels. A checkout installs without either."""
    named = {"platforms": list(WHEEL_TAGS), "wheels": [f"./wheels/{wheel.name}" for wheel in wheels]}
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in named.items())
    return text.replace("[permissions]", f"{lines}\n[permissions]", 1)


def licences(wheels: list[Path]) -> str:
    """Return the table of all that is inside, each licence read from the part itself."""
    code = tomllib.loads((ROOT / "blender_manifest.toml").read_text("utf-8"))["license"][0].removeprefix("SPDX:")
    rows = [("The code", code, "LICENSE")]
    for card in sorted((ROOT / "csd_addon" / "teachers").glob("*/README.md")):
        found = re.search(r"weights ([\w.-]+)", card.read_text("utf-8"))
        if not found:
            raise SystemExit(f"{card} does not say under which licence its weights are: add 'Licence: weights ...'.")
        rows.append((f"Weights of the teacher {card.parent.name}", found[1], card.relative_to(ROOT).as_posix()))
    rows.append((f"uv {UV_VERSION}", wheel_licence(wheels[0]), "in the wheel below wheels/, folder dist-info/licenses"))
    table = "".join(f"| {part} | {licence} | {where} |\n" for part, licence, where in rows)
    return f"# Licences of what is inside\n\n| Part | Licence | Text |\n|---|---|---|\n{table}"


def wheel_licence(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return str(HeaderParser().parsestr(archive.read(name).decode())["License-Expression"])


def build(blender: str, stage: Path, output: Path) -> list[Path]:
    """Let Blender build one zip for each platform, make their bytes a function of the source, return them."""
    with tempfile.TemporaryDirectory(dir=output, prefix=".build-") as scratch:
        run_extension(
            blender, "build", "--source-dir", str(stage), "--output-dir", scratch, "--split-platforms"
        )
        return [normalise(archive, output / archive.name) for archive in sorted(Path(scratch).glob("*.zip"))]


def normalise(archive: Path, target: Path) -> Path:
    """Write ``archive`` to ``target`` with sorted names, no times and plain permissions."""
    aside = target.with_suffix(".part")
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(aside, "w", compresslevel=9) as clean:
        for info in sorted(source.infolist(), key=lambda info: info.filename):
            plain = zipfile.ZipInfo(info.filename, NO_TIME)
            plain.create_system, plain.external_attr = 3, 0o100644 << 16
            plain.compress_type = info.compress_type
            clean.writestr(plain, source.read(info))
    os.replace(aside, target)
    return target


def run_extension(blender: str, *words: str) -> None:
    done = subprocess.run([blender, "--command", "extension", *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"Blender's extension {words[0]} failed:\n{done.stdout}{done.stderr}")


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    main(sys.argv[1:])
