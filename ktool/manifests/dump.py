"""YAML output: plain values as YAML text. `get -o yaml`, `create --dry-run -o yaml`, `edit` and `diff` use it."""

from __future__ import annotations

from typing import Any

from ktool.importing import IMPORTING
from ktool.manifests.yamltext import resolve


def to_yaml(value: Any) -> str:
    """YAML as kubectl prints it: sorted keys, lists not indented, long texts unfolded, no anchors. Text that YAML 1.1
    would read as another type is quoted."""
    with IMPORTING:
        import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, data: str) -> Any:
        style = None
        if "\n" in data and _fits_block(data):
            style = "|"
        elif not isinstance(_resolved(data), str):
            style = '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    Dumper.add_representer(str, text)
    dumped = yaml.dump(value, Dumper=Dumper, sort_keys=True, allow_unicode=True, width=10**9, default_flow_style=False)
    return dumped.removesuffix("...\n")


def _resolved(text: str) -> Any:
    try:
        return resolve(text)
    except ValueError:
        return None


def _fits_block(text: str) -> bool:
    """Whether a literal block (`|`) can hold the text: printable, no trailing blanks in a line, no blank at the very
    beginning."""
    lines = text.split("\n")
    printable = all(char.isprintable() or char in "\n\t" for char in text)
    return printable and not any(line.endswith((" ", "\t")) for line in lines) and not text.startswith((" ", "\n"))
