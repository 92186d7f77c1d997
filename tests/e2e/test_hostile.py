"""Whatever text a manifest holds is data: it arrives as it was written and is executed nowhere."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator

import pytest

from ktool.lab import Lab
from tests.e2e.conftest import Ktool, until
from tests.e2e.support import config, container, documents, on, pod, serving, space

pytestmark = pytest.mark.podman

CANARY = "/tmp/t-canary"
RUN = f"$(touch {CANARY})`touch {CANARY}`;touch {CANARY}|touch {CANARY}&"

VALUES = {
    "QUOTES": 'it\'s "quoted" \\"twice\\\' \'\'""',
    "SHELL": f"{RUN} || touch {CANARY} && touch {CANARY} > {CANARY} < /dev/null *?[a-z]~ !! #x",
    "LINES": "first\nsecond\r\n\n\tfourth\n",
    "ESCAPES": "\\0 \\x00 \\u0000 %00 %s %n \\n \\",
    "UNICODE": "žluťoučký \U0001f431 \u202eabc\u2028\u00a0é",
    "CONTROL": "\x01\x07\x1b[31mred\x1b[0m\x7f",
    "LONG": "x'\"$ " * 6000,
    "EMPTY": "",
    "BLANK": "  ",
    "DASHES": "--privileged --volume=/:/host -v",
    "BRACES": "{{.State}} {% x %} ${HOME} $HOME %HOME% $$",
    "YAML": "!!python/object:os.system [a, b] & *anchor <<: - ? |",
    "EQUALS": "A=B=C",
}

KEY_FIELD = {"fieldRef": {"fieldPath": "metadata.annotations['example.com/hostile']"}}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def place(cluster: Ktool) -> Iterator[tuple[Ktool, str]]:
    with serving(cluster), space(cluster) as namespace:
        yield cluster, namespace


def no_canary(lab: Lab) -> bool:
    return all(on(node, f"ls {CANARY} 2>/dev/null || echo none") == "none" for node in lab.nodes)


def test_hostile_values_arrive_as_they_were_written(place: tuple[Ktool, str], lab: Lab) -> None:
    """As environment, from a ConfigMap, in an annotation, as an argument of the container and of `exec`, and as a
    file; read back as base64, so that no terminal or log comes between."""
    ktool, namespace = place
    show = "".join(f'printf "%s=%s\\n" {name} "$(printf %s "${name}" | base64 -w0)";' for name in VALUES)
    both = f'{show} for a in "$@"; do printf "arg=%s\\n" "$(printf %s "$a" | base64 -w0)"; done; sleep 1000'
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "hostile"},
        "data": {f"key.{name}": value for name, value in VALUES.items()},
    }
    env = [
        {"name": "PLAIN_" + name, "value": value.replace("$", "$$")} for name, value in VALUES.items()
    ]  # $ is the one sign that Kubernetes itself gives a meaning
    env += [
        {"name": name, "valueFrom": {"configMapKeyRef": {"name": "hostile", "key": f"key.{name}"}}} for name in VALUES
    ]
    env.append({"name": "NOTE", "valueFrom": KEY_FIELD})
    arguments = [value.replace("$", "$$") for value in VALUES.values()]
    main = {
        **container("main", "sh", "-c", both, "sh"),
        "args": arguments,
        "env": env,
        "volumeMounts": [{"name": "files", "mountPath": "/files"}],
    }
    made = pod("hostile", main, volumes=[{"name": "files", "configMap": {"name": "hostile"}}])
    made["metadata"]["annotations"] = {"example.com/hostile": "".join(VALUES.values())}
    ktool("apply", "-n", namespace, "--wait", "--timeout=60s", "-f", "-", stdin=documents(settings, made))

    count = 2 * len(VALUES)
    lines = until(
        lambda: len(found := ktool("logs", "hostile", "-n", namespace).stdout.splitlines()) == count and found
    )
    expected = list(VALUES.items())
    pairs = [line.partition("=")[::2] for line in lines]
    assert [(name, base64.b64decode(text).decode()) for name, text in pairs[: len(VALUES)]] == expected
    assert [base64.b64decode(text).decode() for _, text in pairs[len(VALUES) :]] == [value for _, value in expected]

    def read(*argv: str) -> bytes:
        done = ktool("exec", "hostile", "-n", namespace, "--", *argv)
        return base64.b64decode(done.stdout)

    files = read("sh", "-c", f"cat {' '.join(f'/files/key.{name}' for name in VALUES)} | base64")
    assert files.decode() == "".join(VALUES.values())
    environ = read("sh", "-c", "tr '\\0' '\\n' </proc/1/environ >/dev/null; base64 /proc/1/environ").split(b"\0")
    found = dict(entry.decode().partition("=")[::2] for entry in environ if entry)
    assert {name: found[f"PLAIN_{name}"] for name in VALUES} == VALUES
    assert found["NOTE"] == "".join(VALUES.values())
    for value in (VALUES["SHELL"], VALUES["QUOTES"], VALUES["LINES"], VALUES["UNICODE"], "-x"):
        assert read("sh", "-c", 'printf %s "$1" | base64', "sh", value).decode() == value
    assert no_canary(lab)


def test_hostile_paths(place: tuple[Ktool, str], lab: Lab) -> None:
    """Directories, host paths and sub paths with every sign a file name may have."""
    ktool, namespace = place
    name = f"it's \"$(touch {CANARY.replace('/', '_')})` \\ *\n;é"
    top = f"/var/tmp/t-hostile-{uuid.uuid4().hex[:6]}"
    mounts = [
        {"name": "host", "mountPath": f"/mnt/{name.replace(':', '')}"},
        {"name": "dir", "mountPath": "/dir", "subPath": name},
    ]
    main = {**container("main"), "workingDir": f"/made/{name}", "volumeMounts": mounts}
    volumes = [
        {"name": "host", "hostPath": {"path": f"{top}/{name}", "type": "DirectoryOrCreate"}},
        {"name": "dir", "emptyDir": {}},
    ]
    made = pod("paths", main, volumes=volumes, nodeName=lab.nodes[0].name)
    ktool("apply", "-n", namespace, "--wait", "--timeout=60s", "-f", "-", stdin=documents(made))
    words = ("exec", "paths", "-n", namespace, "--", "sh", "-c")
    where = ktool(*words, 'pwd; echo seen >"$1/file"; ls /dir /mnt', "sh", f"/mnt/{name}").stdout
    assert where.startswith(f"/made/{name}\n")
    assert on(lab.nodes[0], f"cat {top}/*/file; rm -r {top}") == "seen"
    assert no_canary(lab)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(f"registry.lab/web:v1;touch {CANARY}", id="semicolon"),
        pytest.param(f"registry.lab/$(touch {CANARY})", id="substitution"),
        pytest.param("registry.lab/web:v1 --privileged", id="option"),
        pytest.param("../../../v4.0.0/libpod/containers/json", id="path"),
        pytest.param("registry.lab/web:v1?tls=false&all=true#x", id="query"),
        pytest.param("registry.lab/web\r\nHost: evil", id="header"),
    ],
)
def test_image_names_that_are_none(place: tuple[Ktool, str], lab: Lab, image: str) -> None:
    """Refused at once, or by the node as InvalidImageName; never part of a command or of another request."""
    ktool, namespace = place
    name = f"bad-{uuid.uuid4().hex[:6]}"
    made = pod(name, {"name": "main", "image": image})
    done = ktool("apply", "-n", namespace, "-f", "-", stdin=documents(made), status=None)
    if done.returncode == 0:

        def reason() -> str:
            [status] = ktool.json("get", "pod", name, "-n", namespace)["status"].get("containerStatuses") or [{}]
            return str(status.get("state", {}).get("waiting", {}).get("reason", ""))

        assert until(lambda: reason() not in ("", "ContainerCreating") and reason(), 15) == "InvalidImageName"
    else:
        assert done.returncode == 1 and "image" in done.stderr, done.stderr
    assert no_canary(lab)


@pytest.mark.parametrize("name", ["a;touch", "$(id)", "../x", "a b", "-n", "UPPER", "x" * 300, "é", "a\nb", ""])
def test_names_that_are_none(place: tuple[Ktool, str], name: str) -> None:
    ktool, namespace = place
    done = ktool("apply", "-n", namespace, "-f", "-", stdin=documents(pod(name, container("main"))), status=1)
    assert "metadata.name" in done.stderr and not done.stdout
    other = ktool("delete", "-n", namespace, "--wait=false", "--", "pod", name, status=None)
    assert other.returncode in (1, 2), other


@pytest.mark.parametrize("words", [("delete", "pod", ""), ("delete", "configmap", "", "kube-root-ca.crt")], ids=str)
def test_an_empty_name_deletes_nothing(place: tuple[Ktool, str], words: tuple[str, ...]) -> None:
    """As from a script whose variable is not set. Without a name the path of a request is that of all objects."""
    ktool, namespace = place
    ktool("apply", "-n", namespace, "-f", "-", stdin=documents(config("kept", a="b")))
    done = ktool(words[0], "-n", namespace, *words[1:], status=1)
    assert done.stderr == "error: resource name may not be empty\n" and not done.stdout
    assert ktool("node", "remove", "", status=1).stdout == ""
    assert ktool("get", "configmap", "kept", "-n", namespace, "-o", "name").stdout == "configmap/kept\n"
    assert len(ktool.json("get", "nodes")["items"]) == 3
