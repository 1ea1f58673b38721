"""What an edit's words and strength become, what its settings may be, and the file that holds what it starts from."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csd_addon.core.atlas import chart_labels
from csd_addon.core.color import decode_srgb
from csd_addon.core.edit import resolve_edit, way
from csd_addon.core.mesh import MeshData
from csd_addon.core.recipe import PRESETS, Recipe, constant
from csd_addon.core.settings import JobSettings
from csd_addon.core.source import EditSource, Tile, load_edited, save_edited
from tests import shapes

EDIT = JobSettings(kind="edit", target="blue brick", remove="red brick", size=0)
strengths = st.floats(0.01, 1)


@pytest.mark.parametrize(
    ("target", "remove", "expected"),
    [("blue brick", "red brick", "keep"),
     ("blue bricks", "Red BRICK", "keep"),
     ("a wall of blue brick", "wall, red", "keep"),
     ("mossy grass", "dry grass", "keep"),
     ("red wood", "red brick", "replace"),
     ("dark red wood with gold", "the dark red brick with gold", "replace"),
     ("blue", "red brick", "replace"),
     ("blue brick", "", "replace"),
     ("bricklayer", "brick", "replace"),
     ("mauer grün", "grün mauer", "keep")],
)  # fmt: skip
def test_a_word_in_both_prompts_that_is_no_colour_keeps_the_pattern(target: str, remove: str, expected: str) -> None:
    assert way(replace(EDIT, target=target, remove=remove)) == expected


@pytest.mark.parametrize(("keep", "expected"), [("pattern", "keep"), ("nothing", "replace")])
def test_what_the_artist_says_about_the_pattern_counts_more_than_the_words(keep: str, expected: str) -> None:
    for words in ({}, {"target": "moss", "remove": ""}):
        assert way(replace(EDIT, keep=keep, **words)) == expected


@pytest.mark.parametrize("preset", tuple(PRESETS))
@pytest.mark.parametrize("keep", ["pattern", "nothing"])
def test_full_strength_is_the_recipe_itself_without_the_pull_back(preset: str, keep: str) -> None:
    numbers = {
        "anchor": 0.1, "w2": [0.1, 0.9, 0.3, 0.8], "t_min": [0.2, 0.1, 0.02, 0.2], "t_max": [0.2, 0.7, 0.4, 0.2],
        "reference": True, "iterations": 77,
    }  # fmt: skip
    recipe = resolve_edit(replace(EDIT, preset=preset, keep=keep), {"edit": {"presets": {preset: numbers}}})
    got = {name: getattr(recipe, name) for name in numbers}
    expected = {name: tuple(v) if isinstance(v, list) else v for name, v in numbers.items()}
    assert got == {**expected, "anchor": 0.0}, "nothing pulls back at full strength"


def test_the_two_ways_differ_in_the_reference_branch() -> None:
    assert resolve_edit(replace(EDIT, keep="pattern"), {}).reference
    replaced = resolve_edit(replace(EDIT, keep="nothing"), {})
    assert not replaced.reference and max(replaced.w2[1:3]) > 0


def both(settings: JobSettings, weak: float, strong: float) -> tuple[Recipe, Recipe]:
    return resolve_edit(replace(settings, strength=weak), {}), resolve_edit(replace(settings, strength=strong), {})


@given(strengths, strengths, st.sampled_from(tuple(PRESETS)), st.sampled_from(["pattern", "nothing"]))
def test_a_weaker_edit_is_pulled_back_more_and_pushed_less(a: float, b: float, preset: str, keep: str) -> None:
    weak, strong = both(replace(EDIT, preset=preset, keep=keep), min(a, b), max(a, b))
    assert weak.anchor >= strong.anchor >= 0
    assert weak.anchor > strong.anchor or max(a, b) - min(a, b) < 1e-6
    for k in (1, 2):
        assert weak.t_max[k] <= strong.t_max[k] and weak.w2[k] <= strong.w2[k]
        assert weak.t_min[k] <= weak.t_max[k], "there is always a range of noise levels to draw from"
    assert (weak.t_max[0], weak.t_max[3]) == (strong.t_max[0], strong.t_max[3])


def test_half_strength_in_numbers() -> None:
    # The module's docstring: anchor (1/s - 1), t_min + (t_max - t_min) (1 + s)/2, s w2.
    wishes = {"edit": {"recipe": {"anchor": 0.1, "t_min": [0, 0.1, 0.1, 0], "t_max": [0, 0.5, 0.5, 0]},
                       "replace": {"w2": [0, 0.8, 0.8, 0]}}}  # fmt: skip
    half, fifth = (resolve_edit(replace(EDIT, keep="nothing", strength=s), wishes) for s in (0.5, 0.2))
    assert half.anchor == pytest.approx(0.1) and fifth.anchor == pytest.approx(0.4)
    assert half.t_max == pytest.approx((0, 0.4, 0.4, 0))
    assert half.w2 == pytest.approx((0, 0.4, 0.4, 0))


FALLING = (0.0, 0.9, 0.1, 1.0)
PAINTING = {"edit": {
    "recipe": {"t_max": [0, 0.5, 0.5, 0]},
    "replace": {"stride": 2.0, "t_min": FALLING, "t_max": FALLING, "w2": [0, 0.8, 0.8, 0]},
}}  # fmt: skip


def test_half_of_painting_over_in_numbers() -> None:
    # The module's docstring: t_end + (t - t_end) s, s opacity, s w2.
    half, whole = (resolve_edit(replace(EDIT, keep="nothing", strength=s), PAINTING) for s in (0.5, 1.0))
    assert half.stride == whole.stride == 2
    assert half.t_min == half.t_max == pytest.approx((0, 0.5, 0.1, 1)) and whole.t_max == FALLING
    assert (half.opacity, whole.opacity) == (0.5, 1.0)
    assert half.w2 == pytest.approx((0, 0.4, 0.4, 0))


def test_only_csd_that_replaces_the_pattern_strides() -> None:
    sds = resolve_edit(replace(EDIT, keep="nothing", loss="sds"), PAINTING)
    assert sds.stride == 0 and sds.t_max == (0, 0.5, 0.5, 0), "as if the teacher had said nothing of this way"
    assert resolve_edit(replace(EDIT, keep="pattern"), PAINTING).stride == 0
    by_hand = {"stride": 2.0, "t_max": FALLING}
    assert resolve_edit(replace(EDIT, keep="nothing", expert=by_hand), {}).stride == 2
    for change in ({"keep": "pattern"}, {"keep": "nothing", "loss": "sds"}):
        with pytest.raises(ValueError, match="'stride' is for CSD that replaces the pattern"):
            resolve_edit(replace(EDIT, expert=by_hand, **change), {})


def test_nobody_paints_over_more_than_all() -> None:
    with pytest.raises(ValueError, match="'opacity' is 1.5; it must lie between 0.0 and 1.0"):
        resolve_edit(replace(EDIT, expert={"opacity": 1.5}), {})


def test_no_strength_is_no_step_even_where_the_artist_asks_for_some() -> None:
    assert resolve_edit(replace(EDIT, strength=0.0), {}).iterations == 0
    assert resolve_edit(replace(EDIT, strength=0.0, iterations=50), {}).iterations == 0
    assert resolve_edit(replace(EDIT, strength=0.5, iterations=50), {}).iterations == 50


def test_the_artists_hand_wins_over_strength_but_not_over_none_at_all() -> None:
    expert = {"anchor": 0.3, "w2": 0.7, "t_max": 0.6, "iterations": 9, "reference": False}
    settings = replace(EDIT, strength=0.5, iterations=50, expert=expert)
    recipe = resolve_edit(settings, {"edit": {"recipe": {"w2": [0, 0, 0, 0]}}})
    assert {name: getattr(recipe, name) for name in expert} == {
        **expert, "w2": constant(0.7), "t_max": constant(0.6),
    }  # fmt: skip
    assert resolve_edit(replace(EDIT, strength=0.0, expert=expert), {}).iterations == 0


def test_layers_of_wishes_and_their_order() -> None:
    """Each layer sets all numbers that the later ones may set, and one that only it decides."""
    names = ("levels", "coarsest", "table_log2", "resolution", "view_pool")
    order = [dict.fromkeys(names[i:], i + 1) for i in range(5)]
    wishes = {
        "recipe": order[0], "presets": {"draft": order[1], "paper": {"levels": 99}},
        "edit": {"recipe": order[2], "keep": order[3], "replace": {"levels": 98}, "presets": {"draft": order[4]}},
    }  # fmt: skip
    recipe = resolve_edit(replace(EDIT, preset="draft"), wishes)
    assert tuple(getattr(recipe, name) for name in names) == (1, 2, 3, 4, 5)
    assert resolve_edit(replace(EDIT, preset="draft", target="moss"), wishes).levels == 98


@pytest.mark.parametrize(
    "wishes",
    [{"recipe": {"speed": 1}}, {"presets": {"balanced": {"speed": 1}}}, {"edit": {"recipe": {"speed": 1}}},
     {"edit": {"keep": {"speed": 1}}}, {"edit": {"presets": {"balanced": {"speed": 1}}}}],
)  # fmt: skip
def test_an_unknown_number_is_named_in_every_layer(wishes: dict) -> None:
    with pytest.raises(ValueError, match="Unknown setting in the teacher's csd.json: speed"):
        resolve_edit(EDIT, wishes)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"target": ""}, "The target is empty"), ({"target": "  \n"}, "The target is empty"),
     ({"remove": "blue brick"}, "Target and remove say the same"),
     ({"remove": "  Blue   BRICK "}, "Target and remove say the same"),
     ({"strength": 2.0}, "'strength' is 2.0; it must lie between 0.0 and 1.0"),
     ({"strength": -0.1}, "'strength'"), ({"strength": float("nan")}, "'strength'"),
     ({"size": 63}, "'size' is 63"), ({"size": -1}, "'size'"), ({"size": 8193}, "'size'"),
     ({"keep": "shape"}, "'keep' is 'shape'; choose one of: auto, pattern, nothing"), ({"kind": "paint"}, "'kind'")],
)  # fmt: skip
def test_bad_settings_of_an_edit_are_one_sentence(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        replace(EDIT, **change).validate()
    assert str(caught.value).count("\n") == 0 and str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "change", [{}, {"size": 64}, {"remove": ""}, {"strength": 0.0}, {"keep": "nothing"}, {"remove": "brick blue"}]
)
def test_good_settings_of_an_edit(change: dict) -> None:
    settings = replace(EDIT, **change)
    assert settings.validate() is settings and JobSettings.from_json(settings.to_json()) == settings


def test_only_an_edit_may_leave_the_size_to_its_source_and_only_a_texture_needs_a_prompt() -> None:
    assert EDIT.prompt == "" and EDIT.validate().size == 0
    with pytest.raises(ValueError, match="'size' is 0"):
        JobSettings(prompt="red brick", size=0).validate()
    # A new texture does not look at the words of an edit.
    JobSettings(prompt="red brick", target="x", remove="x").validate()


def source() -> EditSource:
    """Two tiles of different sizes and kinds."""
    generator = np.random.default_rng(0)
    tiles = {
        number: Tile(
            generator.uniform(-0.2, 3, (*shape, 4)).astype(np.float32), linear, generator.random((3, 2), np.float32)
        )
        for number, shape, linear in ((1001, (6, 9), False), (1012, (3, 4), True))
    }
    number = generator.choice([-1, 1001, 1012], 12).astype(np.int32)
    return EditSource(tiles, number, generator.random((12, 3, 2), np.float32), generator.random((12, 3), np.float32))


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_a_source_comes_back_bit_for_bit(tmp_path: Path) -> None:
    made = source()
    made.save(tmp_path / "source.npz")
    again = EditSource.load(tmp_path / "source.npz")
    assert all(same(getattr(made, name), getattr(again, name)) for name in ("number", "corner_uvs", "corner_mask"))
    assert list(again.tiles) == [1001, 1012] and [p.name for p in tmp_path.iterdir()] == ["source.npz"]
    for number, tile in again.tiles.items():
        before = made.tiles[number]
        assert same(tile.pixels, before.pixels) and same(tile.painted, before.painted) and tile.linear is before.linear


def test_edited_pixels_come_back_bit_for_bit(tmp_path: Path) -> None:
    made = {number: tile.pixels for number, tile in source().tiles.items()}
    save_edited(tmp_path / "edited.npz", made)
    again = load_edited(tmp_path / "edited.npz")
    assert list(again) == [1001, 1012] and all(same(again[n], made[n]) for n in made)
    assert [p.name for p in tmp_path.iterdir()] == ["edited.npz"]
    (tmp_path / "edited.npz").write_bytes((tmp_path / "edited.npz").read_bytes()[:-40])
    for name in ("edited.npz", "nothing.npz"):
        with pytest.raises(ValueError, match=f"The edited texture .*{name} is damaged or missing"):
            load_edited(tmp_path / name)


def test_a_damaged_source_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "source.npz"
    source().save(path)
    whole, damaged = path.read_bytes(), []
    for place in range(0, len(whole), 97):
        damaged += [whole[:place], whole[:place] + bytes([whole[place] ^ 0xFF] * 8) + whole[place + 8 :]]
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            EditSource.load(path)
        except ValueError as error:
            assert str(error).startswith(f"The source texture {path} is damaged or missing: ")
            refused += 1
    print(f"{refused} of {len(damaged)} damaged files were refused, the others only differ in dates and the like")
    assert refused > 0.8 * len(damaged)
    path.unlink()
    with pytest.raises(ValueError, match="damaged or missing"):
        EditSource.load(path)


def test_a_file_of_another_kind_is_no_source(tmp_path: Path) -> None:
    shapes.cube().save(tmp_path / "mesh.npz")
    others = {"number": np.ones(1, np.int32), "corner_uvs": np.ones((1, 3, 2)), "corner_mask": np.ones((1, 3))}
    tile = {"linear_1001": False, "painted_1001": np.ones((1, 1))}
    np.savez(tmp_path / "pickled.npz", tiles=[1001], pixels_1001=np.array([{}], object), **others, **tile)
    for name in ("mesh.npz", "pickled.npz"):
        with pytest.raises(ValueError, match="damaged or missing"):
            EditSource.load(tmp_path / name)


def test_encoded_colours_of_both_kinds_of_tiles() -> None:
    plain, light = source().tiles.values()
    assert np.array_equal(plain.encoded(), plain.pixels[..., :3].astype(np.float64))
    error = float(np.abs(decode_srgb(light.encoded()) - light.pixels[..., :3]).max())
    print(f"largest error of decoding the encoded light {error:.1e}, tolerance 1e-6")
    assert error < 1e-6 and light.encoded().max() > 1, "bright light is not clipped here"


def test_charts_of_a_cube_and_a_torus() -> None:
    cube, torus = shapes.cube(), shapes.torus()
    labels = chart_labels(cube.triangles, cube.corner_uvs)
    assert (labels[0::2] == labels[1::2]).all() and len(set(labels.tolist())) == 6
    assert len(set(chart_labels(torus.triangles, torus.corner_uvs).tolist())) == 1


def test_charts_need_the_same_vertex_at_the_same_place() -> None:
    torus = shapes.torus()
    right = torus.corner_uvs[:, :, 0].mean(axis=1) > 0.5
    moved = torus.corner_uvs.copy()
    moved[right, :, 0] += 0.01
    assert len(set(chart_labels(torus.triangles, moved).tolist())) == 2, "a cut in UV space alone makes two"
    stacked = np.concatenate([torus.triangles, torus.triangles + len(torus.positions)])
    twins = chart_labels(stacked, np.concatenate([torus.corner_uvs] * 2))
    assert len(set(twins.tolist())) == 2 and (twins[:2304] != twins[2304:]).all(), "two meshes in one place stay two"


def test_charts_do_not_depend_on_the_order_of_the_triangles() -> None:
    mesh: MeshData = shapes.cube()
    order = np.random.default_rng(1).permutation(12)
    one, other = (chart_labels(mesh.triangles[o], mesh.corner_uvs[o]) for o in (np.arange(12), order))
    assert ((one[order][:, None] == one[order]) == (other[:, None] == other)).all()
    assert len(chart_labels(np.zeros((0, 3), np.int32), np.zeros((0, 3, 2), np.float32))) == 0
