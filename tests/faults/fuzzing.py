"""Hostile bytes for everything that reads what another program wrote: ``python -m tests.faults.fuzzing [INPUTS]``.

Each target takes an input and must end in a value or in the one exception that it promises, with one sentence; nothing
may be read, written or named outside of its folder. The command runs at least INPUTS inputs (100,000 without a number),
shared among the targets, and prints counts.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from csd_addon.core.mesh import MeshData
from csd_addon.core.polygons import load_layer, save_layer
from csd_addon.core.source import EditSource, Tile, load_edited, save_edited
from csd_addon.jobs.folder import JobFolder, read_json
from csd_addon.jobs.history import gradient_norms, list_runs
from csd_addon.jobs.state import JobState, transition
from csd_addon.protocol import ProtocolError, decode, encode
from csd_addon.runtime.errors import TeacherMissing
from csd_addon.runtime.teachers.diffusers_folder import check_layout
from tests import shapes

WORDS = (
    "hello start phase progress preview warning error cancelled done type protocol versions folder resume name detail "
    "iteration of seconds_left norms memory_mb path sentence kind paths report settings object prompt seconds total "
    "weight_map"
).split()
PATHS = ["..", "../..", "/", "/etc/passwd", "result/../..", "result", "preview/x.png", "\x00", "a" * 300, "~", ""]

text = st.sampled_from(WORDS + PATHS) | st.text(max_size=8)
scalar = st.none() | st.booleans() | st.integers() | st.floats() | text | st.sampled_from([1e308, -1, 2**70, 10**400])
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=5), max_leaves=12
)
objects = st.dictionaries(text, value, max_size=8)
typed = st.builds(lambda body, kind: {**body, "type": kind}, objects, st.sampled_from(WORDS))
lines = st.builds(lambda body: json.dumps(body).encode(), typed | value)
edits = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6), st.integers(0, 40)), max_size=6)


def mutated(data: bytes, changes: list[tuple[float, bytes, int]]) -> bytes:
    """``data`` with some bytes replaced by others, at places that are shares of its length."""
    for place, new, skip in changes:
        at = int(place * len(data))
        data = data[:at] + new + data[at + skip :]
    return data


text_bytes = st.binary(max_size=80) | lines | st.builds(mutated, lines, edits)


def _samples() -> dict[str, bytes]:
    """A sound file of each kind."""
    tile = Tile(np.full((4, 4, 4), 0.5, np.float32), False, np.ones((1, 1), np.float32))
    source = EditSource({0: tile}, np.zeros(12, np.int32), shapes.cube().corner_uvs, np.ones((12, 3), np.float32))
    mesh = replace(shapes.cube(), image=np.arange(12, dtype=np.int32) // 6)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "x.npz"
        found = {}
        for name, save in (("mesh", mesh.save), ("source", source.save),
                           ("layer", lambda p: save_layer(p, tile.pixels.ravel())),
                           ("edited", lambda p: save_edited(p, {0: tile.pixels}))):  # fmt: skip
            save(path)
            found[name] = path.read_bytes()
    return found


SOUND = _samples()


def _lying_header(shape: list[int], kind: str) -> bytes:
    """An .npz whose arrays claim any shape and type."""
    head = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {tuple(shape)!r}, }}\n".encode()
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name in ("positions", "triangles", "corner_normals", "corner_uvs", "image", "tiles", "number", "uvs", "0"):
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + b"\0" * 24)
    return body.getvalue()


kinds = st.sampled_from(["<f4", "<i4", "|O", "<U9", "|V8", "<c8", ">f8", "|b1", "nonsense", "<m8[s]", "<f4,<i4"])
headers = st.builds(_lying_header, st.lists(st.integers(-1, 2**62) | st.integers(0, 8), max_size=5), kinds)


def arrays_of(name: str) -> st.SearchStrategy[bytes]:
    return st.builds(mutated, st.just(SOUND[name]), edits) | headers | st.binary(max_size=60)


# --- Targets: each takes an input and a scratch folder, and says how it ended -------------------------------------


def protocol(line: bytes, _: Path) -> str:
    try:
        message = decode(line)
    except ProtocolError:
        return "refused"
    assert decode(encode(message)) == message
    transition(JobState(status="running"), message)
    return "accepted"


def job_folder(files: list[tuple[str, bytes]], scratch: Path) -> str:
    folder = JobFolder(scratch / "runs" / "job")
    folder.create()
    for name, data in files:
        (folder.path / name).write_bytes(data)
    try:
        ended = "accepted" if read_json(folder.job) is not None else ""
    except ValueError as error:
        require_sentence(error)
        ended = "refused"
    (entry,) = list_runs(scratch / "runs")
    assert entry.words is not None and entry.seconds >= 0 and entry.picture is None
    gradient_norms(folder)
    return ended


def inside(path: str, scratch: Path) -> str:
    folder = JobFolder(scratch / "inside").create()
    answer = folder.contains(folder.path / path)
    if "\0" not in path:
        root = os.path.realpath(folder.path)
        real = os.path.realpath(folder.path / path)
        assert not answer or real == root or real.startswith(root + os.sep), "an escape"
    return "accepted" if answer else "refused"


def _reads(read: Callable[[Path], Any]) -> Callable[[bytes, Path], str]:
    def target(data: bytes, scratch: Path) -> str:
        path = scratch / "x.npz"
        path.write_bytes(data)
        try:
            read(path)
        except ValueError as error:
            require_sentence(error)
            return "refused"
        return "accepted"

    return target


def catalogue(data: bytes, scratch: Path) -> str:
    folder = scratch / "teacher" / "unet"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_bytes(data)
    try:
        for missing in check_layout(folder.parent):
            assert ".." not in Path(missing.split(" ")[0]).parts
    except TeacherMissing as error:
        require_sentence(error)
        return "refused"
    return "accepted"


def require_sentence(error: Exception) -> None:
    assert str(error) and len(str(error)) < 4000 and "Traceback" not in str(error)


names = st.sampled_from(["job.json", "events.jsonl", "result/report.json", "worker.log"])
shards = st.builds(lambda shards: json.dumps({"weight_map": shards}).encode(), st.dictionaries(text, value, max_size=4))
TARGETS: dict[str, tuple[Callable[[Any, Path], str], st.SearchStrategy[Any]]] = {
    "protocol": (protocol, text_bytes),
    "job folder": (job_folder, st.lists(st.tuples(names, text_bytes), max_size=4)),
    "paths": (inside, st.lists(st.sampled_from(PATHS) | st.text(max_size=5), max_size=4).map("/".join)),
    "mesh": (_reads(MeshData.load), arrays_of("mesh")),
    "source": (_reads(EditSource.load), arrays_of("source")),
    "layer": (_reads(load_layer), arrays_of("layer")),
    "edited": (_reads(load_edited), arrays_of("edited")),
    "catalogue": (catalogue, text_bytes | shards),
}


def fuzz(name: str, inputs: int, *, seed: int | None = None) -> Counter[str]:
    """Run ``inputs`` inputs through a target; returns how many ended how. An escape or a crash raises."""
    target, strategy = TARGETS[name]
    ended: Counter[str] = Counter()
    limits = settings(
        max_examples=inputs, deadline=None, database=None, phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck), derandomize=seed is None,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:

        @limits
        @given(strategy)
        def run(data: Any) -> None:
            ended[target(data, Path(scratch))] += 1

        run()
    return ended


def main() -> None:
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    total = 0
    for name in TARGETS:
        began, ended = time.process_time(), Counter[str]()
        # Small input spaces run dry before their share is reached.
        while sum(ended.values()) < -(-inputs // len(TARGETS)):
            ended += fuzz(name, -(-inputs // len(TARGETS)) - sum(ended.values()), seed=1)
        total += sum(ended.values())
        print(f"{name:12} {dict(ended)} {time.process_time() - began:.0f} CPU s", flush=True)
    print(f"{total} inputs, 0 crashes, 0 escapes")


if __name__ == "__main__":
    main()
