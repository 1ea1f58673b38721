"""Pure data and maths: the words that Blender's side and the worker share. Standard library and numpy only."""
