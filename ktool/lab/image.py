"""Container images of the lab: built from Debian's own busybox, Perl and catatonit, and pushed to the lab's registry.

lab/lifecycle calls it. No container is needed to build them: an image is a few tar files and two JSON documents (OCI
image specification), and a push is a few HTTP requests (OCI distribution specification). Builds are reproducible: the
same files give the same digests.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import platform
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from .host import run
from .layout import REGISTRY_NAME, LabError

WEB_IMAGES = tuple(f"{REGISTRY_NAME}/web:{tag}" for tag in ("v1", "v2", "broken"))
PAUSE = f"{REGISTRY_NAME}/pause:1"

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_PASSWD = """root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/sh
app:x:1000:1000:app:/home/app:/bin/sh
"""
_GROUP = "root:x:0:\nnogroup:x:65534:\napp:x:1000:\n"


@dataclass(frozen=True)
class Image:
    """An image ready to push: `blobs` maps digests to its configuration and layers."""

    repository: str
    tag: str
    manifest: bytes
    blobs: dict[str, bytes]


def build(web_pl: str) -> tuple[Image, ...]:
    """All images of a lab. `web_pl` is the text of the web server. LabError when a source file is missing."""
    base = _tar(_base_files())
    app = _tar({"srv/web.pl": (0o644, web_pl.encode())})
    pause = _tar({"catatonit": (0o755, _read("/usr/bin/catatonit"))})
    path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    command = {"Cmd": ["/usr/bin/perl", "/srv/web.pl"], "WorkingDir": "/", "ExposedPorts": {"8080/tcp": {}}}
    web = [_image(tag, [base, app], {"Env": [path, f"VERSION={tag}"], **command}) for tag in ("v1", "v2", "broken")]
    return (*web, _image("1", [pause], {"Env": [path], "Entrypoint": ["/catatonit", "-P"]}, "pause"))


def push(registry: str, images: tuple[Image, ...]) -> int:
    """Push the blobs and manifests that the registry (address:port) lacks. Returns how many images that were."""
    connection = http.client.HTTPConnection(registry, timeout=30)
    try:
        missing = [image for image in images if not _has(connection, image)]
        for image in missing:
            for digest, blob in image.blobs.items():
                _push_blob(connection, image.repository, digest, blob)
            path = f"/v2/{image.repository}/manifests/{image.tag}"
            _request(connection, "PUT", path, 201, image.manifest, _MANIFEST)
        return len(missing)
    except (OSError, http.client.HTTPException) as error:
        raise LabError(f"The lab's registry at {registry} does not take images: {error!r}.") from error
    finally:
        connection.close()


def _image(tag: str, layers: list[bytes], config: dict[str, object], repository: str = "web") -> Image:
    configuration = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer) for layer in layers]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "ktool lab"} for _ in layers],
    }
    text = json.dumps(configuration, sort_keys=True).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _descriptor("application/vnd.oci.image.config.v1+json", text),
        # Not compressed: the layers are read again on this very machine, and gzip would be most of the time.
        "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer) for layer in layers],
    }
    blobs = {_digest(blob): blob for blob in (*layers, text)}
    return Image(repository, tag, json.dumps(manifest, sort_keys=True).encode(), blobs)


def _descriptor(media_type: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


# --- files -----------------------------------------------------------------------------------------------------------


def _base_files() -> dict[str, tuple[int, bytes | str]]:
    """Files of the base image: path -> (mode, content), or (mode, target) for a link."""
    files: dict[str, tuple[int, bytes | str]] = {
        "etc/passwd": (0o644, _PASSWD.encode()),
        "etc/group": (0o644, _GROUP.encode()),
        "etc/nsswitch.conf": (0o644, b"hosts: files dns\n"),
        "bin/busybox": (0o755, _read("/bin/busybox")),
    }
    for applet in run("/bin/busybox", "--list").split():
        files.setdefault(f"bin/{applet}", (0o777, "busybox"))
    # Perl names what it loaded for these modules; ldd names the libraries.
    loaded = run(
        "/usr/bin/perl",
        "-MSocket",
        "-MPOSIX",
        "-MErrno",
        "-e",
        'print join("\\n", values %INC, @DynaLoader::dl_shared_objects)',
    )
    for path in ("/usr/bin/perl", *loaded.split()):
        files[path.lstrip("/")] = (0o755 if path.endswith(("/perl", ".so")) else 0o644, _read(path))
        if path.endswith(("/perl", ".so")):
            for library in re.findall(r"(/\S+) \(0x", run("ldd", path)):
                files[library.lstrip("/")] = (0o755, _read(library))
    return files


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise LabError(f"The lab's images need {path}, which cannot be read: {error.strerror}.") from error


def _tar(files: dict[str, tuple[int, bytes | str]]) -> bytes:
    """A reproducible tar of these files and their parent directories: no clock and no user of this machine in it."""
    buffer = io.BytesIO()
    directories = {"tmp": 0o1777, "root": 0o700} if "etc/passwd" in files else {}
    for path in files:
        for parent in Path(path).parents:
            directories.setdefault(str(parent), 0o755)
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(directories):
            if path != ".":
                _add(archive, path, directories[path], tarfile.DIRTYPE)
        for path, (mode, content) in sorted(files.items()):
            if isinstance(content, str):
                _add(archive, path, mode, tarfile.SYMTYPE, target=content)
            else:
                _add(archive, path, mode, tarfile.REGTYPE, content)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, path: str, mode: int, kind: bytes, content: bytes = b"", target: str = "") -> None:
    info = tarfile.TarInfo(path)
    info.mode, info.type, info.size, info.linkname = mode, kind, len(content), target
    archive.addfile(info, io.BytesIO(content))


# --- registry --------------------------------------------------------------------------------------------------------


def _request(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    expect: int,
    body: bytes = b"",
    media_type: str = "application/octet-stream",
) -> http.client.HTTPResponse:
    connection.request(method, path, body, {"Content-Type": media_type})
    response = connection.getresponse()
    text = response.read()
    if response.status != expect:
        raise LabError(f"The lab's registry answered {response.status} to {method} {path}: {text[:200]!r}.")
    return response


def _has(connection: http.client.HTTPConnection, image: Image) -> bool:
    connection.request("HEAD", f"/v2/{image.repository}/manifests/{image.tag}", headers={"Accept": _MANIFEST})
    response = connection.getresponse()
    response.read()
    return response.status == 200 and response.headers["Docker-Content-Digest"] == _digest(image.manifest)


def _push_blob(connection: http.client.HTTPConnection, repository: str, digest: str, blob: bytes) -> None:
    connection.request("HEAD", f"/v2/{repository}/blobs/{digest}")
    response = connection.getresponse()
    response.read()
    if response.status == 200:
        return
    where = _request(connection, "POST", f"/v2/{repository}/blobs/uploads/", 202).headers["Location"]
    where += ("&" if "?" in where else "?") + f"digest={digest}"
    _request(connection, "PUT", where, 201, blob)
