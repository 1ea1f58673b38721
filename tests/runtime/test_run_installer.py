from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from csd_addon.runtime.environment import folder_growth
from csd_addon.runtime.environment.run_installer import run_installer, run_step
from csd_addon.runtime.errors import RuntimeMissing

PIP = """\
Looking in links: /wheels
Collecting numpy==2.4.6 (from -r a.txt)
  Downloading numpy-2.4.6-cp311.whl (16.1 MB)
Processing /wheels/torch-2.13.0+cpu-cp311.whl (from -r a.txt)
Installing collected packages: torch, numpy
"""
UV = """\
Resolved 2 packages in 5ms
Downloading torch (183.0MiB)
Downloading numpy (17.0MiB)
 Downloaded numpy
 Downloaded torch
Prepared 2 packages in 1ms
Installed 2 packages in 2ms
"""


def command(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", code]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            PIP,
            [
                ("numpy==2.4.6", 0.4),
                ("fetching numpy-2.4.6-cp311.whl, 16.1 MB", None),
                ("torch-2.13.0+cpu-cp311.whl", 0.75),
                ("unpacking 2 packages", 0.8),
            ],
        ),
        (
            UV,
            [
                ("fetching torch, 191.9 MB", None),
                ("fetching numpy, 17.8 MB", None),
                ("putting 2 packages in place", 0.75),
                ("compiling 2 packages, which takes some minutes", 0.8),
            ],
        ),
    ],
)
def test_both_installers_output_becomes_progress(
    tmp_path: Path, output: str, expected: list[tuple[str, float | None]]
) -> None:
    said: list[tuple[str, float | None]] = []
    run_installer(
        command(f"print({output!r}, end='')"),
        packages=2,
        log=tmp_path / "log",
        environment=os.environ,
        report=lambda phase, detail, fraction: said.append((detail, fraction)),
    )
    assert [detail for detail, _ in said] == [detail for detail, _ in expected]
    assert [fraction for _, fraction in said] == pytest.approx([fraction for _, fraction in expected])
    assert output in (tmp_path / "log").read_text("utf-8")


# As uv does: two files come side by side, the cache grows, and nothing is printed meanwhile.
SLOW_UV = """
import sys, time
from pathlib import Path
cache = Path(sys.argv[1])
print("Downloading torch (4.0MiB)\\nDownloading numpy (1.0MiB)", flush=True)
for step in range(12):
    (cache / str(step)).write_bytes(bytes(500_000))
    time.sleep(0.1)
    if step == 3:
        print(" Downloaded numpy", flush=True)
print(" Downloaded torch\\nPrepared 2 packages in 1ms", flush=True)
time.sleep(0.5)
"""


def test_while_a_large_file_comes_the_cache_is_weighed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_growth, "PERIOD_SECONDS", 0.05)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "of an earlier run").write_bytes(bytes(9_000_000))
    said: list[tuple[str, float | None]] = []
    run_installer(
        [*command(SLOW_UV), str(cache)], packages=2, log=tmp_path / "log", environment=os.environ, cache=cache,
        report=lambda phase, detail, fraction: said.append((detail, fraction)),
    )  # fmt: skip
    weighed = [(detail, fraction) for detail, fraction in said if detail.startswith("fetching about")]
    print(*weighed, sep="\n")
    assert all(re.fullmatch(r"fetching about 0\.0\d / 0\.01 GB, \d+ MB/s: [a-z, .]+", detail) for detail, _ in weighed)
    fractions = [fraction for _, fraction in weighed if fraction is not None]
    assert len(set(fractions)) > 4 and fractions == sorted(fractions) and 0.05 <= fractions[0] < fractions[-1] <= 0.75
    assert weighed[0][0].endswith(": torch, numpy") and any(detail.endswith(": torch") for detail, _ in weighed)
    assert said[-1] == ("putting 2 packages in place", 0.75), "nothing is weighed when all is here"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("print('ERROR: no such wheel'); print('hint'); exit(2)", "no such wheel (exit status 2)"),
        ("print('  × Something odd'); exit(1)", "× Something odd (exit status 1)"),
        ("print('plain trouble'); exit(3)", "plain trouble (exit status 3)"),
        ("exit(4)", "it said nothing (exit status 4)"),
        (r"import sys; sys.stdout.buffer.write(b'\xff bytes\n'); exit(5)", "bytes (exit status 5)"),
    ],
)
def test_a_failure_is_one_sentence_with_the_log(tmp_path: Path, code: str, sentence: str) -> None:
    log = tmp_path / "log"
    with pytest.raises(RuntimeMissing) as caught:
        run_step(command(code), log=log, environment=os.environ)
    assert sentence in str(caught.value) and str(log) in str(caught.value)


def test_a_program_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeMissing, match="nowhere could not be started"):
        run_step([str(tmp_path / "nowhere")], log=tmp_path / "log", environment=os.environ)


def test_the_child_is_killed_when_its_reader_gives_up(tmp_path: Path) -> None:
    def give_up(line: str) -> None:
        raise KeyboardInterrupt(line.strip())

    start = time.monotonic()
    code = "import os, time; print(os.getpid()); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt) as caught:
        run_step(command(code), log=tmp_path / "log", environment=os.environ, follow=give_up)
    assert time.monotonic() - start < 30
    assert subprocess.run(["kill", "-0", str(caught.value)], capture_output=True).returncode != 0
