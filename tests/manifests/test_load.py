"""The loader: what it reads, where it says the mistakes are, and that nothing else than ManifestErrors comes out."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktool import app
from ktool.api.errors import Cause, UserError
from ktool.manifests.load import MAX_BYTES, ManifestErrors, load, refused
from ktool.manifests.yamltext import MAX_DEPTH, YamlProblem, documents
from tests.everykind import KINDS

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels:
    app.kubernetes.io/name: web
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: web:v1
"""
CONFIGMAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  colour: blue
"""


@pytest.fixture(autouse=True, scope="module")
def kinds():
    app.kinds()


def write(folder: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def problems(*sources: Path | str, **kwargs) -> list[str]:
    with pytest.raises(ManifestErrors) as caught:
        load([str(source) for source in sources], KINDS, namespace="default", **kwargs)
    assert str(caught.value).splitlines()[-1] == "nothing was applied"
    assert caught.value.exit_code == 1
    return list(caught.value.problems)


# --- what is read --------------------------------------------------------------------------------------------------


def test_objects_come_in_an_order_that_works(tmp_path):
    namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
    write(tmp_path, a_yaml=DEPLOYMENT, b_yaml=CONFIGMAP, z_yaml=namespace)
    found = load([str(tmp_path)], KINDS, namespace="default")
    assert [manifest.obj["kind"] for manifest in found] == ["Namespace", "ConfigMap", "Deployment"]
    assert [manifest.obj["metadata"].get("namespace") for manifest in found] == [None, "default", "default"]


def test_folders_only_recurse_when_asked_and_take_known_endings(tmp_path):
    write(tmp_path, a_yaml=CONFIGMAP, sub__b_yml=CONFIGMAP.replace("settings", "more"), note_txt="x: [")
    assert len(load([str(tmp_path)], KINDS, namespace="default")) == 1
    assert len(load([str(tmp_path)], KINDS, namespace="default", recursive=True)) == 2


def test_stdin_and_lists(monkeypatch):
    items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in "ab"]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent="\t").encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert [manifest.obj["metadata"]["name"] for manifest in load(["-"], KINDS, namespace="default")] == ["a", "b"]


def test_every_field_knows_its_line(tmp_path):
    write(tmp_path, a_yaml=CONFIGMAP + "---\n" + DEPLOYMENT)
    manifest = next(m for m in load([str(tmp_path)], KINDS, namespace="default") if m.obj["kind"] == "Deployment")
    assert manifest.document == 2
    assert manifest.line("spec.template.spec.containers[0].image") == 24
    assert manifest.line("metadata.labels[app.kubernetes.io/name]") == 13
    assert manifest.line("metadata.labels.app.kubernetes.io/name") == 13
    assert manifest.line("spec.template.spec.nothing") == 21


# --- what is wrong -------------------------------------------------------------------------------------------------

MISTAKES = {
    "unknown field": (
        DEPLOYMENT.replace("containers:", "conatiners:"),
        [
            "a.yaml:15: document 1: Deployment web: spec.template.spec.conatiners: unknown field",
            'did you mean "containers"?',
        ],
    ),
    "wrong type": (
        DEPLOYMENT.replace("replicas: 2", "replicas: two"),
        ["a.yaml:8: document 1: Deployment web: spec.replicas: must be an integer"],
    ),
    "yes is a boolean": (
        CONFIGMAP.replace("blue", "yes"),
        ["a.yaml:6: document 1: ConfigMap settings: data[colour]: must be a string, not true"],
    ),
    "duplicate key": (
        CONFIGMAP + "  colour: red\n",
        ['a.yaml:7: document 1: the key "colour" is given twice: in lines 6 and 7'],
    ),
    "tab": ("apiVersion: v1\nmetadata:\n\tname: x\n", ["a.yaml:3: a tab where YAML wants spaces"]),
    "unknown tag": ("a: !python/object:os.system x\n", ["a.yaml:1: unknown tag !python/object:os.system"]),
    "unknown tag in YAML's own": ("a: !!set {x}\n", ["a.yaml:1: unknown tag !!set"]),
    "no kind": ("apiVersion: v1\nmetadata: {name: x}\n", ["a.yaml:1: document 1: x: kind is missing"]),
    "no kind nor version": ("a: 1\n", ["a.yaml:1: document 1: apiVersion and kind are missing"]),
    "unknown kind": (
        DEPLOYMENT.replace("kind: Deployment", "kind: Deploymnet"),
        ['a.yaml:2: document 1: Deploymnet web: kind: unknown kind "Deploymnet" (apps/v1); did you mean "Deployment"?'],
    ),
    "kind in the wrong case": (
        CONFIGMAP.replace("ConfigMap", "configmap"),
        ['a.yaml:2: document 1: configmap settings: kind: unknown kind "configmap" (v1); did you mean "ConfigMap"?'],
    ),
    "wrong version": (
        DEPLOYMENT.replace("apps/v1", "extensions/v1beta1"),
        ['a.yaml:1: document 1: Deployment web: apiVersion: a Deployment is "apps/v1", not "extensions/v1beta1"'],
    ),
    "no name": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n",
        ["a.yaml:3: document 1: ConfigMap: metadata.name: is missing"],
    ),
    "name is a number": (
        CONFIGMAP.replace("name: settings", "name: 12"),
        ["a.yaml:4: document 1: ConfigMap: metadata.name: must be a string, not a number; write it in quotes"],
    ),
    "name with shell in it": (
        CONFIGMAP.replace("name: settings", 'name: "$(reboot)"'),
        ['a.yaml:4: document 1: ConfigMap $(reboot): metadata.name: "$(reboot)" must be lower case'],
    ),
    "namespace on a kind of the cluster": (
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: x, namespace: shop}\n",
        ["a.yaml:3: document 1: Namespace x: metadata.namespace: a Namespace stands in no namespace"],
    ),
    "a list": ("- a\n- b\n", ["a.yaml:1: document 1: must be an object, not a list"]),
    "a string": ("hello\n", ["a.yaml:1: document 1: must be an object, not a string"]),
    "not YAML": ("a: b: c\n", ["a.yaml:1: not YAML: mapping values are not allowed in this context"]),
    "binary": (b"\x7fELF\x02\x01\0\0", ["a.yaml: a binary file, not YAML or JSON text"]),
    "latin-1": ("a: 1\nb: é\n".encode("latin-1"), ["a.yaml:2: not UTF-8 text (byte 0xe9)"]),
    "control character": ("a: 1\nb: \x07\n", ["a.yaml:2: not YAML: control characters are not allowed"]),
    "too large": (b"# " + b"x" * MAX_BYTES, ["a.yaml: larger than 3 MiB"]),
    "deep": ("[" * 100_000, ["a.yaml:1: nested more than 100 levels deep"]),
    "deep JSON": ('{"a":' * 100_000, ["a.yaml:1: nested more than 100 levels deep"]),
    "alias without an anchor": ("a: *b\n", ["a.yaml:1: the alias *b has no anchor &b before it"]),
    "anchor in itself": ("a: &a [*a]\n", ["a.yaml:1: the alias *a stands inside its own anchor"]),
    "not a number of JSON": ("a: .nan\n", ["a.yaml:1: .nan is a number that JSON cannot hold"]),
    "key of several values": ("{[a]: b}\n", ["a.yaml:1: a key must be plain text, not a list or a mapping"]),
    "two in one file": (
        CONFIGMAP + "---\n" + CONFIGMAP,
        ["a.yaml:8: document 2: ConfigMap settings: the same object is in", "(document 1) already"],
    ),
    "items of a List": (
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: x}\n  datas: {}\n",
        ['a.yaml:7: document 1: ConfigMap x: items[0].datas: unknown field; did you mean "data"?'],
    ),
    "items that are none": (
        "apiVersion: v1\nkind: List\nitems: 3\n",
        ["a.yaml:3: document 1: List: items: must be a list, not a number"],
    ),
}


@pytest.mark.parametrize(("content", "expected"), MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_is_one_line_with_its_place(tmp_path, content, expected):
    write(tmp_path, a_yaml=content)
    found = problems(tmp_path)
    assert len(found) == 1, found
    line = found[0].replace(f"{tmp_path}/", "", 1)
    assert line.startswith(expected[0])
    assert all(part in line for part in expected[1:])


DEEP = {
    "lists": "[",
    "lists apart": "[ ",
    "a line each": "[\n",
    "JSON": '{"a":',
    "entries": "- ",
    "behind words": "['[', x, ",
}


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize("opening", DEEP.values(), ids=list(DEEP))
def test_our_limit_speaks_first_whatever_the_parser_does(monkeypatch, loader, opening):
    """libyaml has had limits, other ones in other releases; PyYAML's own parser has none."""
    monkeypatch.setattr(yaml, "CSafeLoader", getattr(yaml, loader, yaml.SafeLoader))
    for levels in (MAX_DEPTH + 1, 20_000):
        with pytest.raises(YamlProblem, match=f"^nested more than {MAX_DEPTH} levels deep$"):
            list(documents("a: 1\n---\n" + opening * levels))


