"""Volume: the wanted content of a volume directory on a node. logic/pod/podvolumes makes it, WriteVolumes writes it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ktool.api.masked import Masked


@dataclass(frozen=True)
class VolumeFile:
    """One file of a volume: a path inside it, its bytes and its mode. `origin` replaces the bytes of a Secret in
    hashes: nodes see the hash, and a short value could be guessed from it."""

    path: str
    data: bytes | Masked = field(repr=False)
    mode: int
    origin: str = ""

    @property
    def content(self) -> bytes:
        return self.data.reveal() if isinstance(self.data, Masked) else self.data


@dataclass(frozen=True)
class Volume:
    """A volume directory of a pod. `medium` "" is the disk, "Memory" a tmpfs of `size` bytes (0: no limit). `files` are
    written in one step, so that a reader sees the old set or the new one. `gid`: fsGroup, or -1."""

    name: str
    medium: str = ""
    size: int = 0
    files: tuple[VolumeFile, ...] = ()
    hash: str = ""
    mode: int = 0o777
    gid: int = -1
