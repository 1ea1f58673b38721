"""The command line: sets up a fresh machine, starts Blender without a window and shows how the job is going.

Only ``headless.py`` runs inside Blender; everything else is plain Python and never sees bpy.
"""
