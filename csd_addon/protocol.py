"""What Blender and the worker say to each other: JSON objects, one per line, UTF-8.

Each message is a frozen dataclass; its ``type`` on the wire is the class name in snake case. The first message
each way is ``Hello``: a different ``PROTOCOL_VERSION`` is refused. Paths are absolute, times in seconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

PROTOCOL_VERSION = 1


class ProtocolError(ValueError):
    """A line that is no message of this protocol."""


@dataclass(frozen=True)
class Hello:
    """First message each way. ``versions`` names the sender's interpreter and libraries."""

    protocol: int = PROTOCOL_VERSION
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """Blender -> worker: run the job in ``folder``; ``resume`` continues from its checkpoint."""

    folder: str
    resume: bool = False


@dataclass(frozen=True)
class StopAndKeep:
    """Blender -> worker: stop optimising now, bake what is there, answer with ``Done``."""


@dataclass(frozen=True)
class Cancel:
    """Blender -> worker: save a checkpoint, bake nothing, answer with ``Cancelled``."""


@dataclass(frozen=True)
class Shutdown:
    """Blender -> worker: end the process after the current job."""


@dataclass(frozen=True)
class Phase:
    """A new phase of the job begins. ``detail`` is a short sentence for the artist, may be empty."""

    name: str
    detail: str = ""


@dataclass(frozen=True)
class Progress:
    """``iteration`` of ``of`` steps are done. ``norms``: gradient norms by name. ``memory_mb``: peak so far."""

    iteration: int
    of: int
    seconds_left: float
    norms: dict[str, float] = field(default_factory=dict)
    memory_mb: float = 0.0


@dataclass(frozen=True)
class Preview:
    """A finished preview image (PNG, the texture in the object's UVs at low resolution)."""

    path: str


@dataclass(frozen=True)
class Warning:
    """Something the artist should know; the job goes on."""

    sentence: str


@dataclass(frozen=True)
class Error:
    """The job has failed. ``kind``: input, teacher, memory, disk or internal. ``detail``: for the log."""

    kind: str
    sentence: str
    detail: str = ""


@dataclass(frozen=True)
class Cancelled:
    """The job ended on request at ``iteration``; its checkpoint can be resumed."""

    iteration: int


@dataclass(frozen=True)
class Done:
    """The job is finished. ``paths``: result files by role ("basecolor", "report"). ``report``: report.json."""

    paths: dict[str, str]
    report: dict[str, Any]


Message = (
    Hello | Start | StopAndKeep | Cancel | Shutdown | Phase | Progress | Preview | Warning | Error | Cancelled | Done
)

_CLASSES: tuple[type, ...] = Message.__args__
_TYPES = {re.sub(r"(?<!^)(?=[A-Z])", "_", c.__name__).lower(): c for c in _CLASSES}
_NAMES = {c: name for name, c in _TYPES.items()}


def encode(message: Message) -> bytes:
    """One line of JSON with its newline. Non-finite numbers are refused (``ValueError``): JSON has none."""
    body = {"type": _NAMES[type(message)], **asdict(message)}
    return json.dumps(body, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The inverse of ``encode``. Raises ``ProtocolError`` naming what is wrong with the line."""
    try:
        body = json.loads(line, parse_constant=_refuse_constant)
        kind = _TYPES[body.pop("type")]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ProtocolError(f"Not a message: {line[:200]!r}") from error
    known = {f.name for f in fields(kind)}
    if set(body) - known:
        raise ProtocolError(f"Unknown fields {sorted(set(body) - known)} in a '{_NAMES[kind]}' message.")
    wrong = [f.name for f in fields(kind) if f.name in body and not _FITS[str(f.type)](body[f.name])]
    if wrong:
        raise ProtocolError(f"Wrong values for {wrong} in a '{_NAMES[kind]}' message.")
    try:
        message: Message = kind(**body)
    except TypeError as error:
        raise ProtocolError(f"Incomplete '{_NAMES[kind]}' message: {error}") from error
    return message


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def _is_dict_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


# What the fields of messages may be, by their annotation.
_FITS: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: type(value) is int and abs(value) < 2**53,
    "float": _is_number,
    "dict[str, str]": _is_dict_of(lambda value: isinstance(value, str)),
    "dict[str, float]": _is_dict_of(_is_number),
    "dict[str, Any]": lambda value: isinstance(value, dict),
}


def version_mismatch(theirs: int) -> str | None:
    """The sentence that refuses another protocol version, or None when it is ours."""
    if theirs == PROTOCOL_VERSION:
        return None
    return (
        f"The worker speaks protocol {theirs}, this version of CSD Texture speaks {PROTOCOL_VERSION}: "
        "reinstall the runtime (Preferences > Add-ons > CSD Texture > Install Runtime)."
    )
