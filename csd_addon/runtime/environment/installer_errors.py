"""Explains an installer's failure: its many lines become one cause and one remedy.

uv and pip report the same error in different words; both are looked for. The first row that matches wins, so the rows
go from the certain to the vague. The lines themselves are in the log.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# (a regular expression for the installer's output, cause and remedy)
KNOWN_ERRORS = (
    (
        r"no space left|errno 28\b|os error 28\b|disk quota|file too large|errno 27\b|os error (27|112)\b",
        "The disk is full: make room, or choose another folder for the runtime, then repair it.",
    ),
    (
        r"hash mismatch|do not match the hashes|mismatched hash",
        "A package is not the one that was pinned: its checksum is another, so it was refused. Repair the "
        "runtime later or from another network: a proxy or a mirror may have changed the package.",
    ),
    (
        r"certificate|ssl: ",
        "The package registry's certificate is not trusted here: check the date and the proxy, or name the "
        "certificates in SSL_CERT_FILE.",
    ),
    (
        r"timed out|network timeout|readtimeout",
        "The package registry stopped answering: check the connection, then repair the runtime; what was fetched "
        "is kept.",
    ),
    (
        r"connection refused|connect error|failed to resolve|name resolution|dns error|newconnectionerror|"
        r"error sending request|max retries|no route to host|network is unreachable|connection (reset|aborted)|"
        r"incomplete(read| message)|error decoding response|connection broken|could not connect|failed to fetch",
        "The package registry cannot be reached: check the connection and the proxy and repair the runtime, or "
        "install from an offline bundle.",
    ),
    (
        r"permission denied|read-only file system|access is denied|os error (5|13|30)\b|errno (13|30)\b",
        "A folder of the runtime cannot be written: choose another folder for the runtime, or allow writing "
        "there, then repair it.",
    ),
    (
        r"no matching distribution|no solution found|not found in the (package registry|provided)|no wheels with",
        "The package registry lacks a package that is needed: use a complete mirror, or install from an offline "
        "bundle.",
    ),
)


def explain(lines: Sequence[str], exit_status: int) -> str:
    """Return one sentence or two that say what went wrong and what to do, from the installer's own ``lines``."""
    said = "".join(lines)
    for pattern, cause_and_remedy in KNOWN_ERRORS:
        if re.search(pattern, said, re.IGNORECASE):
            return cause_and_remedy
    errors = [line for line in lines if re.match(r"\s*(error|×)", line, re.IGNORECASE)]
    last = (errors or lines or ["it said nothing"])[-1].strip().removeprefix("ERROR: ").rstrip(".")
    return f"The environment could not be made: {last} (exit status {exit_status})."
