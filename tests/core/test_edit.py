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
from csd_addon.core.edit import way
from csd_addon.core.mesh import MeshData
from csd_addon.core.recipe import PRESETS, Distill, Paint, Recipe, Sample, constant
from csd_addon.core.resolving import resolve
from csd_addon.core.settings import JobSettings
from csd_addon.core.source import EditSource, Tile, load_edited, save_edited
from tests import shapes
from tests.recipes import number, numbers_of

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
        "run": {"iterations": 77}, "change": {"anchor": 0.1, "reference": True},
        "distill": {"w2": [0.1, 0.9, 0.3, 0.8], "t_min": [0.2, 0.1, 0.02, 0.2], "t_max": [0.2, 0.7, 0.4, 0.2]},
    }  # fmt: skip
    recipe = resolve(replace(EDIT, preset=preset, keep=keep), {"edit": {"presets": {preset: numbers}}})
    wanted = {name: value for values in numbers.values() for name, value in values.items()}
    got = {name: number(recipe, name) for name in wanted}
    expected = {name: tuple(v) if isinstance(v, list) else v for name, v in wanted.items()}
    assert got == {**expected, "anchor": 0.0}, "nothing pulls back at full strength"


def test_the_two_ways_differ_in_the_reference_branch() -> None:
    assert number(resolve(replace(EDIT, keep="pattern"), {}), "reference")
    replaced = resolve(replace(EDIT, keep="nothing"), {})
    assert not number(replaced, "reference") and max(number(replaced, "w2")[1:3]) > 0


def both(settings: JobSettings, weak: float, strong: float) -> tuple[Recipe, Recipe]:
    return resolve(replace(settings, strength=weak), {}), resolve(replace(settings, strength=strong), {})


@given(strengths, strengths, st.sampled_from(tuple(PRESETS)), st.sampled_from(["pattern", "nothing"]))
def test_a_weaker_edit_is_pulled_back_more_and_pushed_less(a: float, b: float, preset: str, keep: str) -> None:
    weak, strong = both(replace(EDIT, preset=preset, keep=keep), min(a, b), max(a, b))
    one, two = numbers_of(weak), numbers_of(strong)
    assert one["anchor"] >= two["anchor"] >= 0
    assert one["anchor"] > two["anchor"] or max(a, b) - min(a, b) < 1e-6
    for k in (1, 2):
        assert one["t_max"][k] <= two["t_max"][k] and one["w2"][k] <= two["w2"][k]
        assert one["t_min"][k] <= one["t_max"][k], "there is always a range of noise levels to draw from"
    assert (one["t_max"][0], one["t_max"][3]) == (two["t_max"][0], two["t_max"][3])


def test_half_strength_in_numbers() -> None:
    # The module's docstring: anchor (1/s - 1), t_min + (t_max - t_min) (1 + s)/2, s w2.
    wishes = {"edit": {"recipe": {"change": {"anchor": 0.1}, "distill": {"t_min": 0.1, "t_max": 0.5}},
                       "replace": {"distill": {"w2": 0.8}}}}  # fmt: skip
    half, fifth = (resolve(replace(EDIT, keep="nothing", strength=s), wishes) for s in (0.5, 0.2))
    assert number(half, "anchor") == pytest.approx(0.1) and number(fifth, "anchor") == pytest.approx(0.4)
    assert number(half, "t_max") == pytest.approx((0, 0.4, 0.4, 0))
    assert number(half, "w2") == pytest.approx((0, 0.4, 0.4, 0))


FALLING = (0.0, 0.9, 0.1, 1.0)
PAINTING = {"edit": {
    "recipe": {"distill": {"t_max": 0.5}},
    "replace": {"method": "sample", "sample": {"guidance": 2.0, "noise_level": FALLING, "negative_weight": 0.8}},
}}  # fmt: skip


def test_half_of_painting_over_in_numbers() -> None:
    # The module's docstring: end + (noise_level - end) s, s opacity, s negative_weight.
    half, whole = (resolve(replace(EDIT, keep="nothing", strength=s), PAINTING) for s in (0.5, 1.0))
    assert isinstance(half.mover, Sample) and isinstance(whole.mover, Sample)
    assert half.mover.guidance == whole.mover.guidance == 2
    assert half.mover.noise_level == pytest.approx((0, 0.5, 0.1, 1)) and whole.mover.noise_level == FALLING
    assert (half.edit, whole.edit) == (Paint(0.5), Paint(1.0))
    assert half.mover.negative_weight == pytest.approx((0, 0.4, 0.4, 0))


