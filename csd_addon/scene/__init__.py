"""Blender data in and out: numpy arrays and plain values on our side, bpy on the other."""
