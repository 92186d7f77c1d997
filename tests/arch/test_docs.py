"""What the documents say is so: commands, paths, exit codes, fields, modules."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ktool.api import errors
from ktool.api.kind import Kind
from ktool.cli import table
from tests.arch import fieldtable
from tests.arch.commandlines import blocks, ktool_lines, parse

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md")]
README = DOCUMENTS[0].read_text()

SAID = [argv for block in blocks(ROOT / "README.md") for argv in ktool_lines(block)]
MENTIONED = [
    argv
    for document in DOCUMENTS
    for text in re.findall(r"`(ktool [^`]+)`", document.read_text())
    for argv in ktool_lines(text)
    if argv[0] != "VERB"
]


def with_children(command: Any) -> Iterator[Any]:
    yield command
    for child in getattr(command, "commands", {}).values():
        yield from with_children(child)


HELP = [
    argv for name in table.COMMANDS for one in with_children(table.load(name)) for argv in ktool_lines(one.epilog or "")
]


@pytest.mark.parametrize("argv", SAID, ids=" ".join)
def test_a_command_of_the_readme_is_one(argv: list[str]) -> None:
    parse(argv)


@pytest.mark.parametrize("argv", MENTIONED, ids=" ".join)
def test_a_command_in_the_text_is_one(argv: list[str]) -> None:
    """A text may name a verb without what must follow it."""
    try:
        parse(argv)
    except Exception as error:
        if type(error).__name__ not in ("MissingParameter", "NoArgsIsHelpError"):
            raise


@pytest.mark.parametrize("argv", HELP, ids=" ".join)
def test_an_example_of_the_help_is_a_command(argv: list[str]) -> None:
    parse(argv)


@pytest.mark.parametrize("argv", [["aply"], ["get", "--nope"], ["node", "ad"], ["lab", "up", "--nodes", "x"]])
def test_what_is_no_command_is_found(argv: list[str]) -> None:
    with pytest.raises(Exception):  # noqa: B017  click's errors, or ours
        parse(argv)


def test_the_quick_start_has_exactly_two_set_up_commands() -> None:
    start = README.partition("## Quick start")[2].partition("\n## ")[0]
    assert re.findall(r"^sh .*$", start, re.MULTILINE) == ["sh tools/demo", "sh tools/test"]
    assert "exec sh tools/test\n" in (ROOT / ".ci/run").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_that_is_named_is_there(document: Path) -> None:
    text = document.read_text()
    linked = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    tops = "tools|manifests|completions|tests|ktool|.ci"
    named = re.findall(rf"`((?:{tops})/[\w./-]*)`", text) + re.findall(rf"\b(?:sh|-f) ((?:{tops})/[\w./-]+)", text)
    # `manifests/` is a folder of examples and a package: `manifests/load.load` names a function of the second.
    named = [path for path in named if not _MODULE.fullmatch(f"`{path}`")]
    assert [path for path in [*linked, *named] if not (ROOT / path).exists()] == []


_MODULE = re.compile(
    r"`((?:(?:api|logic|kinds|store|node|registry|control|nodeplane|manifests|present|follow|serve|client|lab|cli)(?:/\w+)+|app)(?:\.\w+)*)(?:\([^`]*)?`"
)


@pytest.mark.parametrize("name", sorted(set(_MODULE.findall((ROOT / "ARCHITECTURE.md").read_text()))))
def test_what_the_architecture_names_is_there(name: str) -> None:
    path, *members = name.split(".")
    here: object = importlib.import_module("ktool." + path.replace("/", "."))
    for member in members:
        here = getattr(here, member, None) or Kind.__dataclass_fields__[member]


def test_the_exit_codes_are_the_programs() -> None:
    table = README.partition("## Exit codes")[2].partition("\n## ")[0]
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert told == {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}


def test_the_table_of_fields_is_the_schemas() -> None:
    assert fieldtable.in_readme() == fieldtable.table(), "run: python -m tests.arch.fieldtable"


def test_the_table_shows_every_field_that_is_not_acted_on() -> None:
    kinds = fieldtable.app.kinds()
    shown = {
        (kind, f"{path}.{name}" if path else name)
        for _, kind, path in fieldtable.ROWS
        for name, field in fieldtable.members(kinds.named(kind)[0], path).items()
        if not field.acted
    }
    assert set(fieldtable.not_acted_on()) - shown == set()


def test_the_changelog_knows_this_version() -> None:
    from ktool import __version__

    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[(Unreleased|{re.escape(__version__)})\]", text, re.MULTILINE)
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
