"""Volume: what a volume directory on a node is to hold. podvolumes renders it, WriteVolumes brings it there."""

from __future__ import annotations

from dataclasses import dataclass, field

from ktool.api.masked import Masked


@dataclass(frozen=True)
class VolumeFile:
    """One file of a volume: a path inside it, its bytes and its mode. `origin` stands for the bytes of a Secret where
    a hash is made of them: the hash is seen on the node, and could be guessed back from."""

    path: str
    data: bytes | Masked = field(repr=False)
    mode: int
    origin: str = ""

    @property
    def content(self) -> bytes:
        return self.data.reveal() if isinstance(self.data, Masked) else self.data


@dataclass(frozen=True)
class Volume:
    """A volume directory of a pod. `medium` "" is the disk, "Memory" a tmpfs of `size` bytes (0: no limit).
    `files` are written in one step, so that a reader sees the old set or the new one. `gid`: fsGroup, or -1."""

    name: str
    medium: str = ""
    size: int = 0
    files: tuple[VolumeFile, ...] = ()
    hash: str = ""
    mode: int = 0o777
    gid: int = -1
