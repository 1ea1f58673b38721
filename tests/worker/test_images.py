"""Materials that lie on each other in the UV map, each with an image of its own: every texel right, and said so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from csd_addon.core.images import parts
from csd_addon.core.mesh import MeshData, Normalization
from csd_addon.jobs.folder import JobFolder, read_json, write_json
from csd_addon.worker.bake.bake import bake, build_atlas
from csd_addon.worker.bake.measure import Filling, measure
from csd_addon.worker.serve.control import JobFailure
from tests.core.test_images import overlapping
from tests.worker.test_bake import PositionField
from tests.worker.test_run import make_folder, run


def figures(mesh: MeshData) -> dict:
    normalization, images, fillings = Normalization.of(mesh.positions), {}, []
    for number, part in parts(mesh).items():
        atlas = build_atlas(part, normalization, (256, 256))
        images[number] = bake(PositionField(), atlas)[0]
        fillings.append(Filling.of(atlas))
    return measure(PositionField(), parts(mesh), normalization, images, fillings)


def test_what_is_wrong_with_one_image_is_right_with_one_for_each_material() -> None:
    one, each = figures(replace(overlapping(), image=None)), figures(overlapping())
    for name, found in (("one image", one), ("one for each material", each)):
        seams, shared = found["seam_error"]["max"], found["overlap"]
        print(f"{name}: {found['bake_psnr']:.1f} dB, largest seam {seams:.1f} of 255, shared {shared:.0%}")
    assert one["bake_psnr"] < 25 and one["overlap"] > 0.9
    assert each["bake_psnr"] > 45 and each["seam_error"]["max"] < 4 and each["overlap"] == 0 and each["coverage"] == 1


def folder_of(tmp_path: Path, **settings) -> JobFolder:
    folder = make_folder(tmp_path, images="material", iterations=1, **settings)
    overlapping().save(folder.mesh)
    images = [{"material": name, "slots": [k]} for k, name in enumerate(("Wood", "é 🪵"))]
    write_json(folder.job, {**read_json(folder.job), "images": images, "materials": 2})
    return folder


def test_a_job_writes_and_reports_an_image_for_each_material(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, unseen_map=True)
    report = run(folder)[-1].report
    assert sorted(path.name for path in folder.result.glob("*.png")) == [
        "basecolor.png", "basecolor_1.png", "unseen.png", "unseen_1.png",
    ]  # fmt: skip
    assert [(i["material"], i["files"]) for i in report["images"]] == [
        ("Wood", ["basecolor.png"]), ("é 🪵", ["basecolor_1.png"]),
    ]  # fmt: skip
    assert all(i["coverage"] == 1 and i["overlap"] == 0 and 0 <= i["unseen"] < 0.1 for i in report["images"])
    assert report["coverage"] == 1 and report["overlap"] == 0 and report["warnings"] == []
    assert report["unseen_map"] == ["unseen.png", "unseen_1.png"]


def test_one_image_for_several_materials_names_the_remedy(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, iterations=1)
    replace(overlapping(), image=None).save(folder.mesh)
    for count in (1, 2):
        write_json(folder.job, {**read_json(folder.job), "materials": count})
        (warning,) = run(folder)[-1].report["warnings"]
        assert warning.startswith("100% of the texels are shared by several faces")
        assert ("set Images to one per material" in warning) == (count == 2)
    assert "images" not in read_json(folder.report)


@pytest.mark.parametrize("images", [None, 3, [], [{"material": "Wood"}], [3, 4], [{"material": "Wood"}] * 3])
def test_a_job_whose_images_do_not_fit_its_mesh_is_a_sentence(tmp_path: Path, images: object) -> None:
    folder = folder_of(tmp_path)
    write_json(folder.job, {**read_json(folder.job), "images": images})
    words = r"which materials its images are for\.|names \d images, and the faces"
    with pytest.raises(JobFailure, match=words) as error:
        run(folder)
    assert error.value.kind == "input" and not list(folder.result.iterdir())
