"""Which picture a face shows where each material has an image of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from csd_addon.core.checks import overlap_problem, sharing
from csd_addon.core.images import image_file, image_of, layout, parts, picture_file
from csd_addon.core.mesh import MeshData
from csd_addon.core.settings import JobSettings
from tests import shapes

QUAD = np.float32([[(0, 0), (1, 0), (1, 1)], [(0, 0), (1, 1), (0, 1)]])


def overlapping() -> MeshData:
    """A cube whose faces show two images in turn; within each they lie side by side, and the two on each other."""
    places = np.float32([(0, 0), (1 / 2, 0), (0, 1 / 2)]).repeat(2, axis=0)
    uvs = np.concatenate([QUAD * 0.45 + 0.02 + place for place in places])
    return replace(shapes.cube(), corner_uvs=uvs, image=np.tile(np.int32([0, 0, 1, 1]), 3))


def test_the_faces_of_each_image_are_a_layout_of_their_own() -> None:
    mesh = overlapping()
    image = np.where(np.arange(12) == 5, -1, mesh.image)
    uvs = mesh.corner_uvs.copy()
    # Of the second image one face lies on the next tile; the first one is a single picture elsewhere.
    uvs[[2, 3]] += np.float32([1, 0])
    uvs[image == 0] += np.float32([3, 0])
    number, inside = layout(replace(mesh, corner_uvs=uvs, image=image.astype(np.int32)))
    expected = np.where(image == 0, 0, np.where(np.isin(np.arange(12), (2, 3)), 11002, 11001))
    expected[5] = -1
    assert number.tolist() == expected.tolist() and number.dtype == np.int32
    assert np.allclose(inside[image == 1], mesh.corner_uvs[image == 1], atol=1e-6)
    assert np.array_equal(inside[image == 0], uvs[image == 0])
    found = parts(replace(mesh, corner_uvs=uvs, image=image.astype(np.int32)))
    assert {n: len(part.triangles) for n, part in found.items()} == {0: 5, 11001: 4, 11002: 2}
    assert [image_of(n) for n in found] == [0, 1, 1]


def test_one_image_for_all_is_numbered_by_its_tiles_alone() -> None:
    mesh = shapes.cube()
    assert list(parts(mesh)) == [0]
    uvs = mesh.corner_uvs.copy()
    uvs[8:] += np.float32([0, 1])
    assert list(parts(replace(mesh, corner_uvs=uvs))) == [1001, 1011]


def test_files_of_images_and_their_pictures() -> None:
    path = Path("result") / "basecolor.png"
    numbers = (0, 1002, 10_000, 21_011)
    assert [picture_file(path, n).name for n in numbers] == [
        "basecolor.png", "basecolor.1002.png", "basecolor_1.png", "basecolor_2.1011.png",
    ]  # fmt: skip
    assert image_file(path, 0) == path and image_file(path, 3).name == "basecolor_3.png"


def test_materials_that_lie_on_each_other_share_no_texels_with_images_of_their_own() -> None:
    mesh = overlapping()
    assert overlap_problem(mesh, "Crate") is None
    assert "100% of the texels" in (overlap_problem(replace(mesh, image=None), "Crate") or "")


@pytest.mark.parametrize(("kind", "several", "images"), [("texture", True, "one"), ("texture", True, "material"),
                                                         ("texture", False, "one"), ("edit", True, "one")])  # fmt: skip
def test_the_remedy_is_named_where_it_is_one(kind: str, several: bool, images: str) -> None:
    said = sharing(0.5, JobSettings(kind=kind, prompt="x", target="y", images=images), several_materials=several)
    assert said.startswith("50% of the texels are shared by several faces") and said.endswith(".")
    assert ("set Images to one per material" in said) == (kind == "texture" and several and images == "one")


def test_the_image_of_each_face_is_kept_and_checked(tmp_path: Path) -> None:
    mesh = overlapping()
    mesh.save(tmp_path / "mesh.npz")
    assert np.array_equal(MeshData.load(tmp_path / "mesh.npz").image, mesh.image)
    shapes.cube().save(tmp_path / "mesh.npz")
    assert MeshData.load(tmp_path / "mesh.npz").image is None
    image = mesh.image
    for wrong in (image * 2 - 2, image * 40_000, image * 0 - 1, image.astype(np.int64), image[1:]):
        arrays = {name: getattr(mesh, name) for name in ("positions", "triangles", "corner_normals", "corner_uvs")}
        np.savez(tmp_path / "mesh.npz", **arrays, image=wrong)
        with pytest.raises(ValueError, match=r"mesh\.npz is damaged or missing"):
            MeshData.load(tmp_path / "mesh.npz")
