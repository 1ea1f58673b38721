"""Find an object again: undo and file load invalidate references, so a job keeps this key instead."""

from __future__ import annotations

from dataclasses import dataclass

import bpy


@dataclass(frozen=True)
class ObjectKey:
    """name: the object's name when the job began. uid: its ``session_uid``, which survives renaming."""

    name: str
    uid: int

    @staticmethod
    def of(obj: bpy.types.Object) -> ObjectKey:
        return ObjectKey(obj.name, obj.session_uid)

    def find(self) -> bpy.types.Object | None:
        """The object, by identity first, then by name; None if it is gone, which is a normal outcome."""
        same = (o for o in bpy.data.objects if o.session_uid == self.uid)
        return next(same, None) or bpy.data.objects.get(self.name)
