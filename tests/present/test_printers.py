"""Tables, -o formats, custom columns, describe's layout, YAML that reads back as what it was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktool.api.describe import Description
from ktool.api.errors import UsageError
from ktool.api.kind import Column, Kind, Looks, Names, Version
from ktool.api.schema import Field
from ktool.manifests import dump
from ktool.manifests.yamltext import documents
from ktool.present import output, sheet
from ktool.present.columns import KindTable, TableOptions
from ktool.present.customcolumns import CustomColumns
from ktool.present.progress import PlainProgress
from ktool.present.table import Table, safe
from tests.everykind import KINDS

FRUIT = Kind(
    Names("farm.example", "Fruit", "fruits"),
    (Version("v1", Field("object")),),
    looks=Looks(
        columns=(
            Column("Name", lambda obj, now: obj["metadata"]["name"]),
            Column("Ripe", lambda obj, now: obj.get("ripe", "")),
            Column("Colour", lambda obj, now: obj.get("colour", ""), wide=True),
        )
    ),
)
FRUITS = [
    {"kind": "Fruit", "metadata": {"name": "fig", "namespace": "a", "labels": {"x/y": "1", "b": "2"}}, "ripe": "yes"},
    {"kind": "Fruit", "metadata": {"name": "pomegranate", "namespace": "b"}, "colour": "red"},
]

TABLES = {
    "plain": (TableOptions(), ["NAME          RIPE", "fig           yes", "pomegranate   <none>"]),
    "wide": (
        TableOptions(wide=True),
        ["NAME          RIPE     COLOUR", "fig           yes      <none>", "pomegranate   <none>   red"],
    ),
    "headless": (TableOptions(headless=True), ["fig           yes", "pomegranate   <none>"]),
    "all namespaces": (
        TableOptions(all_namespaces=True),
        ["NAMESPACE   NAME          RIPE", "a           fig           yes", "b           pomegranate   <none>"],
    ),
    "labels": (
        TableOptions(show_labels=True),
        ["NAME          RIPE     LABELS", "fig           yes      b=2,x/y=1", "pomegranate   <none>   <none>"],
    ),
    "label columns": (
        TableOptions(label_columns=("x/y", "b")),
        ["NAME          RIPE     Y        B", "fig           yes      1        2",
         "pomegranate   <none>   <none>   <none>"],
    ),
    "with the kind": (
        TableOptions(with_kind=True),
        ["NAME                             RIPE", "fruit.farm.example/fig           yes",
         "fruit.farm.example/pomegranate   <none>"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("options", "expected"), TABLES.values(), ids=list(TABLES))
def test_tables(options, expected):
    assert KindTable(FRUIT, options).lines(FRUITS, 0.0) == expected


def test_later_rows_line_up_with_those_before():
    table = Table(["NAME", "AGE"])
    assert table.lines([["a-long-name", "1s"]]) == ["NAME          AGE", "a-long-name   1s"]
    assert table.lines([["b", "2s"]]) == ["b             2s"]


def test_what_could_move_the_cursor_is_shown_and_not_sent():
    assert safe("a\x1b[2Jb\nc") == "a\\x1b[2Jb\\x0ac"
    assert Table(["N"]).lines([["x\x1b[31m"]]) == ["N", "x\\x1b[31m"]


CUSTOM = {
    "paths": ("NAME:.metadata.name,RIPE:.ripe", ["NAME          RIPE", "fig           yes", "pomegranate   <none>"]),
    "braces": ("N:{.metadata.name}", ["N", "fig", "pomegranate"]),
    "lists": ("N:.metadata.labels.*", ["N", "1,2", "<none>"]),
    "a comma inside": ("N:.metadata['name','namespace']", ["N", "fig,a", "pomegranate,b"]),
    "no titles": (":.metadata.name", ["fig", "pomegranate"]),
}


@pytest.mark.parametrize(("spec", "expected"), CUSTOM.values(), ids=list(CUSTOM))
def test_custom_columns(spec, expected):
    assert CustomColumns(spec, headless=False).lines(FRUITS) == expected


@pytest.mark.parametrize("spec", ["", "NAME", "NAME:", "NAME:.a[", "NAME:{.a"])
def test_no_custom_columns(spec):
    with pytest.raises(UsageError):
        CustomColumns(spec, headless=False)


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "managedFields": [1]},
    "spec": {"a": [{"b": "1"}]},
}

FORMATS = {
    "name": ("name", False, "pod/web\n"),
    "json": ("json", False, json.dumps(POD, indent=4, sort_keys=True) + "\n"),
    "jsonpath": ("jsonpath={.metadata.name}", False, "web"),
    "jsonpath without braces": ("jsonpath=.metadata.name", False, "web"),
    "jsonpath of a list": ("jsonpath={.items[*].metadata.name}", True, "web"),
    "custom-columns": ("custom-columns=N:.metadata.name", False, "N\nweb\n"),
    "yaml": (
        "yaml",
        False,
        "apiVersion: v1\nkind: Pod\nmetadata:\n  managedFields:\n  - 1\n  name: web\nspec:\n  a:\n  - b: '1'\n",
    ),
}


@pytest.mark.parametrize(("text", "listed", "expected"), FORMATS.values(), ids=list(FORMATS))
def test_formats(text, listed, expected):
    shown = output.parse(text).text([POD], listed=listed)
    assert shown.replace('"1"', "'1'") == expected if text == "yaml" else shown == expected


def test_several_objects_are_a_list():
    shown = json.loads(output.parse("json").text([POD, POD], listed=True))
    assert (shown["kind"], shown["apiVersion"], len(shown["items"])) == ("List", "v1", 2)


def test_managed_fields_are_hidden():
    assert "managedFields" not in output.without_bookkeeping(POD)["metadata"]


@pytest.mark.parametrize(
    "text",
    ["yes", "1e3", "0x1f", "1_000", "012", "null", "~", "", " a", "a\nb\n", "a\n  b", "a \nb", "\n", "# x", "- x", "é",
     "\x00", "\ufeff", "22:30", "2001-01-01", "a: b", "'", '"', "%x", "&a", "*a", "!t", "| x", "👍", "x" * 300],
    ids=repr,
)  # fmt: skip
def test_yaml_reads_back(text):
    (document,) = documents(dump.to_yaml({"a": text, "b": [text], text: 1}))
    assert document.value == {"a": text, "b": [text], text: 1} if text not in ("a", "b") else document.value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab:-'# \n0", max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_yaml_reads_back(value):
    (document,) = documents(dump.to_yaml({"x": value}))
    assert document.value == {"x": value}


def test_a_block_of_text_stays_readable():
    assert dump.to_yaml({"data": {"x": "a\nb\n"}}) == "data:\n  x: |\n    a\n    b\n"


def test_the_sheet_aligns_neighbours_and_indents_blocks():
    details = Description()
    details.row("Name", "web")
    details.mapping("Labels", {"b": 1, "a": 2})
    details.rows("Tolerations", [])
    details.title("Containers")
    details.title("main", 1)
    details.row("Image", "web:v1", 2)
    details.table(("Type", "Status"), [("Ready", "True")])
    assert sheet.text(details).splitlines() == [
        "Name:         web",
        "Labels:       a=2",
        "              b=1",
        "Tolerations:  <none>",
        "Containers:",
        "  main:",
        "    Image:  web:v1",
        "  Type   Status",
        "  ----   ------",
        "  Ready  True",
    ]


def test_progress_in_a_pipe_has_no_escape_codes_and_no_repeats(capsys, monkeypatch):
    import sys

    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    progress = PlainProgress(sys.stdout)
    for at, lines in ((0.1, ["quick"]), (2.0, ["one", "two"]), (2.5, ["one", "three"]), (4.0, ["one", "four"])):
        clock[0] = 100.0 + at
        progress.update(lines)
    progress.say("done\x1b[0m")
    assert capsys.readouterr().out == "one\ntwo\nfour\ndone\\x1b[0m\n"


def test_every_kind_has_columns_that_begin_with_a_name_or_say_why():
    """Events begin with the time; everything else is found by its name."""
    first = {kind.name: kind.looks.columns[0].name for kind in KINDS if kind.looks.columns}
    assert {name for name, column in first.items() if column != "NAME"} <= {"Event"}
