"""``blender --command csd texture …``: the terminal's words inside a Blender that has the add-on."""

from __future__ import annotations

import json
import sys

import bpy

from ..cli.arguments import UsageError, job_request, parser
from ..cli.progress import ProgressLine

_handle: object = None


def register() -> None:
    global _handle
    _handle = bpy.utils.register_cli_command("csd", run)


def unregister() -> None:
    bpy.utils.unregister_cli_command(_handle)


def run(argv: list[str]) -> int:
    """Carry out ``texture`` or ``edit`` in this Blender; returns the exit code. Other commands need the terminal."""
    try:
        words = parser("blender --command csd").parse_args(argv)
        if words.command not in ("texture", "edit"):
            raise UsageError(f"'{words.command}' runs in a terminal: python3 -m csd_addon {words.command}.")
        request = job_request(words)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    # Imported here: headless imports this package.
    from ..cli.headless import run_request

    line = ProgressLine()

    def say(message: bytes) -> None:
        body = json.loads(message)
        if words.json:
            print(json.dumps(body), flush=True)
        elif body["type"] == "error":
            line.say(f"Error: {body['sentence']}")
        else:
            line.message(body)

    return run_request(request, say, lambda: b"")
