"""The channels of a texture: what a field holds at a point, what images and files hold of it.

Values of all channels lie side by side in the order of ``CHANNELS``; each has a name and a width. Base colour is
sRGB-encoded in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Channel:
    """name: in file names and reports. width: numbers at a point."""

    name: str
    width: int


BASE_COLOR = Channel("basecolor", 3)
# What a texture has today.
CHANNELS: tuple[Channel, ...] = (BASE_COLOR,)


def width(channels: Sequence[Channel]) -> int:
    """Numbers at a point of all ``channels``."""
    return sum(channel.width for channel in channels)


def spans(channels: Sequence[Channel]) -> dict[str, slice]:
    """Where each of the ``channels`` lies among the numbers of a point, by its name."""
    found, start = {}, 0
    for channel in channels:
        found[channel.name] = slice(start, start + channel.width)
        start += channel.width
    return found
