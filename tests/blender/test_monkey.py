"""Two hundred random actions in a real window: no traceback, no worker left behind, no preview in the file."""

from __future__ import annotations

import os
from pathlib import Path

from tests.blender.conftest import Window

SEED = int(os.environ.get("CSD_MONKEY_SEED", "1"))
ACTIONS = 200

SCRIPT = """
import faulthandler, random
SEED, ACTIONS = map(int, WORDS)
worker = own("drive.warm_worker").shared_worker
faulthandler.enable()
dice = random.Random(SEED)
found.update(done=[], refused={}, tracebacks=[], workers=[])

def pick():
    return bpy.context.view_layer.objects.active

def texture():
    values = {"prompt": dice.choice(["red brick", "red brick", "crash", ""]), "size": 64}
    bpy.ops.csd.texture("INVOKE_DEFAULT", iterations=dice.choice([5, 40, 100000]), **values)

def edit():
    bpy.ops.csd.edit("INVOKE_DEFAULT", target="blue brick", remove="red brick", iterations=dice.choice([5, 100000]),
                     mask=dice.choice(["", "faces", "group:Nope"]))

def rename():
    pick().name = dice.choice(["Crate", "Barrel", "Lamp"])

def select():
    objects = list(bpy.context.view_layer.objects)
    for obj in objects:
        obj.select_set(dice.random() < 0.6)
    bpy.context.view_layer.objects.active = dice.choice(objects) if objects else None

def switch():
    bpy.ops.object.mode_set(mode=dice.choice(["EDIT", "OBJECT", "OBJECT", "WEIGHT_PAINT", "TEXTURE_PAINT"]))

def add():
    bpy.ops.mesh.primitive_cube_add(calc_uvs=dice.random() < 0.5, location=[dice.uniform(-3, 3) for _ in range(3)])

def subdivide():
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.subdivide()

def share():
    pick().data.materials.clear()
    pick().data.materials.append(bpy.data.materials.new("Shared") if not bpy.data.materials else bpy.data.materials[0])

def shade():
    view()["area"].spaces.active.shading.type = dice.choice(["SOLID", "SOLID", "MATERIAL"])

def settings():
    group = bpy.context.scene.csd
    group.mode = dice.choice(["TEXTURE", "EDIT"])
    group.mask_kind = dice.choice(["EVERYWHERE", "FACES", "GROUP", "IMAGE"])
    group.prompt = dice.choice(["red brick", "", "mossy stone"])

def save():
    bpy.ops.wm.save_as_mainfile(filepath=f"{FOLDER}/saved.blend")

def load():
    bpy.ops.wm.open_mainfile(filepath=f"{FOLDER}/saved.blend")

def new_window():
    windows = bpy.context.window_manager.windows
    mains = [window for window in windows if window.parent is None]
    if len(windows) > 1:
        # With a main window its children go, and with the last one Blender: then only a child is closed.
        closing = mains if len(mains) > 1 else [window for window in windows if window.parent]
        with bpy.context.temp_override(window=dice.choice(closing)):
            bpy.ops.wm.window_close()
    else:
        dice.choice([bpy.ops.wm.window_new, bpy.ops.wm.window_new_main])()

def meddle():
    # What grows its texture right now is renamed or deleted.
    growing = session.is_running and session.task.key.find()
    if growing and dice.random() < 0.6:
        growing.name = "Renamed while it grew"
    elif growing:
        bpy.data.objects.remove(growing)

def kill():
    if worker.process:
        worker.process.kill()

PUSHED = [bpy.ops.object.duplicate, bpy.ops.object.delete, bpy.ops.csd.compare, bpy.ops.csd.revert,
          bpy.ops.csd.undo_edit]
CHOICES = [
    (texture, 24), (edit, 14), (rename, 4), (select, 10), (switch, 8), (add, 8), (subdivide, 2), (share, 3), (shade, 4),
    (settings, 6), (save, 3), (load, 3), (new_window, 5), (kill, 2), (meddle, 8),
    (lambda: bpy.ops.wm.read_homefile(use_empty=True), 1),
    (lambda: bpy.ops.csd.stop_and_keep(), 10), (lambda: bpy.ops.csd.cancel(), 6), (lambda: bpy.ops.csd.resume(), 4),
    (lambda: bpy.ops.csd.new_seed(), 2), (lambda: bpy.ops.ed.undo(), 14), (lambda: bpy.ops.ed.redo(), 6),
    (lambda: dice.choice(PUSHED)("EXEC_DEFAULT", True), 16), (lambda: bpy.ops.ed.undo_push(message="Monkey"), 6),
    (lambda: None, 20),
]

CHANGES = (rename, select, switch, add, subdivide, share, settings, meddle)

def act(number):
    work = dice.choices([c for c, _ in CHOICES], [w for _, w in CHOICES])[0]
    name = getattr(work, "__name__", "?") + (":" + work.__code__.co_names[-1] if work.__name__ == "<lambda>" and
                                             work.__code__.co_names else "")
    found["done"].append(name)
    # On disk before it is done: where Blender dies, this is all there is.
    with open(f"{FOLDER}/actions.txt", "a") as stream:
        obj = pick()
        print(number, name, obj and (obj.name, obj.mode), session.is_running, file=stream)
    try:
        with bpy.context.temp_override(**view()):
            work()
            # Blender pushes after what an artist does; called from Python it does not.
            if work in CHANGES:
                bpy.ops.ed.undo_push(message=name)
    except RuntimeError as refusal:
        found["refused"][name] = str(refusal).strip()[:160]
    except AttributeError as nothing:
        # No object is active.
        if "NoneType" not in str(nothing):
            found["tracebacks"].append([number, name, traceback.format_exc()])
    except BaseException:
        found["tracebacks"].append([number, name, traceback.format_exc()])
    if worker.process and worker.process.pid not in found["workers"]:
        found["workers"].append(worker.process.pid)

def leftovers():
    marks = [m.name for group in (bpy.data.materials, bpy.data.images, bpy.data.meshes) for m in group
             if "csd_preview" in m.keys()]
    trees = [m.node_tree for m in bpy.data.materials if m.node_tree]
    marks += [n.name for tree in trees for n in tree.nodes if "csd_preview_role" in n.keys()]
    return marks + [i.name for i in bpy.data.images if i.name.endswith("preview")]

def steps():
    bpy.ops.wm.read_homefile(use_empty=True)
    yield 0.5
    add()
    save()
    for number in range(ACTIONS):
        act(number)
        if not session.is_running and leftovers():
            found["tracebacks"].append([number, found["done"][-1], "left: " + str(leftovers())])
        yield dice.choice([0.02, 0.05, 0.3])
    with bpy.context.temp_override(**view()):
        if pick() and pick().mode != "OBJECT":
            bpy.ops.object.mode_set(mode="OBJECT")
        if session.is_running:
            bpy.ops.csd.cancel()
    yield from until(ended)
    found["ended"] = ended()
    found["left"] = leftovers()
    found["strays"] = [i.name for i in bpy.data.images if "csd_job" in i.keys() and not i.users]
"""


def test_two_hundred_random_actions(window: Window) -> None:
    found = window(SCRIPT, SEED, ACTIONS, timeout=900)
    print(f"seed {SEED}: {len(found['done'])} actions, {len(found['workers'])} workers; refused: {found['refused']}")
    assert not found["tracebacks"]
    assert len(found["done"]) == ACTIONS and found["ended"] and found["workers"]
    assert found["left"] == [] and found["strays"] == []
    orphans = [pid for pid in found["workers"] if b"csd_addon.worker" in command_of(pid)]
    assert not orphans


def command_of(pid: int) -> bytes:
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_bytes() if path.is_file() else b""
