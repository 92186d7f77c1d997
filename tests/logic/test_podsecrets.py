"""What pods make of Secrets, projected volumes and facts about themselves; and where a Secret's value never stands."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ktool.api.masked import Masked
from ktool.api.obj import content_hash
from ktool.api.ref import Ref
from ktool.logic.node.nodeaction import CreateContainer, EnsureImage
from ktool.logic.node.volume import VolumeFile
from ktool.logic.pod import podspec
from ktool.logic.secrets.podrefs import reads
from tests.logic.nodemodel import NODE

UID = "0123abcd-0000-4000-8000-000000000001"
CANARY = "hush-7c1f0a"


def secret(name: str, version: str = "1", **data: bytes | str) -> dict[str, Any]:
    raw = {key: value.encode() if isinstance(value, str) else value for key, value in data.items()}
    meta = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": version}
    encoded = {key: base64.b64encode(value).decode() for key, value in raw.items()}
    return {"kind": "Secret", "metadata": meta, "data": encoded}


OBJECTS = {
    ("Secret", "db"): secret("db", password=CANARY, user="me", blob=b"a\0b"),
    ("Secret", "sealed"): {"kind": "Secret", "metadata": {"name": "sealed"}, "unreadable": "key k1 is not here"},
    ("ConfigMap", "conf"): {"kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"a.conf": "aa", "HOST": "h"}},
}


def rendered(container: dict[str, Any] | None = None, objects: Any = OBJECTS, **spec: Any) -> podspec.Rendered:
    first = {"name": "web", "image": "registry.test/web:v1", **(container or {})}
    notes = {"note": 'say "hi"\n\x01'}
    meta = {"name": "web", "namespace": "shop", "uid": UID, "labels": {"app": "web", "b": "c"}, "annotations": notes}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [first], **spec}}

    def lookup(ref: Ref) -> dict[str, Any] | None:
        return objects.get((ref.kind, ref.name)) if ref.namespace == "shop" else None

    return podspec.render(pod, node=NODE, cluster="c1", ip="10.244.1.7", lookup=lookup)


def key(name: str, wanted: str, **more: Any) -> dict[str, Any]:
    return {"valueFrom": {"secretKeyRef": {"name": name, "key": wanted, **more}}}


def variables(container: dict[str, Any], **spec: Any) -> tuple[dict[str, str], dict[str, bytes]]:
    """The plain variables of a container, and the secret ones as a node would read them."""
    result = rendered(container, **spec)
    assert not result.problems, result.problems
    payload, files = result.containers["web"], {}
    for volume in result.volumes:
        files |= {f"/run/ktool/pods/{UID}/volumes/{volume.name}/..data/{f.path}": f.content for f in volume.files}
    found = {variable: files[result.secrets["web"][name]] for variable, name in payload.get("secret_env", {}).items()}
    return payload["env"], found


# --- variables ---------------------------------------------------------------------------------------------------

FROM_DB = [{"name": "PASSWORD", **key("db", "password")}]


@pytest.mark.parametrize(
    "container, plain, hidden",
    [
        ({"env": FROM_DB}, {}, {"PASSWORD": CANARY}),
        ({"env": [{"name": "X", **key("db", "none", optional=True)}]}, {}, {}),
        ({"env": [{"name": "X", **key("none", "none", optional=True)}]}, {}, {}),
        (
            {"env": [*FROM_DB, {"name": "A", "value": "1"}, {"name": "URL", "value": "db://$(PASSWORD)@h/$(A)"}]},
            {"A": "1"},
            {"PASSWORD": CANARY, "URL": f"db://{CANARY}@h/1"},
        ),
        (
            {"env": [*FROM_DB, {"name": "A", "value": "$$(PASSWORD) $(NO)"}]},
            {"A": "$(PASSWORD) $(NO)"},
            {"PASSWORD": CANARY},
        ),
        (
            {"envFrom": [{"configMapRef": {"name": "conf"}}], "env": [{"name": "HOST", **key("db", "user")}]},
            {"a.conf": "aa"},
            {"HOST": "me"},
        ),
        ({"env": [*FROM_DB, {"name": "PASSWORD", "value": "open"}]}, {"PASSWORD": "open"}, {}),
        ({"envFrom": [{"secretRef": {"name": "none", "optional": True}}]}, {}, {}),
    ],
    ids=["key", "optional key", "optional secret", "mixed in", "escaped", "wins", "is won over", "optional all"],
)
def test_variables(container: Any, plain: dict[str, str], hidden: dict[str, str]) -> None:
    assert variables(container) == (plain, {name: value.encode() for name, value in hidden.items()})


def test_all_keys_of_a_secret() -> None:
    objects = {**OBJECTS, ("Secret", "all"): secret("all", A="1", B="2", **{"bad key": "x"})}
    found = variables({"envFrom": [{"secretRef": {"name": "all"}, "prefix": "P_"}]}, objects=objects)
    assert found == ({}, {"P_A": b"1", "P_B": b"2"})


@pytest.mark.parametrize(
    "container, message",
    [
        ({"env": [{"name": "A", **key("none", "a")}]}, 'secret "none" not found'),
        ({"env": [{"name": "A", **key("db", "a")}]}, "couldn't find key a in Secret shop/db"),
        ({"envFrom": [{"secretRef": {"name": "none"}}]}, 'secret "none" not found'),
        ({"env": [{"name": "A", **key("db", "blob")}]}, "key blob in Secret shop/db holds a NUL byte"),
        ({"env": [{"name": "A", **key("sealed", "a")}]}, "key k1 is not here"),
        ({"env": FROM_DB, "args": ["-p", "$(PASSWORD)"]}, "args refer to $(PASSWORD), which comes from a Secret"),
        ({"env": FROM_DB, "command": ["x=$(PASSWORD)"]}, "command refer to $(PASSWORD), which comes from a Secret"),
    ],
)
def test_variables_that_cannot_be_had_now(container: Any, message: str) -> None:
    result = rendered(container)
    assert result.problems["web"].reason == "CreateContainerConfigError"
    assert message in result.problems["web"].message and CANARY not in result.problems["web"].message
    assert "web" not in result.containers


def test_the_value_is_in_no_payload_hash_or_repr() -> None:
    result = rendered(
        {"env": [*FROM_DB, {"name": "URL", "value": "$(PASSWORD)"}]},
        volumes=[{"name": "v", "secret": {"secretName": "db"}}],
    )
    shown = json.dumps([dict(result.pod), {own: dict(payload) for own, payload in result.containers.items()}])
    make = CreateContainer(UID, "web", result.containers["web"], result.secrets["web"])
    for text in (shown, repr(result), repr(make), str(result.volumes), f"{result.volumes}"):
        assert CANARY not in text and base64.b64encode(CANARY.encode()).decode() not in text
    # A hash is seen on the node. From one made of the content a short password could be found by trying.
    wild = {**OBJECTS, ("Secret", "db"): secret("db", password="another", user="x", blob="y")}
    assert [v.hash for v in rendered({"env": FROM_DB}, wild).volumes] == [
        v.hash for v in rendered({"env": FROM_DB}).volumes
    ]


def test_a_new_version_of_a_secret_is_a_new_hash() -> None:
    newer = {**OBJECTS, ("Secret", "db"): secret("db", "2", password=CANARY, user="me", blob="x")}
    spec: Any = {"volumes": [{"name": "v", "secret": {"secretName": "db"}}]}
    before, after = rendered({"env": FROM_DB}, **spec).volumes, rendered({"env": FROM_DB}, newer, **spec).volumes
    assert [volume.name for volume in before] == ["v", "_env"]
    assert all(old.hash != new.hash for old, new in zip(before, after, strict=True))
    assert rendered({"env": FROM_DB}).hash == rendered({"env": FROM_DB}, newer).hash, "the container stays the same"


def test_a_container_with_secret_variables_logs_to_a_path_of_its_own() -> None:
    log = rendered({"env": FROM_DB}).containers["web"]["log_configuration"]
    assert log == {
        "driver": "k8s-file",
        "size": 10485760,
        "path": f"/var/lib/ktool/pods/{UID}/web-{content_hash('registry.test/web:v1')}.log",
    }


def test_names_of_podmans_secrets_are_such_as_it_takes() -> None:
    result = rendered({"env": [{"name": "a.b-c_D e$", **key("db", "user")}, *FROM_DB]})
    names = list(result.secrets["web"])
    assert len(set(names)) == 2 and all(len(name) <= 64 and name.startswith(f"ktool-{UID}-") for name in names)


# --- files -------------------------------------------------------------------------------------------------------


def files(kind: str, source: dict[str, Any], **spec: Any) -> dict[str, tuple[bytes, int]]:
    result = rendered(volumes=[{"name": "v", kind: source}], **spec)
    assert not result.problems, result.problems
    (volume,) = result.volumes
    assert volume.medium == "Memory"
    return {file.path: (file.content, file.mode) for file in volume.files}


def test_a_secret_as_files() -> None:
    assert files("secret", {"secretName": "db"}) == {
        "password": (CANARY.encode(), 0o644),
        "user": (b"me", 0o644),
        "blob": (b"a\0b", 0o644),
    }
    items = [{"key": "user", "path": "x/u", "mode": 0o600}, {"key": "password", "path": "p"}]
    source = {"secretName": "db", "items": items, "defaultMode": 0o400}
    assert files("secret", source) == {"x/u": (b"me", 0o600), "p": (CANARY.encode(), 0o400)}
    assert files("secret", source, securityContext={"fsGroup": 7})["x/u"] == (b"me", 0o640)
    assert files("secret", {"secretName": "none", "optional": True}) == {}


def test_several_sources_in_one_directory() -> None:
    sources = [
        {"configMap": {"name": "conf", "items": [{"key": "a.conf", "path": "a"}]}},
        {"secret": {"name": "db", "items": [{"key": "user", "path": "u", "mode": 0o600}]}},
        {"secret": {"name": "none", "optional": True}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    assert files("projected", {"sources": sources, "defaultMode": 0o440}) == {
        "a": (b"aa", 0o440),
        "u": (b"me", 0o600),
        "labels": (b'app="web"\nb="c"', 0o440),
    }


@pytest.mark.parametrize(
    "item, expected",
    [
        ({"fieldRef": {"fieldPath": "metadata.name"}}, b"web"),
        ({"fieldRef": {"fieldPath": "metadata.labels['app']"}}, b"web"),
        ({"fieldRef": {"fieldPath": "metadata.annotations"}}, b'note="say \\"hi\\"\\n\\x01"'),
        ({"resourceFieldRef": {"containerName": "web", "resource": "limits.memory", "divisor": "1Gi"}}, b"8"),
    ],
)
def test_facts_as_files(item: dict[str, Any], expected: bytes) -> None:
    assert files("downwardAPI", {"items": [{"path": "f", **item}]}) == {"f": (expected, 0o644)}


@pytest.mark.parametrize(
    "volume, message",
    [
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        (
            {"secret": {"secretName": "db", "items": [{"key": "no", "path": "x"}]}},
            "references non-existent secret key: no",
        ),
        ({"secret": {"secretName": "sealed"}}, "key k1 is not here"),
        ({"projected": {"sources": [{"secret": {"name": "none"}}]}}, 'secret "none" not found'),
    ],
)
def test_files_that_cannot_be_had_now(volume: dict[str, Any], message: str) -> None:
    result = rendered(volumes=[{"name": "v", **volume}])
    assert result.problems[""].reason == "FailedMount"
    assert result.problems[""].message == f'MountVolume.SetUp failed for volume "v" : {message}'


def test_a_key_as_one_file_comes_from_memory() -> None:
    mount = {"name": "v", "mountPath": "/p", "subPath": "password"}
    result = rendered({"volumeMounts": [mount]}, volumes=[{"name": "v", "secret": {"secretName": "db"}}])
    assert [m["source"] for m in result.containers["web"]["mounts"]] == [
        f"/run/ktool/pods/{UID}/volumes/v/..data/password"
    ]


def test_a_file_shows_no_content() -> None:
    assert "x" not in repr(VolumeFile("p", Masked(b"x"), 0o644)) and "'x'" not in repr(VolumeFile("p", b"x", 0o644))
    assert "pw" not in repr(EnsureImage("i", "Always", rendered().images["web"].logins))


# --- what is read ------------------------------------------------------------------------------------------------


def test_what_a_pod_reads() -> None:
    spec = {
        "imagePullSecrets": [{"name": "pull"}, {}],
        "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "c1"}}, {"secretRef": {"name": "s1"}}]}],
        "containers": [{"name": "c", "env": [{"name": "A", **key("s2", "k")}, {"name": "B", "value": "x"}]}],
        "volumes": [
            {"name": "v1", "secret": {"secretName": "s3"}},
            {"name": "v2", "configMap": {"name": "c2"}},
            {"name": "v3", "projected": {"sources": [{"secret": {"name": "s4"}}, {"configMap": {"name": "c3"}}]}},
            {"name": "v4", "emptyDir": {}},
        ],
    }
    names = {"Secret": ("pull", "s1", "s2", "s3", "s4"), "ConfigMap": ("c1", "c2", "c3")}
    assert reads(spec) == {(kind, name) for kind, found in names.items() for name in found}
