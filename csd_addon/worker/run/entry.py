"""The worker's entry into a job: a texture, an edit or a diagnosis, by what its ``job.json`` says."""

from __future__ import annotations

import os

import torch

from ...jobs.folder import JobFolder
from ..serve.control import Control
from ..serve.process import Emit
from .diagnosis import diagnose
from .edit import EditProduct
from .grow import grow
from .session import Session
from .texture import TextureProduct


def run_job(folder: JobFolder, control: Control, emit: Emit, resume: bool) -> None:
    """Run the job in ``folder``; ends with ``Done`` or ``Cancelled``.

    Raises ``JobFailure`` with a sentence for the artist.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    session = Session(folder, control, emit)
    if session.settings.kind == "diagnosis":
        diagnose(session)
    elif session.settings.kind == "edit":
        grow(session, EditProduct(session), resume=resume)
    else:
        grow(session, TextureProduct(session), resume=resume)
