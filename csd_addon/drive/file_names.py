"""Names of objects as names of files, on every system."""

from __future__ import annotations


def safe_name(name: str) -> str:
    """``name`` as a file name on every system: what Windows forbids becomes an underscore."""
    cleaned = "".join("_" if c in '<>:"/\\|?*' or ord(c) < 32 else c for c in name).strip(" .")
    return cut(cleaned, 120) or "object"


def cut(name: str, longest: int) -> str:
    """The beginning of ``name``, at most ``longest`` bytes of it: file systems and Blender count those."""
    return name.encode()[:longest].decode(errors="ignore")
