"""Sets up and runs the tests: ``python3 tests/run.py [core] [worker] [scene] [blender] [gpu]``.

Without a name, every tier but ``gpu``. Standard library only: the environments are made by the product's own
`csd_addon.runtime`, beside the worker's, so a fresh checkout on a fresh machine needs nothing but Python.

=========  ==================================================================================================
core       plain Python with numpy; also ruff and mypy
worker     torch on the CPU
scene      Blender as a Python module: 4.5 on Python 3.11 and 5.2 on Python 3.13
blender    a real Blender: CSD_BLENDER, else ``blender`` on PATH, else the one in ../shared/tools
gpu        a GPU that torch can use
=========  ==================================================================================================

A Python that CSD_WORKER_PYTHON names is used as it is for ``worker`` and ``gpu`` (it must have pytest).
Two runs go on at a time; what each printed is shown when it ends. With ``CI`` set, a skip that no missing
prerequisite excuses is a failure. The last line sums up all tiers.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from xml.etree import ElementTree

if sys.version_info < (3, 11):  # noqa: UP036 - this is the one file that an older Python may be given
    sys.exit(f"The tests need Python 3.11 or newer; this is {sys.version.split()[0]}.")

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from csd_addon.runtime import paths  # noqa: E402
from csd_addon.runtime.environment import planning, user_python, venv  # noqa: E402
from csd_addon.runtime.environment.installer import choose_installer  # noqa: E402
from csd_addon.runtime.environment.interpreter import Interpreter, clean_environment, find_interpreters, probe  # noqa: E402
from csd_addon.runtime.errors import RuntimeMissing  # noqa: E402

TIERS = {
    "core": ("tests/core", "tests/jobs", "tests/runtime", "tests/cli", "tests/test_architecture.py",
             "tests/faults/test_worker_faults.py", "tests/faults/test_fuzz.py",
             "tests/faults/test_small_disk.py"),
    "worker": ("tests/worker", "tests/faults/test_real_worker_faults.py"),
    "scene": ("tests/scene", "tests/ui", "tests/assets", "tests/faults/test_blender_faults.py",
              "tests/faults/test_image_faults.py"),
    "blender": ("tests/blender",),
    "gpu": ("tests/gpu",),
}
DEFAULT_TIERS = ("core", "worker", "scene", "blender")
REQUIREMENTS = ROOT / "tests" / "requirements"
BLENDER_MINIMUM = (4, 5)
SCENE_PYTHONS = {(3, 11): "Blender 4.5", (3, 13): "Blender 5.2"}
STAMP = "tests"
LANES = 2
RUN_SECONDS = 1200
IN_CI = bool(os.environ.get("CI"))

# More than one thread per process makes small tensor operations several times slower on a shared machine,
# and glibc gives large blocks back after every step unless told to keep them.
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
}


@dataclass
class Outcome:
    """Counts of one run, and the reasons of its skips."""

    passed: int = 0
    failed: int = 0
    skips: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {len(self.skips)} skipped"

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(self.passed + other.passed, self.failed + other.failed, self.skips + other.skips)


@dataclass(frozen=True)
class Run:
    """One command of one tier; ``junit`` is where its pytest writes, None for a plain check."""

    title: str
    command: list[str]
    variables: dict[str, str]
    junit: Path | None = None
    skips_excused: bool = False


class Printer:
    """Whole blocks on stdout, never mixed, though two lanes print."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._start = time.monotonic()

    def __call__(self, text: str) -> None:
        with self._lock:
            print(f"[{time.monotonic() - self._start:5.0f} s] {text}", flush=True)


say = Printer()


# --- Environments -------------------------------------------------------------------------------------------


def core_plan(home: paths.Paths, interpreter: Interpreter) -> planning.Plan:
    name = f"test-core-{interpreter.tag}"
    return planning.Plan(
        name=name,
        interpreter=interpreter,
        locks=(REQUIREMENTS / "check.txt",),
        directory=home.environments / name,
        log=home.logs / f"install-{name}.log",
        installer=choose_installer(interpreter, wheels=paths.bundled_wheels(), cache=home.cache),
        modules=("pytest", "hypothesis", "numpy", "mypy"),
        disk_gb=0.5,
    )


def with_tests(plan: planning.Plan, home: paths.Paths) -> planning.Plan:
    """Return the product's own plan with pytest and hypothesis added, as an environment of its own."""
    name = f"test-{plan.name}"
    return replace(
        plan,
        name=name,
        locks=(*plan.locks, REQUIREMENTS / "test.txt"),
        directory=home.environments / name,
        log=home.logs / f"install-{name}.log",
        modules=(*plan.modules, "pytest", "hypothesis"),
    )