def test_the_limit_is_not_told_of_what_is_only_broken():
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert len(list(documents(deepest))) == 1
    for broken in (deepest[:-1], f"a: {deepest[1:]}", 'a: "' + "[" * 200, "a: '" + "{" * 200):
        with pytest.raises(YamlProblem, match=r"^not YAML: "):
            list(documents(broken))


def test_a_bomb_is_refused_before_it_grows(tmp_path):
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    write(tmp_path, a_yaml="\n".join(lines))
    assert problems(tmp_path) == [
        f"{tmp_path}/a.yaml:5: the aliases of this document expand to far too much (a YAML bomb?)"
    ]


def test_anchors_and_merges_are_fine(tmp_path):
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {<<: &base {a: '1', b: '2'}, b: '3'}\n"
    write(tmp_path, a_yaml=text)
    (manifest,) = load([str(tmp_path)], KINDS, namespace="default")
    assert manifest.obj["data"] == {"a": "1", "b": "3"}


def test_all_mistakes_of_all_files_are_listed(tmp_path):
    write(tmp_path, a_yaml=MISTAKES["unknown field"][0], b_yaml=MISTAKES["tab"][0], c_yaml=b"\0", d_yaml=CONFIGMAP)
    found = problems(tmp_path, tmp_path / "gone.yaml")
    places = ("a.yaml:15:", "b.yaml:3:", "c.yaml:", 'gone.yaml" does not exist')
    assert all(place in problem for place, problem in zip(places, found, strict=True))


