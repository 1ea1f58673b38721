"""One training loop for every diffusion part: a few one-thread processes step on the same shared parameters, or one
process on a GPU.

Lock-free updates (Hogwild) suit a small shared machine: nobody waits for a process that another program
slows down. The first process also keeps the moving average that is kept in the end, logs, and writes
checkpoints (safetensors, aside and renamed): killing the run and starting it again continues from the last
one. Where the processor multiplies bfloat16 itself the loss is computed in it (1.6 times as fast here), with plain
attention: the fused kernel's backward pass is five times slower in bfloat16. Parameters and moments stay float32.

Matrices, and convolutions as the matrices that they are, learn by Muon; gains, biases, and the layers at both ends by
AdamW.
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

from csd_addon.worker.teacher.device import has_bfloat16

# The layers that read and write what is not the network's own.
ENDS = ("conv_in", "conv_out", "controlnet_cond_embedding")


class Task(Protocol):
    """What is trained. Crosses into the processes by pickling, so its tensors are shared, not copied.

    generator: on the device that the task was moved to.
    """

    def to(self, device: str) -> None: ...

    def loss(self, model: nn.Module, batch: int, generator: torch.Generator) -> torch.Tensor: ...

    def report(self, model: nn.Module) -> str: ...

    def draw(self, model: nn.Module, path: Path) -> None:
        """Write a sheet of samples."""


@dataclass(frozen=True)
class Run:
    """folder: where the checkpoints lie. steps: of all processes together; those between two reports, checkpoints and
    sheets of samples are those of one. average: decay of the moving
    average. device: "cpu", or "cuda" for one process there. compiled: by torch's compiler, which takes minutes first.
    """

    name: str
    folder: Path
    steps: int
    batch: int = 16
    rate: float = 2e-3
    processes: int = 2
    average: float = 0.998
    report_every: int = 500
    draw_every: int = 1000
    save_every: int = 200
    seed: int = 0
    device: str = "cpu"
    compiled: bool = False

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
    learner = Learner(model, run.rate)
    learner.restore(run.folder / f"moments{rank}.safetensors")
    average = averaged_copy(model, run) if rank == 0 else None
    fast = torch.compile(model) if run.compiled else model
    generator = torch.Generator(run.device).manual_seed(run.seed * 1009 + rank * 101 + counter.value * 7)
    done, begun = 0, time.monotonic()
    while (step := counter.value) < run.steps:
        with torch.autocast(run.device, torch.bfloat16, enabled=run.device != "cpu" or has_bfloat16()):
            loss = task.loss(fast, run.batch, generator)
        loss.backward()
        learner.step(rate_at(run, step))
        with counter.get_lock():
            counter.value += 1
        done += 1
        if rank == 0:
            follow(average, model, min(run.average, (1 + step) / (10 + step)))
            if done % 50 == 0:
                log(run, f"{counter.value}/{run.steps} loss {loss.item():.4f} {spent(begun)}")
            if done % run.report_every == 0:
                log(run, f"{counter.value} {task.report(average)}")
            if done % run.draw_every == 0:
                task.draw(average, run.folder / f"samples_{counter.value:06d}.png")
        if done % run.save_every == 0:
            learner.save(run.folder / f"moments{rank}.safetensors")
            if rank == 0:
                save_models(model, average, counter.value, run)
    if rank == 0:
        save_models(model, average, counter.value, run)
        log(run, f"{counter.value} {task.report(average)}")
    log(run, f"process {rank}: {done} steps, {spent(begun)}")


class Learner:
    """The two optimisers of a model's parameters, with one learning rate for both. Its channels lie last.

    Muon makes the update of a matrix orthogonal, so that rare directions are learned as fast as common ones; its
    steps are scaled to AdamW's size. It takes matrices alone, so it is given views of the convolutions' weights.
    """

    def __init__(self, model: nn.Module, rate: float) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        inner = {name for name, p in named if p.ndim > 1 and not name.startswith(ENDS)}
        self.matrices = [(p, nn.Parameter(as_matrix(p.detach()))) for name, p in named if name in inner]
        if any(p.data_ptr() != matrix.data_ptr() for p, matrix in self.matrices):
            raise ValueError("A weight does not lie with its channels last: its matrix is a copy and trains nothing.")
        others = [p for name, p in named if name not in inner]
        flat = [matrix for _, matrix in self.matrices]
        muon = torch.optim.Muon(flat, lr=rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw") if flat else None
        adam = torch.optim.AdamW(others, lr=rate, weight_decay=0.01, fused=True) if others else None
        self.parameters = [p for _, p in named]
        self.optimizers = [optimizer for optimizer in (muon, adam) if optimizer]

    def step(self, rate: float) -> None:
        """One update by the parameters' gradients, which are used up."""
        nn.utils.clip_grad_norm_(self.parameters, 1.0, foreach=True)
        for parameter, matrix in self.matrices:
            matrix.grad = None if parameter.grad is None else as_matrix(parameter.grad)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        for parameter in self.parameters:
            parameter.grad = None

    def save(self, path: Path) -> None:
        write(contiguous({
            f"{number}.{i}.{key}": value
            for number, optimizer in enumerate(self.optimizers)
            for i, p in enumerate(optimizer.param_groups[0]["params"]) for key, value in optimizer.state[p].items()
        }), path)  # fmt: skip

    def restore(self, path: Path) -> None:
        """Take up what `save` wrote, if it is there."""
        if not path.exists():
            return
        for name, value in load_file(path).items():
            number, i, key = name.split(".")
            p = self.optimizers[int(number)].param_groups[0]["params"][int(i)]
            self.optimizers[int(number)].state[p][key] = (
                value if key == "step" else torch.empty_like(p).copy_(value)
            )


def as_matrix(weight: torch.Tensor) -> torch.Tensor:
    """[O, N], or [O, I, h, w] with the channels last as [O, h w I]; shares the memory if that is how it lies."""
    return weight if weight.ndim == 2 else weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


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


def write(state: dict[str, torch.Tensor], path: Path) -> None:
    aside = path.with_name(path.name + ".part")
    save_file(state, aside)
    os.replace(aside, path)
