"""Manifest loading: files, folders and stdin become checked objects that know their file and line.

Commands with `-f` call it. All errors of all files are reported before anything is sent, so that a folder with one bad
file changes nothing.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ktool.api.errors import Cause, UserError
from ktool.api.kind import Kind
from ktool.api.kinds import Kinds
from ktool.api.obj import Obj, get, meta, put
from ktool.api.ref import GroupKind, Ref
from ktool.api.rules import validation
from ktool.manifests import sops, yamltext
from ktool.manifests.yamltext import Document, Lines, YamlProblem

MAX_BYTES = 3 * 1024 * 1024
ENDINGS = (".yaml", ".yml", ".json")
STDIN = "-"


@dataclass(frozen=True)
class Manifest:
    """One object and its source: `document` counts from 1, `inside` is the path of a List's item (`items[2].`)."""

    obj: Obj
    file: str
    document: int
    lines: Lines
    inside: str = ""

    @property
    def title(self) -> str:
        """`Deployment web`, or as much of it as the object has."""
        name = meta(self.obj).get("name") or meta(self.obj).get("generateName")
        return " ".join(str(part) for part in (self.obj.get("kind"), name) if isinstance(part, str) and part)

    def line(self, path: str = "") -> int:
        """The line of the field at `path` (`spec.containers[0].image`), or of its nearest ancestor."""
        here = self.lines
        while path:
            step, path = _step(here, path)
            if step is None:
                break
            here = step
        return here.line

    def error(self, message: str, path: str = "") -> str:
        """One line of the error report: file, line, document, object, field and message."""
        parts = [f"{self.file}:{self.line(path)}", f"document {self.document}", self.title, self.inside + path, message]
        return ": ".join(part for part in parts if part)


def _step(here: Lines, path: str) -> tuple[Lines | None, str]:
    """Split `path` into the next member and the rest. Keys may contain dots, so the longest match wins."""
    if isinstance(here.members, list):
        digits, bracket, rest = path.removeprefix("[").partition("]")
        if path.startswith("[") and bracket and digits.isdecimal() and int(digits) < len(here.members):
            return here.members[int(digits)], rest.removeprefix(".")
        return None, ""
    bracketed = path.startswith("[")
    text = path[1:].lstrip("'\"") if bracketed else path
    for key in sorted(here.members or {}, key=len, reverse=True):
        rest = text[len(key) :]
        if key and text.startswith(key) and (not rest or rest[0] in ".[]'\""):
            assert isinstance(here.members, dict)
            return here.members[key], rest.lstrip("]'\"").removeprefix(".")
    return None, ""


class ManifestErrors(UserError):
    """All errors of the manifests, one line each."""

    def __init__(self, problems: Sequence[str], consequence: str = "nothing was applied") -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join([*problems, consequence]))


def load(
    sources: Sequence[str],
    kinds: Kinds,
    *,
    namespace: str,
    namespace_chosen: bool = False,
    recursive: bool = False,
    check_fields: bool = True,
    consequence: str = "nothing was applied",
) -> list[Manifest]:
    """Load the objects of files, folders and stdin (`-`), in apply order (Kind.apply_order).

    An object without a namespace gets `namespace`; where the user chose that with -n, a different one in the manifest
    is an error. `check_fields=False` skips the schema, for commands that need only the names. Raises ManifestErrors
    with every error found.
    """
    problems: list[str] = []
    sound: list[Manifest] = []
    for file, text in _texts(sources, recursive, problems):
        for manifest in _objects(file, text, kinds, problems):
            ready = _settle(manifest, kinds, namespace, namespace_chosen, check_fields, problems)
            if ready is not None:
                sound.append(ready)
    problems += _twins(sound)
    if problems:
        raise ManifestErrors(problems, consequence)
    if not sound:
        raise UserError(f"no objects found in {', '.join(_shown(source) for source in sources)}")
    return sorted(sound, key=lambda manifest: kinds[GroupKind.of(manifest.obj)].apply_order)


# --- files -------------------------------------------------------------------------------------------------------


def _texts(sources: Iterable[str], recursive: bool, problems: list[str]) -> Iterator[tuple[str, str]]:
    for source in sources:
        if source == STDIN:
            yield from _decoded("<stdin>", sys.stdin.buffer.read(MAX_BYTES + 1), problems)
            continue
        for path in _files(source, recursive, problems):
            try:
                with path.open("rb") as stream:
                    data = stream.read(MAX_BYTES + 1)
            except (OSError, ValueError) as error:
                problems.append(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}")
                continue
            yield from _decoded(str(path), data, problems)


def _files(source: str, recursive: bool, problems: list[str]) -> list[Path]:
    path = Path(source)
    try:
        if not path.is_dir():
            if path.exists():
                return [path]
            problems.append(f'the path "{_shown(source)}" does not exist')
            return []
        inside = sorted(path.rglob("*") if recursive else path.iterdir())
        found = [file for file in inside if file.suffix in ENDINGS and file.is_file()]
    except (OSError, ValueError) as error:
        problems.append(f"{_shown(source)}: cannot be read: {getattr(error, 'strerror', None) or error}")
        return []
    if not found:
        hint = "" if recursive else "; -R looks into its subfolders too"
        problems.append(f"no {', '.join('*' + ending for ending in ENDINGS)} files in {_shown(source)}{hint}")
    return found


def _shown(source: str) -> str:
    return "<stdin>" if source == STDIN else "".join(c if c.isprintable() else "?" for c in source)


def _decoded(file: str, data: bytes, problems: list[str]) -> Iterator[tuple[str, str]]:
    file = _shown(file)
    if len(data) > MAX_BYTES:
        problems.append(f"{file}: larger than {MAX_BYTES // 1024 // 1024} MiB; a manifest is not that large")
        return
    if b"\0" in data:
        problems.append(f"{file}: a binary file, not YAML or JSON text")
        return
    try:
        text = data.decode("utf-8-sig")
        yield file, sops.decrypted(file, text) if sops.encrypted(text) else text
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problems.append(f"{file}:{line}: not UTF-8 text (byte 0x{data[error.start]:02x})")
    except UserError as error:
        problems.append(error.message)


# --- documents ---------------------------------------------------------------------------------------------------


def _objects(file: str, text: str, kinds: Kinds, problems: list[str]) -> list[Manifest]:
    """The objects of one text, with Lists unrolled. YAML errors are appended to `problems`."""
    result: list[Manifest] = []
    try:
        for document in _documents(text):
            problems += [f"{file}:{line}: document {document.number}: {message}" for line, message in document.doubles]
            manifest = Manifest(document.value, file, document.number, document.lines)
            if not isinstance(document.value, dict):
                broken = replace(manifest, obj={})
                problems.append(broken.error(f"must be an object, not {_kind_of(document.value)}"))
            else:
                result += _unrolled(manifest, kinds, problems)
    except YamlProblem as error:
        problems.append(f"{file}:{error.line}: {error.message}")
    return result


def _documents(text: str) -> Iterator[Document]:
    """The documents of a YAML text, or of JSON where the text begins like it: JSON may hold tabs and escapes that YAML
    1.1 rejects."""
    if not text.lstrip().startswith("{"):
        yield from yamltext.documents(text)
        return
    try:
        values = list(_json_values(text))
    except (ValueError, RecursionError):
        yield from yamltext.documents(text)  # A flow mapping, or JSON with a mistake: YAML's message has the line.
        return
    doubles: list[tuple[int, str]] = []
    try:
        placed = list(yamltext.documents(text.replace("\t", " ")))
    except YamlProblem:
        placed = []
    for index, value in enumerate(values):
        lines = placed[index].lines if len(placed) == len(values) else Lines(1)
        doubles = list(placed[index].doubles) if len(placed) == len(values) else []
        yield Document(index + 1, value, lines, tuple(doubles))


_BETWEEN = re.compile(r"(?:[ \t\r\n]|(?<![^\n])---(?=\s))*")


def _json_values(text: str) -> Iterator[Any]:
    """JSON values one after the other, with or without the lines `---` of YAML between them."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    position = 0
    while (match := _BETWEEN.match(text, position)) and (position := match.end()) < len(text):
        value, position = decoder.raw_decode(text, position)
        if _depth_exceeds(value, yamltext.MAX_DEPTH):
            raise ValueError("nested too deeply")
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text: UnicodeEncodeError
        yield value


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [
            member
            for node in level
            if isinstance(node, (dict, list))
            for member in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return False
    return True


def _kind_of(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number"}.get(
        type(value), "a number" if isinstance(value, float) else "nothing"
    )


def _unrolled(manifest: Manifest, kinds: Kinds, problems: list[str]) -> list[Manifest]:
    """A v1 List (and kinds like PodList) stands for its items."""
    kind, items = manifest.obj.get("kind"), manifest.obj.get("items")
    if not (isinstance(kind, str) and kind.endswith("List")):
        return [manifest]
    if kind != "List" and GroupKind.of(manifest.obj) in kinds:
        return [manifest]
    if not isinstance(items, list):
        problems.append(manifest.error(f"must be a list, not {_kind_of(items)}", "items"))
        return []
    result: list[Manifest] = []
    places = manifest.lines.members.get("items") if isinstance(manifest.lines.members, dict) else None
    for index, item in enumerate(items):
        where = places.members[index] if places and isinstance(places.members, list) else manifest.lines
        inside = f"{manifest.inside}items[{index}]"
        if not isinstance(item, dict):
            problems.append(manifest.error(f"must be an object, not {_kind_of(item)}", inside))
            continue
        result += _unrolled(Manifest(item, manifest.file, manifest.document, where, f"{inside}."), kinds, problems)
    return result


# --- checks ------------------------------------------------------------------------------------------------------


def _settle(
    manifest: Manifest, kinds: Kinds, namespace: str, chosen: bool, check_fields: bool, problems: list[str]
) -> Manifest | None:
    """The manifest with its namespace, if nothing is wrong with it."""
    kind = _kind(manifest, kinds, problems)
    if kind is None:
        return None
    metadata = manifest.obj.get("metadata")
    if not isinstance(metadata, dict):
        what = "is missing" if metadata is None else f"must be an object, not {_kind_of(metadata)}"
        problems.append(manifest.error(what, "metadata"))
        return None
    if not _has_name(manifest, metadata, problems):
        return None
    given = metadata.get("namespace")
    if given is not None and not isinstance(given, str):
        problems.append(manifest.error(f"must be a string, not {_kind_of(given)}", "metadata.namespace"))
        return None
    if not kind.namespaced:
        if given:
            problems.append(manifest.error(f"a {kind.name} stands in no namespace", "metadata.namespace"))
            return None
    elif chosen and given and given != namespace:
        message = f'is "{given}", but -n says "{namespace}"'
        problems.append(manifest.error(message, "metadata.namespace"))
        return None
    elif not given:
        manifest = replace(manifest, obj=put(manifest.obj, "metadata", "namespace", namespace))
    causes = validation.without_echoes(validation.manifest_causes(kind, manifest.obj)) if check_fields else []
    problems += [manifest.error(cause.message, cause.field) for cause in causes]
    return None if causes else manifest


def _kind(manifest: Manifest, kinds: Kinds, problems: list[str]) -> Kind | None:
    """The Kind of an object, or a problem that says which one may have been meant."""
    version, name = manifest.obj.get("apiVersion"), manifest.obj.get("kind")
    missing = [field for field, value in (("apiVersion", version), ("kind", name)) if value in (None, "")]
    if missing:
        problems.append(manifest.error(" and ".join(missing) + (" are" if missing[1:] else " is") + " missing"))
        return None
    for field, value in (("apiVersion", version), ("kind", name)):
        if not isinstance(value, str):
            problems.append(manifest.error(f"must be a string, not {_kind_of(value)}", field))
            return None
    kind = kinds.get(GroupKind.of(manifest.obj))
    others = [kind] if kind is not None else kinds.named(str(name))
    if not others:
        names = [kind.name for kind in kinds]
        by_case = [known for known in names if known.lower() == str(name).lower()]
        close = by_case or difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
        hint = f'; did you mean "{close[0]}"?' if close else "; `ktool api-resources` lists what there is"
        problems.append(manifest.error(f'unknown kind "{name}" ({version}){hint}', "kind"))
        return None
    if kind is None or not kind.serves(str(version)):
        known = " or ".join(f'"{other.api_version}"' for other in others)
        problems.append(manifest.error(f'a {name} is {known}, not "{version}"', "apiVersion"))
        return None
    return kind


def _has_name(manifest: Manifest, metadata: Obj, problems: list[str]) -> bool:
    for field in ("name", "generateName"):
        value = metadata.get(field)
        if value is not None and not isinstance(value, str):
            hint = "; write it in quotes" if isinstance(value, (bool, int, float)) else ""
            problems.append(manifest.error(f"must be a string, not {_kind_of(value)}{hint}", f"metadata.{field}"))
            return False
    if not metadata.get("name") and not metadata.get("generateName"):
        problems.append(manifest.error("is missing", "metadata.name"))
        return False
    return True


def _twins(manifests: Sequence[Manifest]) -> list[str]:
    """Errors for an object given twice: typically a file that was copied and not renamed."""
    first: dict[Ref, Manifest] = {}
    problems = []
    for manifest in manifests:
        if not get(manifest.obj, "metadata", "name"):
            continue  # generateName: each is another object
        ref = Ref.of(manifest.obj)
        before = first.setdefault(ref, manifest)
        if before is not manifest:
            place = f"{before.file}:{before.line()}"
            problems.append(manifest.error(f"the same object is in {place} (document {before.document}) already"))
    return problems


def refused(manifests: Sequence[Manifest], causes: Iterable[Cause], consequence: str) -> ManifestErrors | None:
    """A server's refusal of a whole apply (`[index].field` in each cause) as places in the manifests. None where a
    cause names no object."""
    problems = []
    for cause in causes:
        digits, bracket, path = cause.field.removeprefix("[").partition("]")
        if not (cause.field.startswith("[") and bracket and digits.isdecimal() and int(digits) < len(manifests)):
            return None
        problems.append(manifests[int(digits)].error(cause.message, path.removeprefix(".")))
    return ManifestErrors(problems, consequence) if problems else None
