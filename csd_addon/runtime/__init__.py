"""The worker's Python environment, the teachers on disk, and what is wrong with this machine.

``environment/`` makes and finds the worker's Python. ``teachers/`` finds and downloads teachers. ``machine/`` is the
doctor. The files beside these rooms serve all three.

Only the standard library is used: this package also runs where neither Blender nor torch is installed, because it
installs them. Every folder lies below one base (`paths`) or where the user chose (`choices`).
"""
