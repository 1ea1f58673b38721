"""Train the bundled teacher: ``python -m training``; with a GPU ``--device cuda``.

Stages run in order, each seeded, each finished by its own marker; starting again continues where it stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .stages import Sizes

# glibc otherwise hands torch's buffers back to the kernel at every step, and idle OpenMP threads stall a
# shared core.
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_TOP_PAD_": "268435456",
    "OMP_NUM_THREADS": "1",
}  # fmt: skip


def main() -> None:
    from .stages import STAGES, Workplace

    arguments = parsed(tuple(STAGES))
    output = arguments.output or Path(__file__).resolve().parent.parent / "csd_addon" / "teachers" / "broad"
    sizes = chosen_sizes(arguments)
    place = Workplace(
        arguments.work, output, sizes, arguments.processes, arguments.start, arguments.device,
        arguments.controlnets_only, arguments.compile, arguments.seed,
    )  # fmt: skip
    for name, stage in STAGES.items():
        if arguments.stage in (None, name):
            begun, cpu = time.monotonic(), cpu_seconds()
            stage(place)
            spent = f"{time.monotonic() - begun:.0f} s, CPU {cpu_seconds() - cpu:.0f} s"
            print(f"stage {name}: {spent}", flush=True)


def parsed(stages: tuple[str, ...]) -> argparse.Namespace:
    """The words of the command line; ends the program with a sentence where they make no sense."""
    import torch

    from .stages import HIGHEST_SEED

    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    work = Path.home() / ".cache" / "csd_texture_training"
    parser.add_argument("--work", type=Path, default=work, help="folder for data and checkpoints, one a seed")
    parser.add_argument("--output", type=Path, help="where the teacher is written (default: csd_addon/teachers/broad)")
    parser.add_argument("--start", type=Path, help="go on from the weights of this teacher, with fewer steps")
    parser.add_argument("--controlnets-only", action="store_true", help="train the ControlNets of --start alone")
    parser.add_argument("--stage", choices=stages, help="run this stage alone")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see it run; the result is useless")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where the networks learn")
    parser.add_argument("--compile", action="store_true", help="1.3 times as fast after minutes; needs a C++ compiler")
    parser.add_argument("--steps", type=int, help="of the UNet, or of each ControlNet with --controlnets-only")
    seed_help = "with --start one 100 away from those before, or it sees their images"
    parser.add_argument("--seed", type=int, default=1000, help=seed_help)
    parser.add_argument("--processes", type=int, default=2, help="one-thread training processes")
    arguments = parser.parse_args()
    if arguments.smoke and not arguments.output:
        parser.error("--smoke makes a useless teacher: say where it may be written with --output.")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("There is no CUDA device on this machine: leave --device out to train on the CPU.")
    if arguments.controlnets_only and not arguments.start:
        parser.error("--controlnets-only keeps all else of a teacher that is there: say which with --start.")
    if arguments.steps is not None and arguments.steps < 1:
        parser.error(f"--steps is {arguments.steps}; it must be 1 or more.")
    if not 0 <= arguments.seed <= HIGHEST_SEED:
        parser.error(f"--seed is {arguments.seed}; it must be 0 to {HIGHEST_SEED}: higher ones are for measuring.")
    return arguments


def chosen_sizes(arguments: argparse.Namespace) -> Sizes:
    from .stages import ACCELERATED, CONTINUED, FULL, SMOKE

    on_cpu = CONTINUED if arguments.start else FULL
    sizes = SMOKE if arguments.smoke else ACCELERATED if arguments.device == "cuda" else on_cpu
    if not arguments.steps:
        return sizes
    return replace(sizes, **{"controlnet_steps" if arguments.controlnets_only else "unet_steps": arguments.steps})


def cpu_seconds() -> float:
    """CPU time of this process and its finished children."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.environ.update(ALLOCATOR)
        os.execv(sys.executable, [sys.executable, "-m", "training", *sys.argv[1:]])
    main()
