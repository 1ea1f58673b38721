"""The teachers that can be downloaded: from whom, which files, how large, under which licence, with which sums.

Only data and what follows from it. Revisions are pinned, so what an address holds never changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import TeacherMissing

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SD15_DEPTH = "lllyasviel/control_v11f1p_sd15_depth"
SD15_CANNY = "lllyasviel/control_v11p_sd15_canny"

# The hub, and a public copy of it that serves the same paths.
HUBS = ("https://huggingface.co", "https://hf-mirror.com")
REVISIONS = {
    SD15: "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
    SD15_DEPTH: "539f99181d33db39cf1af2e517cd8056785f0a87",
    SD15_CANNY: "115a470d547982438f70198e353a921996e2e819",
}
# A file of unknown size may be this many times as large as its estimate.
SIZE_MARGIN = 2.0


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository."""

    repository: str
    # Inside the repository.
    path: str
    # Where it goes below the teacher's folder, with slashes.
    target: str
    # In bytes.
    size: int
    # Whether ``size`` is known. Else it is an estimate, and what comes is checked against the server's length.
    exact: bool = True
    # None where we know no sum from a second place. Such a file is checked by its structure and by the sum that the hub
    # announces for it.
    sha256: str | None = None

    @property
    def limit(self) -> int:
        """The most bytes that are accepted."""
        return self.size if self.exact else int(self.size * SIZE_MARGIN) + 2**16

    def addresses(self, mirror: str | None = None) -> list[str]:
        """Return the URLs that hold the file, in the order of trying.

        ``mirror``: the URL of a hub of the user's own, which is tried first.
        """
        hubs = [mirror.rstrip("/"), *HUBS] if mirror else list(HUBS)
        return [f"{hub}/{self.repository}/resolve/{REVISIONS[self.repository]}/{self.path}" for hub in hubs]


@dataclass(frozen=True)
class Licence:
    """The terms of a part of a teacher."""

    name: str
    # A URL.
    address: str
    # The parts that it holds for, and what it allows.
    covers: str


@dataclass(frozen=True)
class RemoteTeacher:
    """A teacher that can be downloaded."""

    # The name of its folder below ``Paths.teachers``, and its name for the user.
    identifier: str
    title: str
    publishers: tuple[str, ...]
    licences: tuple[Licence, ...]
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files, in part estimated where not ``exact``."""
        return sum(file.size for file in self.files)

    @property
    def exact(self) -> bool:
        """Whether ``size`` is right to the byte."""
        return all(file.exact for file in self.files)


def require_mirror(address: str) -> str:
    """Return ``address`` if it can be a hub's URL. Raises ValueError with a sentence if it can't."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"The mirror '{address}' is no http or https address; to use files that are on this disk give their "
            "folder as the teacher."
        )
    return address


def find_remote_teacher(identifier: str) -> RemoteTeacher:
    """Return the teacher of that name. Raises TeacherMissing, which names those that there are."""
    for teacher in REMOTE_TEACHERS:
        if teacher.identifier == identifier:
            return teacher
    names = ", ".join(teacher.identifier for teacher in REMOTE_TEACHERS)
    raise TeacherMissing(f"There is no teacher '{identifier}' to download; there is: {names}.")


def _sd15(path: str, size: int, sha256: str) -> RemoteFile:
    return RemoteFile(SD15, path, path, size, sha256=sha256)


def _controlnet(repository: str, folder: str) -> tuple[RemoteFile, ...]:
    # Sizes: those of another ControlNet 1.1 of the same architecture. No sums are known from a second place.
    weights = "diffusion_pytorch_model.fp16.safetensors"
    return (
        RemoteFile(repository, "config.json", f"{folder}/config.json", 999, exact=False),
        RemoteFile(repository, weights, f"{folder}/{weights}", 722_598_642, exact=False),
    )


_BASE = (
    _sd15("scheduler/scheduler_config.json", 308, "699cce92eb7c122e2eb7dfdea78e6187fda76a5ed4a8e42319b85610e620e091"),
    _sd15("tokenizer/merges.txt", 524_619, "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a"),
    _sd15("tokenizer/special_tokens_map.json", 472, "c4864a9376a8401918425bed71fc14fc0e81f9b59ec45c1cf96cccb2df508eac"),
    _sd15("tokenizer/tokenizer_config.json", 806, "00439066fcba73de57644cf41e4e3b9f2dbb09d7f3fc2005898ba52399045882"),
    _sd15("tokenizer/vocab.json", 1_059_962, "e089ad92ba36837a0d31433e555c8f45fe601ab5c221d4f607ded32d9f7a4349"),
    _sd15("text_encoder/config.json", 617, "845df614cb9327ae7bbea027316246fae917827407da6df13572e41b5f93b4cc"),
    _sd15("text_encoder/model.fp16.safetensors", 246_144_864,
          "77795e2023adcf39bc29a884661950380bd093cf0750a966d473d1718dc9ef4e"),
    _sd15("vae/config.json", 547, "786a7d21647ddea6a04b9675c03d3cb45e90a2f3c6da5fbda2c54ade040036de"),
    _sd15("vae/diffusion_pytorch_model.fp16.safetensors", 167_335_342,
          "4fbcf0ebe55a0984f5a5e00d8c4521d52359af7229bb4d81890039d2aa16dd7c"),
    _sd15("unet/config.json", 743, "78f474de6bab3d893868f37be97b636ae65c0df3073ed3256ca458ff599b5f96"),
    _sd15("unet/diffusion_pytorch_model.fp16.safetensors", 1_719_125_304,
          "c83908253f9a64d08c25fc90874c9c8aef9a329ce1ca5fb909d73b0c83d1ea21"),
)  # fmt: skip

REMOTE_TEACHERS = (
    RemoteTeacher(
        "sd15",
        "Stable Diffusion 1.5 with depth and canny ControlNets",
        (
            "stable-diffusion-v1-5 (the community's copy of the model by Runway and CompVis)",
            "lllyasviel (ControlNet 1.1)",
        ),
        (
            Licence(
                "CreativeML Open RAIL-M", "https://huggingface.co/spaces/CompVis/stable-diffusion-license",
                "Stable Diffusion 1.5: commercial use is allowed, the uses that its attachment A lists are not",
            ),
            Licence(
                "OpenRAIL", f"https://huggingface.co/{SD15_DEPTH}",
                "the two ControlNets: the same kind of terms",
            ),
        ),
        (*_BASE, *_controlnet(SD15_DEPTH, "controlnet_depth"), *_controlnet(SD15_CANNY, "controlnet_canny")),
    ),
)  # fmt: skip
