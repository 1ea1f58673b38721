"""Some of the fuzzer's inputs (``fuzzing.py`` runs as many as wanted), and tricks that it would not find soon."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from csd_addon.core.arrays import load_arrays  # noqa: E402
from csd_addon.core.mesh import MeshData  # noqa: E402
from csd_addon.jobs.folder import JobFolder, read_json  # noqa: E402
from csd_addon.protocol import Cancelled, Progress, ProtocolError, decode  # noqa: E402
from csd_addon.runtime.errors import TeacherMissing  # noqa: E402
from csd_addon.runtime.teachers.diffusers_folder import missing_network  # noqa: E402
from tests import shapes  # noqa: E402
from tests.faults.fuzzing import TARGETS, fuzz  # noqa: E402


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_input_is_refused_or_read(name: str) -> None:
    ended = fuzz(name, 300)
    print(f"{name}: {dict(ended)}")
    assert ended["refused"] > 0 and (ended["accepted"] > 0 or name == "edited")


def test_a_header_that_claims_a_petabyte_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    shapes.cube().save(path)
    lie = b"'shape': (99999999999999, 3), }"
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    head = parts["positions.npy"].index(b"'shape'")
    parts["positions.npy"] = (parts["positions.npy"][:head] + lie).ljust(127) + b"\n"
    with zipfile.ZipFile(path, "w") as new:
        for name, data in parts.items():
            new.writestr(name, data)
    with pytest.raises(ValueError, match="claims .* bytes and has 128"):
        MeshData.load(path)


def test_a_bomb_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.zeros(4_000_000))
    print(f"{path.stat().st_size} bytes hold 32 MB")
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match="more than is allowed"):
        load_arrays(path, limit=1_000_000)


def test_pickles_are_no_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([{"os": "system"}], dtype=object))
    with pytest.raises(ValueError, match="no plain array of numbers"):
        load_arrays(tmp_path / "x.npz", limit=10**6)


def test_a_triangle_of_missing_vertices_is_refused(tmp_path: Path) -> None:
    cube = shapes.cube()
    wrong = MeshData(cube.positions[:5], cube.triangles, cube.corner_normals, cube.corner_uvs)
    wrong.save(tmp_path / "x.npz")
    with pytest.raises(ValueError, match="names a vertex that is not there"):
        MeshData.load(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "line",
    [b'{"type":"progress","iteration":"1","of":2,"seconds_left":1}', b'{"type":"cancelled","iteration":true}',
     b'{"type":"progress","iteration":1,"of":2,"seconds_left":NaN}', b'{"type":"progress","iteration":1,"of":2,'
     b'"seconds_left":1e999}', b"[" * 100_000, b'{"type":"done","paths":{"a":1},"report":{}}'],
)  # fmt: skip
def test_messages_hold_what_they_say(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(line)
    assert decode(b'{"type":"cancelled","iteration":3}') == Cancelled(3)
    assert decode(b'{"type":"progress","iteration":1,"of":2,"seconds_left":3}') == Progress(1, 2, 3)


@pytest.mark.parametrize("path", ["..", "../x", "result/../../x", "/etc/passwd", "link/x"])
def test_no_path_leaves_the_folder(path: str, tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "job").create()
    (folder.path / "link").symlink_to(tmp_path)
    assert not folder.contains(folder.path / path) and folder.contains(folder.basecolor)
    with pytest.raises(ValueError, match="is a link"):
        folder.require_own_files()


def test_far_too_large_a_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with open(path, "wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(ValueError, match="far too large"):
        read_json(path)


@pytest.mark.parametrize("shard", ["../../x", "/etc/passwd", "a/b", "", 7, "a" * 256, "/" * 10_000])
def test_shards_lie_beside_their_index(shard: object, tmp_path: Path) -> None:
    index = {"weight_map": {"a": shard}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(TeacherMissing, match="no file beside it"):
        missing_network(tmp_path, "model")


def test_a_stream_of_zeros_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(io.BytesIO(b"\0" * 5000).getvalue())
    with pytest.raises(ValueError):
        load_arrays(path, limit=10**6)
