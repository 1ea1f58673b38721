"""The worker's entry into a job: a texture, an edit or a diagnosis, by what its ``job.json`` says."""

from __future__ import annotations

import os

import torch

from ...jobs.folder import JobFolder, read_json
from ..serve.control import Control, JobFailure
from ..serve.process import Emit
from .diagnosis import Diagnosis
from .edit import EditRun
from .texture import TextureRun


def run_job(folder: JobFolder, control: Control, emit: Emit, resume: bool) -> None:
    """Run the job in ``folder``; ends with ``Done`` or ``Cancelled``.

    Raises ``JobFailure`` with a sentence for the artist.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    try:
        kind = read_json(folder.job).get("settings", {}).get("kind", "texture")
    except ValueError as error:
        raise JobFailure("input", str(error)) from error
    run = {"edit": EditRun, "diagnosis": Diagnosis}.get(kind, TextureRun)
    run(folder, control, emit).run(resume)
