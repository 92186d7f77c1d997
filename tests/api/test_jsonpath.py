"""kubectl's JSONPath dialect, with the cases of its documentation and of its own test suite's kinds."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktool.api.jsonpath.evaluate import JsonPathError, Template, find, relaxed

STORE = {
    "kind": "List",
    "items": [
        {
            "kind": "Node",
            "metadata": {"name": "127.0.0.1", "labels": {"kubernetes.io/hostname": "one", "zone": "a"}},
            "status": {
                "capacity": {"cpu": "4"},
                "ready": True,
                "addresses": [{"type": "LegacyHostIP", "address": "127.0.0.1"}],
                "weight": 3,
            },
        },
        {
            "kind": "Node",
            "metadata": {"name": "127.0.0.2", "labels": {"kubernetes.io/hostname": "two"}},
            "status": {
                "capacity": {"cpu": "8"},
                "ready": False,
                "addresses": [
                    {"type": "LegacyHostIP", "address": "127.0.0.2"},
                    {"type": "another", "address": "127.0.0.3"},
                ],
                "weight": 10,
            },
        },
    ],
    "users": [
        {"name": "myself", "user": {}},
        {"name": "e2e", "user": {"username": "admin", "password": "secret"}},
        {"name": "odd.one", "user": {"username": "root", "none": None}},
    ],
}

CASES = [
    ("kind is {.kind}", "kind is List"),
    ("{.kind}", "List"),
    ("{$.kind}", "List"),
    ("{['kind']}", "List"),
    ('{["kind"]}', "List"),
    ("{kind}", "List"),
    ("{items[0].metadata.name}", "127.0.0.1"),
    ("{.items[*].metadata.name}", "127.0.0.1 127.0.0.2"),
    ("{.items[*]['metadata.name','status.ready']}", "127.0.0.1 127.0.0.2 true false"),
    (
        "{.items[*].metadata['name','labels']}",
        '127.0.0.1 127.0.0.2 {"kubernetes.io/hostname":"one","zone":"a"} {"kubernetes.io/hostname":"two"}',
    ),
    ("{.items[0,1].kind}", "Node Node"),
    ("{.items[-1].metadata.name}", "127.0.0.2"),
    ("{.items[-1:].metadata.name}", "127.0.0.2"),
    ("{.users[0:2].name}", "myself e2e"),
    ("{.users[:2].name}", "myself e2e"),
    ("{.users[1:].name}", "e2e odd.one"),
    ("{.users[::2].name}", "myself odd.one"),
    ("{.users[0:3:2].name}", "myself odd.one"),
    ("{.users[-2:-1].name}", "e2e"),
    ("{.users[7].name}", ""),
    ("{..name}", "127.0.0.1 127.0.0.2 myself e2e odd.one"),
    ("{.items..address}", "127.0.0.1 127.0.0.2 127.0.0.3"),
    ("{.items[0]..type}", "LegacyHostIP"),
    ('{.users[?(@.name=="e2e")].user.password}', "secret"),
    ("{.users[?(@.name=='e2e')].user.password}", "secret"),
    ('{.users[?(@.name != "e2e")].name}', "myself odd.one"),
    ("{.users[?(@.user.username)].name}", "e2e odd.one"),
    ('{.users[?(@["name"]=="odd.one")].user.username}', "root"),
    ("{.items[?(@.status.weight > 5)].metadata.name}", "127.0.0.2"),
    ("{.items[?(@.status.weight>=3)].metadata.name}", "127.0.0.1 127.0.0.2"),
    ("{.items[?(@.status.weight<3.5)].metadata.name}", "127.0.0.1"),
    ("{.items[?(@.status.weight<=3)].metadata.name}", "127.0.0.1"),
    ("{.items[?(@.status.ready==true)].metadata.name}", "127.0.0.1"),
    ("{.items[?(@.status.ready==false)].metadata.name}", "127.0.0.2"),
    ('{.items[?(@.status.weight=="3")].metadata.name}', ""),
    ('{.items[?(@.status.addresses[0].address=="127.0.0.2")].metadata.name}', "127.0.0.2"),
    ("{.items[*].status.addresses[?(@.type=='another')].address}", "127.0.0.3"),
    ("{.items[?(@.kind==$.items[0].kind)].metadata.name}", "127.0.0.1 127.0.0.2"),
    ("{range .items[*]}{.metadata.name}{'\\n'}{end}", "127.0.0.1\n127.0.0.2\n"),
    ("{range .items[*]}[{.metadata.name}, {.status.capacity.cpu}] {end}", "[127.0.0.1, 4] [127.0.0.2, 8] "),
    (
        '{range .items[*]}{.metadata.name}{"\\t"}{range .status.addresses[*]}{.address},{end}{"\\n"}{end}',
        "127.0.0.1\t127.0.0.1,\n127.0.0.2\t127.0.0.2,127.0.0.3,\n",
    ),
    ("{range .users[?(@.user.username)]}{.name} {end}", "e2e odd.one "),
    ("{range.items[*]}{.kind}{end}", "NodeNode"),
    (r"{.items[0].metadata.labels.kubernetes\.io/hostname}", "one"),
    ("{.items[0].metadata.labels['kubernetes.io/hostname']}", "one"),
    (r"{.items[*].metadata.labels['kubernetes\.io/hostname']}", "one two"),
    ("{.items[0].status.ready}", "true"),
    ("{.items[0].status.weight}", "3"),
    ("{.users[2].user}", '{"none":null,"username":"root"}'),
    ("{.users[2].user.none}", "null"),
    ("{.users[0].user}", "{}"),
    ("{.items[0].status.addresses}", '[{"address":"127.0.0.1","type":"LegacyHostIP"}]'),
    ("{.items[0].status.capacity.*}", "4"),
    ("{.items[1].metadata.labels[*]}", "two"),
    ("{.nothing}", ""),
    ("{.nothing[0].at.all}", ""),
    ("{.users[*].user.nothing}", ""),
    ("{'single'}{\"double\"}{3}", "singledouble3"),
    ('{"a\\tb\\"c\\\\"}', 'a\tb"c\\'),
    ("{.kind} {.users[0].name}", "List myself"),
    ("{.kind .users[0].name}", "Listmyself"),
    ("{.users[?(@.name=='a]b')].name}", ""),
    ("plain text", "plain text"),
    ("", ""),
]


@pytest.mark.parametrize(("template", "expected"), CASES, ids=[template for template, _ in CASES])
def test_template(template, expected):
    assert Template(template).render(STORE) == expected


def test_the_value_itself():
    assert Template("{@}").render([1, "a"]) == Template("{.}").render([1, "a"]) == '[1,"a"]'
    assert Template("{range @[*]}<{@}>{end}").render([1, "a"]) == "<1><a>"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{.kind", "a } is missing"),
        ("{range .items[*]}{.kind}", "{range} without {end}"),
        ("{.kind}{end}", "{end} without {range}"),
        ("{.items[0}", "a ] is missing"),
        ("{.items[?(@.a==1]}", "a ) is missing"),
        ("{.items[?@.a]}", "a filter is written"),
        ("{'open}", "a ' is missing"),
        ("{.items.length()}", "functions such as length"),
        ("{.items[x y]}", "a ] is missing"),
        ("{.items[::0]}", "must be positive"),
        ("{(}", "unrecognized character"),
    ],
)
def test_what_cannot_be_read(template, message):
    with pytest.raises(JsonPathError, match=re.escape(message)):
        Template(template)


def test_only_single_values_are_compared():
    with pytest.raises(JsonPathError, match="one element at a time"):
        Template("{.users[?(@..* == 'a')].name}").render(STORE)


@pytest.mark.parametrize("text", [".metadata.name", "metadata.name", "{.metadata.name}", "{metadata.name}"])
def test_relaxed_paths(text):
    assert find(relaxed(text), None, {"metadata": {"name": "x"}}) == ["x"]


@pytest.mark.parametrize("text", ["{.a", ".a}", "{.a}{.b}", "'a'", ""])
def test_not_one_path(text):
    with pytest.raises(JsonPathError):
        relaxed(text)


@given(st.text(alphabet="{}[]().,'\"@$*?:=!<>\\ ab01-_", max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        Template(text).render(STORE)
    except JsonPathError:
        pass
