"""Downloads one file: resumable, checked, never trusted.

The bytes go to ``NAME.part``. A broken, cancelled or killed download leaves that file, and the next one continues it
(HTTP Range). Only a file with the right length and sum gets its name. The URLs are tried in turn. The system's proxy
settings are used (``urllib``). A redirect may lead to https; from http it may also lead to http.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from ..errors import DownloadFailed

# A connection that brings fewer than STALL_BYTES in STALL_SECONDS is given up.
STALL_SECONDS = 30.0
STALL_BYTES = 1024
# How often one address is tried when its connection breaks; each try continues where the last one ended.
ATTEMPTS = 3
PAUSE_SECONDS = 1.0
CHUNK = 2**18
# Left free on the disk besides the file itself.
RESERVE = 256 * 2**20
# How the system says that this disk or folder takes no more; Windows lacks one of them.
_NO_ROOM = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EACCES", "EROFS")} - {None}

# (bytes of this file that are on the disk, its length)
OnBytes = Callable[[int, int], None]


@dataclass(frozen=True)
class FileRequest:
    """A file to download."""

    target: Path
    # URLs, in the order of trying.
    addresses: Sequence[str]
    # The most bytes that are accepted.
    limit: int
    # Its length in bytes, if it is known.
    size: int | None = None
    sha256: str | None = None

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")


class _ConnectionBroken(Exception):
    """The connection ended or stalled; trying again may help."""


class _Refused(Exception):
    """This address will not give the file, whatever we do."""


def fetch(request: FileRequest, on_bytes: OnBytes) -> str:
    """Download the file and return its sha256 in hexadecimal. ``on_bytes`` is called for every piece.

    Raises DownloadFailed with one sentence that says what each server did. What has come stays in ``NAME.part``.
    """
    request.target.parent.mkdir(parents=True, exist_ok=True)
    problems = []
    for address in request.addresses:
        try:
            return _from_address(request, address, on_bytes)
        except (_ConnectionBroken, _Refused) as error:
            problems.append(f"{urlsplit(address).hostname} {error}")
    raise DownloadFailed(f"{request.target.name} could not be downloaded: {'; '.join(problems)}.")


def require_space(folder: Path, needed: int) -> None:
    """Raise DownloadFailed unless ``needed`` bytes fit on the disk of ``folder``, which need not exist yet."""
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if free < needed + RESERVE:
        raise DownloadFailed(
            f"The disk of {folder} has {free / 1e9:.1f} GB free, {(needed + RESERVE) / 1e9:.1f} GB are needed: make "
            "room or choose another folder."
        )


def sha256_of(file: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Return the sha256 of ``file``; ``on_bytes`` gets how much was read."""
    digest, done = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while piece := stream.read(2**20):
            digest.update(piece)
            done += len(piece)
            if on_bytes:
                on_bytes(done)
    return digest.hexdigest()


def find_damage(file: Path, name: str) -> str:
    """Return what is wrong with the structure of ``file``, "" if nothing. ``name`` tells what it should be."""
    if name.endswith(".safetensors"):
        with file.open("rb") as stream:
            return _header_damage(stream, file.stat().st_size)
    if name.endswith(".json"):
        try:
            json.loads(file.read_text("utf-8"))
        except ValueError:
            return "it is no JSON"
    return ""