def make(plan: planning.Plan) -> Path:
    before = venv.state(plan, STAMP)
    start = time.monotonic()
    python = venv.create(plan, STAMP)
    took = "ready" if before == "ready" else f"made in {time.monotonic() - start:.0f} s (was {before})"
    say(f"environment {plan.name}: {took}")
    return python


def worker_python(home: paths.Paths) -> Path:
    if python := user_python.find_user_python():
        user_python.check_worker_python(python)
        say(f"worker: {python}, named by CSD_WORKER_PYTHON")
        return python
    return make(with_tests(planning.plan_worker(home), home))


def scene_python(home: paths.Paths, interpreter: Interpreter) -> Path:
    return make(with_tests(planning.plan_blender(home, interpreter=interpreter.executable), home))


# --- Blender ------------------------------------------------------------------------------------------------


def find_blender() -> Path | None:
    """Return a Blender that is new enough, or None. The one in ../shared may install itself here first."""
    candidates = [os.environ.get("CSD_BLENDER"), shutil.which("blender")]
    candidates.append(str(ROOT.parent / "shared" / "tools" / "real-blender"))
    for candidate in filter(None, candidates):
        if shutil.which(candidate) and blender_version(candidate) >= BLENDER_MINIMUM:
            return Path(candidate).absolute()
    return None


def blender_version(program: str) -> tuple[int, int]:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=RUN_SECONDS)
    match = re.search(r"Blender (\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


# --- What to run --------------------------------------------------------------------------------------------


def present(tier: str) -> list[str]:
    """Return the paths of the tier that hold a test."""
    found = (ROOT / name for name in TIERS[tier])
    return [str(path.relative_to(ROOT)) for path in found if path.is_file() or any(path.rglob("test_*.py"))]


def pytest_run(tier: str, python: Path, *, title: str, scratch: Path, variables: dict[str, str]) -> Run:
    junit = scratch / f"{re.sub('[^a-z0-9]+', '-', title.lower())}.xml"
    command = [str(python), "-m", "pytest", "-q", "-rfEs", "--durations=5", f"--junitxml={junit}"]
    return Run(title, command + present(tier), variables, junit, skips_excused=tier == "gpu")


@dataclass
class Suite:
    """Collects the runs of the chosen tiers, and what cannot be run with the reason."""

    home: paths.Paths
    scratch: Path
    runs: list[Run] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)

    def plan(self, tiers: list[str]) -> None:
        wanted = [tier for tier in TIERS if tier in tiers and present(tier)]
        for tier in tiers:
            for name in set(TIERS[tier]) - set(present(tier)):
                self.skip(tier, f"{name} holds no test", excused=False)
        # Before there are threads: Linux does not start a program that another thread's child holds open.
        choose_installer(
            probe(Path(sys.executable)), wheels=paths.bundled_wheels(), cache=self.home.cache
        ).prepare()
        with ThreadPoolExecutor(LANES) as pool:
            jobs = [(name, pool.submit(job)) for name, job in self.environments(wanted)]
            pythons = {}
            for name, job in jobs:
                try:
                    pythons[name] = job.result()
                except RuntimeMissing as error:
                    say(f"FAILED: environment for {name}: {error}")
                    self.outcome.failed += 1
        for tier in wanted:
            self.add(tier, pythons)

    def environments(self, tiers: list[str]) -> Iterator[tuple[str, Callable[[], Path]]]:
        answered, _ = find_interpreters(Path(sys.executable))
        if set(tiers) & {"worker", "scene", "blender", "gpu"}:
            yield "worker", lambda: worker_python(self.home)
        if set(tiers) & {"core", "blender"}:
            yield "core", lambda: make(core_plan(self.home, probe(Path(sys.executable))))
        by_version = {interpreter.version: interpreter for interpreter in answered}
        for version, title in SCENE_PYTHONS.items() if "scene" in tiers else ():
            if version in by_version:
                found = by_version[version]
                yield f"scene ({title})", lambda found=found: scene_python(self.home, found)
            else:
                self.skip(f"scene ({title})", f"no Python {version[0]}.{version[1]} here", excused=True)

    def add(self, tier: str, pythons: dict[str, Path]) -> None:
        variables = {"CSD_WORKER_PYTHON": str(pythons["worker"])} if "worker" in pythons else {}
        if tier == "blender":
            self.add_blender(pythons, variables)
            return
        for name in [name for name in pythons if name.split(" ")[0] == ("worker" if tier == "gpu" else tier)]:
            own = variables if tier == "scene" else {}
            title = tier if tier == "gpu" else name
            self.add_pytest(tier, pythons[name], title=title, variables=own)
            if tier == "core":
                self.runs += [
                    check("ruff", pythons[name], "check", "--no-cache", "--output-format", "concise"),
                    check("mypy", pythons[name]),
                ]

    def add_blender(self, pythons: dict[str, Path], variables: dict[str, str]) -> None:
        blender = find_blender()
        if blender is None:
            self.skip(
                "blender", "no Blender 4.5 or newer: put it on PATH or name it in CSD_BLENDER", excused=True
            )
        elif "core" in pythons:
            variables = {**variables, "CSD_BLENDER": str(blender)}
            self.add_pytest("blender", pythons["core"], title="blender", variables=variables)

    def add_pytest(self, tier: str, python: Path, *, title: str, variables: dict[str, str]) -> None:
        resources = self.scratch / f"blender-user-{len(self.runs)}"
        resources.mkdir()
        own = {"BLENDER_USER_RESOURCES": str(resources), **variables}
        self.runs.append(pytest_run(tier, python, title=title, scratch=self.scratch, variables=own))

    def skip(self, what: str, reason: str, *, excused: bool) -> None:
        say(f"SKIPPED: {what}: {reason}" + (" (excused)" if excused else ""))
        if IN_CI and not excused:
            self.outcome.failed += 1
        else:
            self.outcome.skips.append(f"{what}: {reason}")

    def run(self) -> Outcome:
        with ThreadPoolExecutor(LANES) as pool:
            outcomes = list(pool.map(execute, self.runs))
        for run, outcome in zip(self.runs, outcomes, strict=True):
            print(f"{run.title:24} {outcome}")
        return sum(outcomes, self.outcome)


