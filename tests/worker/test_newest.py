"""Loading and stepping with the newest published diffusers and transformers: fetched for this test alone, ``-m slow``.

The pinned ones are what everything else here runs on. The newest lie in a folder of their own before them on the
path; torch stays the environment's.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARIES = ("diffusers", "transformers", "safetensors", "tokenizers", "huggingface_hub")
# What a teacher goes through: folder, single file, the hub's cache, LoRA, and a step of the loop.
ROADS = ("test_teacher.py", "test_sources.py", "test_step.py")


@pytest.mark.slow
def test_the_round_trip_survives_the_newest_libraries(tmp_path: Path) -> None:
    if not importlib.util.find_spec("pip"):
        pytest.skip("this environment has no pip to fetch them with")
    newest = tmp_path / "newest"
    words = ["install", "--quiet", "--no-compile", "--target", str(newest), *LIBRARIES[:2]]
    fetched = run("-m", "pip", *words)
    assert fetched.returncode == 0, fetched.stdout
    said = run("-c", f"import json, {', '.join(LIBRARIES)}\nprint(json.dumps([{{m.__name__: m.__version__, 'of': "
               f"m.__file__}} for m in ({', '.join(LIBRARIES)},)]))", path=newest)  # fmt: skip
    assert said.returncode == 0, said.stdout
    found = json.loads(said.stdout.splitlines()[-1])
    print([{name: version for name, version in one.items() if name != "of"} for one in found])
    assert all(Path(one["of"]).is_relative_to(newest) for one in found), "the newest ones are looked at, not the pinned"
    tests = [str(Path(__file__).with_name(name)) for name in ROADS]
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, path=newest)
    print(done.stdout[-600:])
    assert done.returncode == 0


def run(*words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONPATH": str(path)} if path else None
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, encoding="utf-8", timeout=900,
    )  # fmt: skip