def test_the_same_object_in_two_files_names_both(tmp_path):
    write(tmp_path, a_yaml=CONFIGMAP, b_yaml="\n" + CONFIGMAP)
    assert problems(tmp_path) == [
        f"{tmp_path}/b.yaml:2: document 1: ConfigMap settings: the same object is in {tmp_path}/a.yaml:1"
        " (document 1) already"
    ]


def test_a_chosen_namespace_must_agree(tmp_path):
    write(tmp_path, a_yaml=CONFIGMAP.replace("metadata:", "metadata:\n  namespace: other"))
    assert "metadata.namespace" in problems(tmp_path, namespace_chosen=True)[0]
    assert load([str(tmp_path)], KINDS, namespace="default")[0].obj["metadata"]["namespace"] == "other"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda p: p / "gone", "does not exist", id="missing path"),
        pytest.param(lambda p: write(p, sub__a_yaml=CONFIGMAP), "files in", id="empty folder"),
        pytest.param(lambda p: "a\0b", '"a?b" does not exist', id="path with a NUL"),
    ],
)
def test_sources_that_hold_nothing(tmp_path, make, message):
    assert message in problems(make(tmp_path))[0]


@pytest.mark.parametrize("content", ["", "# only this\n", "---\n---\n", "null\n"], ids=repr)
def test_no_documents_at_all(tmp_path, content):
    write(tmp_path, a_yaml=content)
    with pytest.raises(UserError, match="no objects found in"):
        load([str(tmp_path)], KINDS, namespace="default")


def test_a_refusal_of_the_server_is_placed(tmp_path):
    write(tmp_path, a_yaml=DEPLOYMENT)
    found = load([str(tmp_path)], KINDS, namespace="default")
    error = refused(found, [Cause("[0].spec.replicas", "is forbidden")], "nothing was applied")
    assert error is not None
    assert error.problems == (f"{tmp_path}/a.yaml:8: document 1: Deployment web: spec.replicas: is forbidden",)
    assert refused(found, [Cause("spec.replicas", "x")], "") is None


# --- nothing else comes out ----------------------------------------------------------------------------------------

FRAGMENTS = st.sampled_from(
    [
        "a",
        "kind",
        "apiVersion",
        "v1",
        ":",
        ": ",
        "- ",
        "\n",
        "  ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&x ",
        "*x",
        "!t ",
        "!!int ",
        "!!binary ",
        "'",
        '"',
        "|\n",
        ">-\n",
        "---\n",
        "...\n",
        "#",
        "<<: ",
        "? ",
        "0x",
        "1e",
        "yes",
        "~",
        "\t",
        "%YAML 1.1\n",
        "\\u",
        "\ufeff",
        "\u2028",
        "é",
        '{"a":',
        "metadata",
        "items",
        "List",
    ]
)
MUTATIONS = st.lists(
    st.tuples(st.integers(0, len(DEPLOYMENT)), st.integers(0, 12), FRAGMENTS | st.text(max_size=3)), max_size=4
)


def mutated(changes) -> str:
    text = DEPLOYMENT + "---\n" + CONFIGMAP
    for start, length, new in changes:
        text = text[:start] + new + text[start + length :]
    return text


ANYTHING = st.one_of(
    st.binary(max_size=300),
    st.lists(FRAGMENTS, max_size=40).map(lambda parts: "".join(parts).encode("utf-8", "surrogatepass")),
    MUTATIONS.map(lambda changes: mutated(changes).encode("utf-8", "surrogatepass")),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["apiVersion", "kind", "metadata", "name", "spec", "items", "data", "template"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=400, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANYTHING)
def test_whatever_the_file_holds_only_a_clear_error_comes_out(tmp_path, data):
    write(tmp_path, a_yaml=data)
    try:
        found = load([str(tmp_path / "a.yaml")], KINDS, namespace="default")
    except UserError as error:
        assert error.message.isprintable() or "\n" in error.message
    else:
        assert all(manifest.obj["metadata"] for manifest in found)