def check(module: str, python: Path, *arguments: str) -> Run:
    return Run(module, [str(python), "-m", module, *arguments], {})


# --- Running ------------------------------------------------------------------------------------------------


def execute(run: Run) -> Outcome:
    say(f"started: {run.title}")
    start = time.monotonic()
    variables = {**clean_environment(), **ONE_THREAD, **KEEP_MEMORY, "HF_HUB_OFFLINE": "1", **run.variables}
    try:
        done = subprocess.run(
            run.command, cwd=ROOT, env=variables, timeout=RUN_SECONDS, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
        output, status = done.stdout, done.returncode
    except subprocess.TimeoutExpired as late:
        output = (
            late.output.decode("utf-8", "replace") if isinstance(late.output, bytes) else late.output or ""
        )
        output, status = output + f"\nnot done after {RUN_SECONDS} s, ended", -1
    outcome = judge(run, status)
    say(f"=== {run.title}: {time.monotonic() - start:.0f} s, exit status {status}\n{output.rstrip()}")
    return outcome


def judge(run: Run, status: int) -> Outcome:
    """Return the counts of a finished run; a crash after green tests is a failure too."""
    outcome = read_junit(run.junit) if run.junit else Outcome(passed=1 if status == 0 else 0)
    if status and not outcome.failed:
        outcome.failed += 1
    if IN_CI and outcome.skips and not run.skips_excused:
        say("\n".join([f"FAILED: {run.title}: skipped in CI:", *outcome.skips]))
        outcome.failed += len(outcome.skips)
        outcome.skips = []
    return outcome


def read_junit(junit: Path) -> Outcome:
    outcome = Outcome()
    if not junit.is_file():
        return outcome
    for case in ElementTree.parse(junit).iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
        elif skipped is not None:
            outcome.skips.append(f"{case.get('classname')}::{case.get('name')}: {skipped.get('message')}")
        else:
            outcome.passed += 1
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tiers", nargs="*", metavar="tier", help=", ".join(TIERS))
    chosen = parser.parse_args().tiers or list(DEFAULT_TIERS)
    if unknown := set(chosen) - set(TIERS):
        parser.error(f"no such tier: {', '.join(sorted(unknown))}; there are {', '.join(TIERS)}")
    with tempfile.TemporaryDirectory(prefix="csd-tests-") as scratch:
        suite = Suite(paths.Paths(paths.default_base()), Path(scratch))
        suite.plan(chosen)
        outcome = suite.run()
    print(outcome, flush=True)
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main())