def _header_damage(stream: IO[bytes], size: int) -> str:
    length = int.from_bytes(stream.read(8), "little")
    if not 2 <= length <= min(size - 8, 100 * 2**20):
        return "it is no safetensors file"
    try:
        header = json.loads(stream.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "its safetensors header is damaged"
    end = 8 + length + max(ends, default=0)
    return "" if end == size else f"its header speaks of {end} bytes, it has {size}"


def _from_address(request: FileRequest, address: str, on_bytes: OnBytes) -> str:
    if urlsplit(address).scheme not in ("http", "https"):
        raise _Refused("is no http or https address")
    for attempt in range(ATTEMPTS):
        try:
            announced = _receive(request, address, on_bytes)
            return _accept(request, announced)
        except _ConnectionBroken:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(PAUSE_SECONDS * 2**attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _receive(request: FileRequest, address: str, on_bytes: OnBytes) -> str | None:
    """Bring ``request.part`` to its full length; returns the sha256 that the server announced, if it did."""
    have = request.part.stat().st_size if request.part.exists() else 0
    if have > request.limit:
        request.part.unlink()
        have = 0
    redirects = _Redirects()
    http_request = urllib.request.Request(address, headers={"User-Agent": "csd-texture", "Accept-Encoding": "identity"})
    if have:
        http_request.add_header("Range", f"bytes={have}-")
    try:
        with contextlib.closing(_opener(redirects).open(http_request, timeout=STALL_SECONDS)) as response:
            start, length = _extent(response, have, request)
            _copy(response, request, start, length, on_bytes)
            return redirects.announced or _announced(response.headers)
    except urllib.error.HTTPError as error:
        with error:
            _require_complete(error, request, have)
            on_bytes(have, have)
            return redirects.announced or _announced(error.headers)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise DownloadFailed(
                f"{request.part} can't be written ({error.strerror}): make room on its disk, allow writing there, or "
                "choose another folder."
            ) from error
        raise _ConnectionBroken(f"did not answer or broke off ({_reason(error)})") from error


def _require_complete(error: urllib.error.HTTPError, request: FileRequest, have: int) -> None:
    """Return if ``error`` says that there is nothing after the ``have`` bytes; else raise what it means."""
    if error.code == 416 and have:
        if _total(error.headers.get("Content-Range", "")) == have:
            return
        request.part.unlink()
        raise _ConnectionBroken("could not continue the file") from error
    sentence = f"answered {error.code} {error.reason}"
    raise (_ConnectionBroken if error.code >= 500 or error.code == 429 else _Refused)(sentence) from error


def _extent(response: Any, have: int, request: FileRequest) -> tuple[int, int | None]:
    """From which byte the answer goes on, and how long the whole file is, None where the server does not say."""
    if response.status == 206:
        match = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not match or int(match[1]) != have:
            request.part.unlink()
            raise _ConnectionBroken("sent another part of the file than asked for")
        start, length = have, None if match[2] == "*" else int(match[2])
    else:
        said = response.headers.get("Content-Length")
        start, length = 0, int(said) if said and said.isdigit() else None
    _check_length(length, request)
    return start, length


def _check_length(length: int | None, request: FileRequest) -> None:
    if length is None:
        return
    if request.size is not None and length != request.size:
        raise _Refused(f"has another file: {length} bytes in place of {request.size}")
    if length > request.limit:
        raise _Refused(f"offers {length} bytes, far more than the {request.limit} that may come")


def _copy(response: Any, request: FileRequest, start: int, length: int | None, on_bytes: OnBytes) -> None:
    whole = length if length is not None else request.size
    with request.part.open("r+b" if start else "wb") as part:
        part.seek(start)
        done, since, then = start, start, time.monotonic()
        while piece := response.read1(CHUNK):
            done += len(piece)
            if done > (whole if whole is not None else request.limit):
                part.truncate(0)
                raise _Refused(f"sent more than the {whole or request.limit} bytes that it should")
            part.write(piece)
            on_bytes(done, whole if whole is not None else max(done, request.limit))
            now = time.monotonic()
            if now - then > STALL_SECONDS:
                if done - since < STALL_BYTES:
                    raise _ConnectionBroken(f"stalled at {done} bytes")
                since, then = done, now
    if whole is not None and done < whole:
        raise _ConnectionBroken(f"broke off at {done} of {whole} bytes")


def _accept(request: FileRequest, announced: str | None) -> str:
    """Check the whole file and give it its name. A wrong one is deleted."""
    found = sha256_of(request.part)
    expected = request.sha256 or announced
    problem = find_damage(request.part, request.target.name)
    if expected and found != expected:
        problem = f"its sha256 is {found[:12]}..., not {expected[:12]}..."
    if problem:
        request.part.unlink()
        raise _Refused(f"sent a wrong file ({problem})")
    os.replace(request.part, request.target)
    return found


def _announced(headers: Any) -> str | None:
    """The sha256 that the hub gives for a large file, in the header of its own or its redirect's answer."""
    tag = (headers.get("X-Linked-Etag") or "").strip('"')
    return tag if re.fullmatch(r"[0-9a-f]{64}", tag) else None


def _total(content_range: str) -> int | None:
    match = re.match(r"bytes \*/(\d+)", content_range)
    return int(match[1]) if match else None


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return "it stalled" if isinstance(reason, TimeoutError) else str(reason) or type(reason).__name__


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to https, and from http also to http; remembers the sum that the first answer announced."""

    def __init__(self) -> None:
        self.announced: str | None = None

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        scheme, before = urlsplit(newurl).scheme, urlsplit(req.full_url).scheme
        if scheme != "https" and (scheme, before) != ("http", "http"):
            raise _Refused(f"redirects to a {scheme} address, which is not followed")
        self.announced = self.announced or _announced(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(redirects: _Redirects) -> urllib.request.OpenerDirector:
    """Only http and https: urllib's own opener would read files and ftp as well."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(), redirects,
        urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor(), urllib.request.UnknownHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener
