"""`-o custom-columns`: a table whose columns the user names by paths."""

from __future__ import annotations

from collections.abc import Sequence

from ktool.api.errors import JsonPathError, UsageError
from ktool.api.jsonpath.evaluate import Path, find, relaxed, text_of
from ktool.api.obj import Obj
from ktool.present.table import Table


class CustomColumns:
    """`-o custom-columns=NAME:.metadata.name,NODE:.spec.nodeName`."""

    def __init__(self, spec: str, *, headless: bool) -> None:
        if not spec:
            raise UsageError("custom-columns format specified but no custom columns given")
        header: list[str] = []
        self._paths: list[Path] = []
        for part in _split(spec):
            title, colon, path = part.partition(":")
            if not colon or not path:
                raise UsageError(f"unexpected custom-columns spec: {part!r}, expected <header>:<json-path-expr>")
            header.append(title)
            try:
                self._paths.append(relaxed(path))
            except JsonPathError as error:
                raise UsageError(f"custom-columns: {path!r}: {error}") from None
        self._table = Table(header, headless=headless or not any(header))

    def lines(self, objects: Sequence[Obj]) -> list[str]:
        return self._table.lines([[self._cell(path, obj) for path in self._paths] for obj in objects])

    def _cell(self, path: Path, obj: Obj) -> str:
        return ",".join("<nil>" if value is None else text_of(value) for value in find(path, obj, obj))


def _split(spec: str) -> list[str]:
    """At the commas that are not inside brackets."""
    parts, depth = [""], 0
    for char in spec:
        depth += (char in "[({") - (char in "])}")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts
