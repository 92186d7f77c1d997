"""The values of a Secret in an editor: YAML in a file that exists in memory only."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ktool.api.errors import Cause, UserError
from ktool.api.masked import Masked, encoded, values
from ktool.api.ref import SECRET
from ktool.api.rules import validation
from ktool.cli.plumbing.resourceargs import kinds
from ktool.logic.secrets import secretdata
from ktool.manifests import dump, yamltext

HEAD = """\
# The values of {what}: save and leave the editor to store them. Without a change, and with nothing left in
# the file, nothing happens. What is removed here is removed there. Bytes that are no text stand under data, in base64.
"""


def edited(what: str, held: Mapping[str, Masked]) -> dict[str, Masked]:
    """The values as they are after editing. UserError where there is no place in memory, or no editor."""
    folder = Path(tempfile.mkdtemp(prefix="ktool-edit-", dir=_memory()))  # mode 0700
    try:
        wanted = _until_sound(folder / "secret.yaml", HEAD.format(what=what), _written(held))
        return dict(held) if wanted is None else wanted
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory() -> str:
    """A folder in tmpfs: what is written there never reaches a disk (but for swap)."""
    candidates = [os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{os.getuid()}", "/dev/shm", "/run"]
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        mounts = []
    kinds = {fields[1]: fields[2] for line in mounts if len(fields := line.split()) > 2}
    for path in filter(None, candidates):
        inside = [point for point in kinds if Path(path).is_relative_to(point)]
        if inside and kinds[max(inside, key=len)] in ("tmpfs", "ramfs") and os.access(path, os.W_OK):
            return path
    raise UserError("no tmpfs that you may write to, such as /dev/shm: use `ktool secret set` instead")


def _until_sound(file: Path, head: str, text: str) -> dict[str, Masked] | None:
    """Edit until the file makes sense; None where nothing is left in it. One that was left as it was after a mistake is
    given up."""
    complaint = ""
    while True:
        before = f"{head}{complaint}{text}"
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            stream.write(before)
        _run_editor(file)
        after = file.read_text(encoding="utf-8", errors="replace")
        try:
            return _read(after)
        except UserError as error:
            if after == before:
                raise UserError(f"nothing was changed: {error.message}") from None
            print(f"error: {error.message}", file=sys.stderr)
            complaint = f"#\n# {error.message}\n"
            text = "".join(line for line in after.splitlines(keepends=True) if not line.startswith("#"))


def _run_editor(file: Path) -> None:
    command = next((found for name in ("KUBE_EDITOR", "VISUAL", "EDITOR") if (found := os.environ.get(name))), "vi")
    try:
        done = subprocess.run([*shlex.split(command), str(file)], check=False)
    except (OSError, ValueError) as error:
        raise UserError(f"the editor {command!r} cannot be started: {error}; set EDITOR") from None
    if done.returncode:
        raise UserError(f"nothing was changed: the editor {command!r} ended with exit code {done.returncode}")


def _written(held: Mapping[str, Masked]) -> str:
    found: dict[str, dict[str, str]] = {}
    for key, value in sorted(held.items()):
        try:
            found.setdefault("stringData", {})[key] = value.reveal().decode()
        except UnicodeDecodeError:
            found.setdefault("data", {})[key] = encoded(value)
    return dump.to_yaml(found or {"stringData": {}})


def _read(text: str) -> dict[str, Masked] | None:
    """The values in the file, None for an empty one. UserError for what makes no sense."""
    try:
        documents = list(yamltext.documents(text))
    except yamltext.YamlProblem as error:
        raise UserError(f"line {error.line}: {error.message}") from None
    if not documents:
        return None
    doubles = [f"line {line}: {message}" for document in documents for line, message in document.doubles]
    whole = documents[0].value
    if doubles:
        raise UserError(doubles[0])
    if len(documents) > 1 or not isinstance(whole, dict):
        raise UserError("the file must be one map with stringData and data")
    kind = kinds()[SECRET]
    obj = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x", "namespace": "x"}, **whole}
    if causes := validation.manifest_causes(kind, obj) or [
        Cause(key, "does not belong here") for key in whole if key not in _HELD
    ]:
        raise UserError("; ".join(map(str, causes)))
    return values(secretdata.absorbed(obj))


_HELD = ("stringData", "data")
