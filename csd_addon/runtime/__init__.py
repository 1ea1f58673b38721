"""The worker's Python environment and the teachers on disk.

This package stands alone: standard library only, nothing from its siblings. It also runs where neither
Blender nor torch is installed, because it is what installs them. Every folder hangs from one base
(`paths`); nothing is written anywhere else.
"""
