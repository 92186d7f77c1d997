"""`-o`: objects as names, YAML, JSON, through a JSONPath template or in columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ktool.api.errors import JsonPathError, UsageError, UserError
from ktool.api.obj import Obj, drop, name
from ktool.api.ref import GroupKind

if TYPE_CHECKING:
    from ktool.api.jsonpath.evaluate import Template
    from ktool.present.customcolumns import CustomColumns

FORMATS = ("wide", "yaml", "json", "name", "jsonpath", "custom-columns")


@dataclass(frozen=True)
class Output:
    """What -o asked for; `argument` is what stood after the `=`."""

    format: str = ""
    argument: str = ""
    headless: bool = False
    only: tuple[str, ...] = field(default=FORMATS, repr=False)

    @property
    def is_table(self) -> bool:
        return self.format in ("", "wide")

    @cached_property
    def _template(self) -> Template:
        # kubectl would print a template without braces as it is, which nobody can mean.
        from ktool.api.jsonpath.evaluate import Template

        text = self.argument if "{" in self.argument else "{" + self.argument + "}"
        return Template(text)

    @cached_property
    def _columns(self) -> CustomColumns:
        from ktool.present.customcolumns import CustomColumns

        return CustomColumns(self.argument, headless=self.headless)

    def text(self, objects: Sequence[Obj], *, listed: bool) -> str:
        """The objects, each line ended. `listed`: show them as a v1 List even where there is only one."""
        if self.format == "name":
            return "".join(f"{shown(obj)}\n" for obj in objects)
        if self.format == "custom-columns":
            return "".join(f"{line}\n" for line in self._columns.lines(objects))
        whole = as_list(objects) if listed else objects[0]
        if self.format == "json":
            return json.dumps(whole, indent=4, sort_keys=True, ensure_ascii=False) + "\n"
        if self.format == "yaml":
            from ktool.manifests.dump import to_yaml

            return to_yaml(whole)
        try:
            return self._template.render(whole)
        except JsonPathError as error:
            raise UserError(f"error executing jsonpath {self.argument!r}: {error}") from None


def parse(text: str, *, headless: bool = False, only: Sequence[str] = FORMATS) -> Output:
    """Read the value of -o. UsageError where it is none that the command knows, or its argument cannot be read."""
    word, equals, argument = text.partition("=")
    if word not in ("", *only):
        raise UsageError(f"unable to match a printer suitable for the output format {text!r}; use {', '.join(only)}")
    needs = word in ("jsonpath", "custom-columns")
    if needs and not argument:
        raise UsageError(f"-o {word} needs its {'template' if word == 'jsonpath' else 'columns'}: -o {word}=...")
    if equals and not needs:
        raise UsageError(f"-o {word} takes no argument")
    output = Output(word, argument, headless, tuple(only))
    try:
        if word == "jsonpath":
            _ = output._template
        elif word == "custom-columns":
            _ = output._columns
    except JsonPathError as error:
        raise UsageError(f"error parsing jsonpath {argument!r}: {error}") from None
    return output


def shown(obj: Obj) -> str:
    """`deployment.apps/web`, also for a kind this program does not know."""
    return GroupKind.of(obj).display(name(obj))


def as_list(objects: Sequence[Obj]) -> Obj:
    """A v1 List, as kubectl prints several objects."""
    return {"apiVersion": "v1", "items": list(objects), "kind": "List", "metadata": {"resourceVersion": ""}}


def without_bookkeeping(obj: Obj) -> Obj:
    """Without metadata.managedFields, which kubectl hides as well."""
    return drop(obj, "metadata", "managedFields")
