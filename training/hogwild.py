"""One training loop for every diffusion part: a few one-thread processes step on the same shared parameters, or one
process on a GPU.

Lock-free updates (Hogwild) suit a small shared machine: nobody waits for a process that another program
slows down. The first process also keeps the moving average that is kept in the end, logs, and writes
checkpoints (safetensors, aside and renamed): killing the run and starting it again continues from the last
one. Where the processor multiplies bfloat16 itself the loss is computed in it (1.6 times as fast here), with plain
attention: the fused kernel's backward pass is five times slower in bfloat16. Parameters and moments stay float32.
"""

from __future__ import annotations

import copy
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.multiprocessing as multiprocessing
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file, save_file
from torch import nn


class Task(Protocol):
    """What is trained. Crosses into the processes by pickling, so its tensors are shared, not copied.

    generator: on the device that the task was moved to.
    """

    def to(self, device: str) -> None: ...

    def loss(self, model: nn.Module, batch: int, generator: torch.Generator) -> torch.Tensor: ...

    def report(self, model: nn.Module) -> str: ...


@dataclass(frozen=True)
class Run:
    """folder: where the checkpoints lie. steps: of all processes together. average: decay of the moving
    average. device: "cpu", or "cuda" for one process there.
    """

    name: str
    folder: Path
    steps: int
    batch: int = 16
    rate: float = 1e-3
    processes: int = 2
    average: float = 0.998
    report_every: int = 500
    save_every: int = 200
    seed: int = 0
    device: str = "cpu"

    @property
    def result(self) -> Path:
        """The moving average of the parameters, refreshed with every checkpoint."""
        return self.folder / "average.safetensors"

    @property
    def marker(self) -> Path:
        return self.folder / "done"


def train(model: nn.Module, task: Task, run: Run) -> None:
    """Run `run.steps` steps, or what is left of them, and leave the averaged parameters in `run.result`."""
    run.folder.mkdir(parents=True, exist_ok=True)
    model.to(run.device, memory_format=torch.channels_last)
    task.to(run.device)
    if run.device == "cpu":
        model.set_attn_processor(AttnProcessor())
    counter = multiprocessing.get_context("spawn").Value("i", 0)
    if (run.folder / "model.safetensors").exists():
        state = load_file(run.folder / "model.safetensors", run.device)
        counter.value = int(state.pop("steps"))
        model.load_state_dict(state)
    if run.processes == 1 or run.device != "cpu":
        worker(0, model, task, run, counter)
    else:
        model.share_memory()
        multiprocessing.spawn(worker, (model, task, run, counter), nprocs=run.processes)
    run.marker.touch()


def rate_at(run: Run, step: int) -> float:
    """Linear warm-up over 100 steps, constant to 50 %, then linear down to 2 %."""
    fraction = step / run.steps
    return run.rate * min((step + 1) / 100, 1.0) * (1.0 if fraction < 0.5 else max(0.02, (1 - fraction) / 0.5))


def worker(rank: int, model: nn.Module, task: Task, run: Run, counter) -> None:
    torch.set_num_threads(1)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=run.rate, weight_decay=0.01, fused=True)
    restore_moments(optimizer, trained, run.folder / f"moments{rank}.safetensors")
    average = averaged_copy(model, run) if rank == 0 else None
    generator = torch.Generator(run.device).manual_seed(run.seed * 1009 + rank * 101 + counter.value * 7)
    done, begun = 0, time.monotonic()
    while (step := counter.value) < run.steps:
        for group in optimizer.param_groups:
            group["lr"] = rate_at(run, step)
        with torch.autocast(run.device, torch.bfloat16, enabled=run.device != "cpu" or has_bfloat16()):
            loss = task.loss(model, run.batch, generator)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with counter.get_lock():
            counter.value += 1
        done += 1
        if rank == 0:
            follow(average, model, min(run.average, (1 + step) / (10 + step)))
            if done % 50 == 0:
                log(run, f"{counter.value}/{run.steps} loss {loss.item():.4f} {spent(begun)}")
            if done % run.report_every == 0:
                log(run, f"{counter.value} {task.report(average)}")
        if done % run.save_every == 0:
            save_moments(optimizer, trained, run.folder / f"moments{rank}.safetensors")
            if rank == 0:
                save_models(model, average, counter.value, run)
    if rank == 0:
        save_models(model, average, counter.value, run)
        log(run, f"{counter.value} {task.report(average)}")
    log(run, f"process {rank}: {done} steps, {spent(begun)}")


def has_bfloat16() -> bool:
    return bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def spent(begun: float) -> str:
    return f"cpu {time.process_time():.0f} s, wall {time.monotonic() - begun:.0f} s"


def log(run: Run, line: str) -> None:
    line = f"{run.name} {line}"
    print(line, flush=True)
    with open(run.folder / "log.txt", "a") as stream:
        stream.write(line + "\n")


def averaged_copy(model: nn.Module, run: Run) -> nn.Module:
    average = copy.deepcopy(model).requires_grad_(False)
    if run.result.exists():
        average.load_state_dict(load_file(run.result))
    return average.to(run.device, memory_format=torch.channels_last)


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def save_models(model: nn.Module, average: nn.Module, steps: int, run: Run) -> None:
    write(contiguous(average.state_dict()), run.result)
    write({**contiguous(model.state_dict()), "steps": torch.tensor(steps)}, run.folder / "model.safetensors")


def contiguous(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in state.items()}


def save_moments(optimizer: torch.optim.Optimizer, trained: list[nn.Parameter], path: Path) -> None:
    state = {f"{key}.{i}": value for i, p in enumerate(trained) for key, value in optimizer.state[p].items()}
    write(contiguous(state), path)


def restore_moments(optimizer: torch.optim.Optimizer, trained: list[nn.Parameter], path: Path) -> None:
    if not path.exists():
        return
    state = load_file(path)
    for i, p in enumerate(trained):
        moments = {key: state[f"{key}.{i}"] for key in ("exp_avg", "exp_avg_sq", "step")}
        optimizer.state[p] = {
            k: v.to(p.device) if k == "step" else torch.empty_like(p).copy_(v) for k, v in moments.items()
        }


def write(state: dict[str, torch.Tensor], path: Path) -> None:
    aside = path.with_name(path.name + ".part")
    save_file(state, aside)
    os.replace(aside, path)
