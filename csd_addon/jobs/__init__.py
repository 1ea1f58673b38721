"""A job in the worker process, seen from Blender's side. Standard library and protocol only."""
