"""From an object to a job and from a result to a material, without a skin: panel and headless Blender use it."""
