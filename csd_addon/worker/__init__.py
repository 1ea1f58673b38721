"""The process that owns torch and the GPU. It never sees bpy and runs in its own environment."""