def test_only_csd_that_replaces_the_pattern_is_sampled() -> None:
    for change in ({"keep": "nothing", "loss": "sds"}, {"keep": "pattern"}, {"keep": "nothing", "method": "distill"}):
        distilled = resolve(replace(EDIT, **change), PAINTING)
        assert isinstance(distilled.mover, Distill) and distilled.mover.t_max == constant(0.5), change
    assert isinstance(resolve(replace(EDIT, keep="nothing", method="sample"), {}).mover, Sample)
    with pytest.raises(ValueError, match="Sampling replaces the pattern, and this edit keeps it: set the method to"):
        resolve(replace(EDIT, keep="pattern", method="sample"), {})
    with pytest.raises(ValueError, match="SDS is a loss of distillation: set the method to distill, or the loss to"):
        resolve(replace(EDIT, keep="nothing", loss="sds", method="sample"), {})


def test_nobody_paints_over_more_than_all() -> None:
    with pytest.raises(ValueError, match="'opacity' is 1.5; it must lie between 0.0 and 1.0"):
        resolve(replace(EDIT, keep="nothing", method="sample", expert={"opacity": 1.5}), {})


def test_no_strength_is_no_step_even_where_the_artist_asks_for_some() -> None:
    assert resolve(replace(EDIT, strength=0.0), {}).run.iterations == 0
    assert resolve(replace(EDIT, strength=0.0, iterations=50), {}).run.iterations == 0
    assert resolve(replace(EDIT, strength=0.5, iterations=50), {}).run.iterations == 50


def test_the_artists_hand_wins_over_strength_but_not_over_none_at_all() -> None:
    expert = {"anchor": 0.3, "w2": 0.7, "t_max": 0.6, "iterations": 9, "reference": False}
    settings = replace(EDIT, strength=0.5, iterations=50, expert=expert)
    recipe = resolve(settings, {"edit": {"recipe": {"distill": {"w2": 0}}}})
    assert {name: number(recipe, name) for name in expert} == {
        **expert, "w2": constant(0.7), "t_max": constant(0.6),
    }  # fmt: skip
    assert resolve(replace(EDIT, strength=0.0, expert=expert), {}).run.iterations == 0


def test_layers_of_wishes_and_their_order() -> None:
    """Each layer sets all numbers that the later ones may set, and one that only it decides."""
    names = ("levels", "coarsest", "table_log2", "finest", "resolution", "view_pool", "views_per_step")
    field = ("levels", "coarsest", "table_log2", "finest")

    def layer(rank: int) -> dict:
        mine = dict.fromkeys(names[rank - 1 :], rank)
        of = {part: {n: v for n, v in mine.items() if (n in field) == (part == "field")} for part in ("field", "views")}
        return {part: values for part, values in of.items() if values}

    wishes = {
        "recipe": layer(1), "methods": {"distill": layer(2), "sample": {"field": {"levels": 97}}},
        "presets": {"draft": layer(3), "paper": {"field": {"levels": 99}}},
        "edit": {
            "recipe": layer(4), "methods": {"distill": layer(5), "sample": {"field": {"levels": 96}}},
            "keep": layer(6), "replace": {"field": {"levels": 98}}, "presets": {"draft": layer(7)},
        },
    }  # fmt: skip
    recipe = resolve(replace(EDIT, preset="draft"), wishes)
    assert tuple(number(recipe, name) for name in names) == (1, 2, 3, 4, 5, 6, 7)
    assert resolve(replace(EDIT, preset="draft", target="moss"), wishes).field.levels == 98


@pytest.mark.parametrize(
    "wishes",
    [{"recipe": {"run": {"speed": 1}}}, {"presets": {"balanced": {"views": {"speed": 1}}}},
     {"methods": {"distill": {"distill": {"speed": 1}}}}, {"edit": {"recipe": {"change": {"speed": 1}}}},
     {"edit": {"keep": {"guide": {"speed": 1}}}}, {"edit": {"presets": {"balanced": {"field": {"speed": 1}}}}}],
)  # fmt: skip
def test_an_unknown_number_is_named_in_every_layer(wishes: dict) -> None:
    with pytest.raises(ValueError, match=r"Unknown setting in the teacher's csd.json \(teacher.*\): speed; there are"):
        resolve(EDIT, wishes)


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
    for place, tile in again.tiles.items():
        before = made.tiles[place]
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
