"""`ktool node`: what is in the way is said in one plain sentence, and a node that leaves keeps nothing of ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ktool.lab import Lab, LabNode
from tests.e2e.conftest import Ktool, until
from tests.e2e.support import WEB, container, documents, fresh, on, pod, ready, serving, space

pytestmark = pytest.mark.podman

HOME = Path(__file__).parents[2]


@dataclass(frozen=True)
class Elsewhere(Ktool):
    """The program of somebody with a state directory and a home directory of their own."""

    @property
    def env(self) -> dict[str, str]:
        found = {**super().env, "HOME": str(self.home)}
        found.pop("SSH_AUTH_SOCK", None)
        return found


@pytest.fixture
def elsewhere(tmp_path: Path, cluster: Ktool) -> Elsewhere:
    """Whoever it is, the lab's nodes are those of `cluster`."""
    (tmp_path / ".ssh").mkdir(mode=0o700)
    return Elsewhere(tmp_path)


def login(node: LabNode) -> str:
    return f"{node.user}@{node.address}:{node.port}"


def add(ktool: Ktool, name: str, node: LabNode, *words: str, status: int | None = 0) -> str:
    """Add a node of the lab; what was said."""
    options = ("--identity", node.identity, "--accept-new-host-keys", *words)
    done = ktool("node", "add", name, login(node), *options, status=status)
    return done.stdout + done.stderr


def new_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def fingerprint(line: str) -> str:
    """SHA256:... of a public key, as ssh-keygen has it."""
    done = subprocess.run(["ssh-keygen", "-lf", "-"], input=line, capture_output=True, text=True, check=True)
    return done.stdout.split()[1]


# --- what is in the way ------------------------------------------------------------------------------------------


def test_what_keeps_a_machine_from_being_a_node(elsewhere: Elsewhere, lab: Lab) -> None:
    """Each attempt ends with exit code 1 and one sentence, and leaves no Node behind."""
    node = lab.nodes[0]
    free = f"root@{lab.subnet.removesuffix('0/24')}250"
    wrong, mine = str(new_key(elsewhere.home / "wrong")), node.identity
    accept = "--accept-new-host-keys"
    attempts: list[tuple[list[str], str]] = [
        ([login(node), "--identity", wrong, accept], "refused the login as root: no key was accepted"),
        ([f"nobody@{node.address}", "--identity", mine, accept], "refused the login as nobody"),
        ([free, "--identity", mine, accept], "cannot reach n "),
        ([f"root@{node.address}:2", "--identity", mine, accept], "Connection refused"),
        (["root@no-such-host.invalid", "--identity", mine, accept], "is not known"),
        ([login(node), "--identity", mine], "nobody has vouched for the host key"),
        ([login(node), "--identity", str(elsewhere.home / "none"), accept], "cannot be read: No such file"),
        ([login(node), "--identity", f"{wrong}.pub", accept], "is a public key"),
    ]
    running = [(elsewhere.start("node", "add", "n", *words), text) for words, text in attempts]
    for process, text in running:
        out, said = process.communicate(timeout=60)
        lines = said.decode().splitlines()
        assert process.returncode == 1 and not out, said
        assert text in lines[0] and lines[0].startswith("error: ") and len(lines) <= 2, said
    assert "no nodes" in elsewhere("node", "list").stderr.lower()


def test_a_login_that_may_not_become_root(elsewhere: Elsewhere, lab: Lab) -> None:
    node = lab.nodes[0]
    on(
        node,
        "id plain >/dev/null 2>&1 || useradd -m plain; usermod -p '*' plain; install -d -m 700 -o plain ~plain/.ssh;"
        "key=/root/.ssh/authorized_keys; [ -e $key ] || key=/etc/ktool-lab/authorized_keys;"
        "install -m 600 -o plain $key ~plain/.ssh/authorized_keys",
    )
    setting = on(node, "sshd -T | grep -i '^authorizedkeysfile'")
    words = ("--identity", node.identity, "--accept-new-host-keys")
    done = elsewhere("node", "add", "n", f"plain@{node.address}", *words, status=1)
    if ".ssh/authorized_keys" in setting:
        assert re.search("root|sudo", done.stderr), done.stderr
    assert done.stderr.splitlines()[-1] == "no node was added"


def test_host_keys(elsewhere: Elsewhere, lab: Lab) -> None:
    """Known ones are taken, changed ones refused whatever is asked for, with both fingerprints."""
    node = lab.nodes[0]
    other = new_key(elsewhere.home / "other").with_suffix(".pub").read_text()
    known = elsewhere.home / ".ssh" / "known_hosts"
    known.write_text(f"{node.address} {other}")
    said = add(elsewhere, "n", node, status=1)
    assert "has changed" in said and f"{known}, line 1" in said
    assert fingerprint(other) in said and fingerprint(node.host_key) in said
    known.write_text(f"{node.address} {node.host_key}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True)
    assert node.address not in known.read_text()
    done = elsewhere("node", "add", "n", login(node), "--identity", node.identity, status=1)
    assert "it belongs to cluster" in done.stderr, "a hashed line vouches for the key; what is in the way comes later"


def test_a_changed_host_key_of_a_node(cluster: Ktool, lab: Lab) -> None:
    """The key that was shown when the node was added is pinned: another one later is not talked to."""
    node = lab.nodes[2]
    shown = cluster.json("get", "node", node.name)["metadata"]["annotations"]["ktool.dev/host-key"]
    assert fingerprint(shown) == fingerprint(node.host_key)
    key = "/etc/ssh/ssh_host_ed25519_key"
    swap = f"cp -p {key} /root/old-key; rm {key}; ssh-keygen -q -t ed25519 -N '' -f {key}; pkill -o -x sshd"
    on(node, swap, check=False)
    new = until(lambda: re.findall(r"ssh-ed25519 \S+", _scan(node)))[0]
    try:
        with serving(cluster):
            until(lambda: "NotReady" in cluster("get", "node", node.name).stdout, 20)
            told = cluster("describe", "node", node.name).stdout
        assert fingerprint(new) in told and fingerprint(node.host_key) in told and "has changed" in told
    finally:
        on(node, f"mv /root/old-key {key}; pkill -o -x sshd", check=False)
        until(lambda: node.host_key.split()[1] in _scan(node))
    with serving(cluster):
        until(lambda: " Ready" in cluster("get", "node", node.name).stdout, 30)


def _scan(node: LabNode) -> str:
    argv = ["ssh-keyscan", "-T", "2", "-t", "ed25519", node.address]
    return subprocess.run(argv, capture_output=True, text=True).stdout


def test_a_node_belongs_to_one_cluster_and_has_one_name(cluster: Ktool, elsewhere: Elsewhere, lab: Lab) -> None:
    node = lab.nodes[0]
    said = add(elsewhere, "mine", node, status=1)
    assert re.search(r"it belongs to cluster [0-9a-f-]{36}; remove it there first", said) and "--take-over" in said
    assert f"node {node.name} exists already" in add(cluster, node.name, node, status=1)
    assert f"twin: it is the very machine that is node {node.name}" in add(cluster, "twin", node, status=1)
    assert len(cluster.json("get", "nodes")["items"]) == len(lab.nodes)


def test_a_node_is_taken_over_and_given_back(cluster: Ktool, elsewhere: Elsewhere, lab: Lab) -> None:
    node = lab.nodes[2]
    assert "is ready" in add(elsewhere, "mine", node, "--take-over")
    with serving(cluster):
        until(lambda: "NotReady" in cluster("get", "node", node.name).stdout, 20)
        assert "belongs to cluster" in cluster("describe", "node", node.name).stdout
    with space(elsewhere) as namespace:
        made = pod("web", {"name": "main", "image": WEB})
        elsewhere("apply", "-n", namespace, "-f", "-", stdin=documents(made))
    elsewhere("node", "remove", "mine")
    with serving(cluster):
        until(lambda: " Ready" in cluster("get", "node", node.name).stdout, 30)


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        pytest.param(["n", "root@h;touch /x"], 2, "is not of the form [user@]host[:port]", id="metacharacters"),
        pytest.param(["n", "h:99999"], 2, "there is no port 99999", id="port"),
        pytest.param(["n", "h", "--label", "x"], 2, "--label: 'x' is not of the form key=value", id="label"),
        pytest.param(["n", "h", "--taint", "x=y"], 2, "--taint: 'x=y' is not of the form", id="taint"),
        pytest.param(["n"], 2, "say how to reach the node", id="no-target"),
        pytest.param(["n", "h", "--local"], 2, "say how to reach the node", id="two-targets"),
        pytest.param(["n", "h", "--count", "3"], 2, "for --simulated nodes only", id="count"),
    ],
)
def test_words_that_make_no_node(elsewhere: Elsewhere, words: list[str], status: int, text: str) -> None:
    done = elsewhere("node", "add", *words, status=status)
    assert text in done.stderr and not done.stdout


# --- list, show --------------------------------------------------------------------------------------------------


def test_nodes_are_shown(cluster: Ktool, lab: Lab) -> None:
    node = lab.nodes[0]
    rows = [line.split() for line in cluster("node", "list").stdout.splitlines()]
    assert rows[0][:3] == ["NAME", "STATUS", "PODS"]
    assert [row[:2] for row in rows[1:]] == [[one.name, "Ready"] for one in lab.nodes]
    assert f"ssh://{node.user}@{node.address}:{node.port}" in rows[1]
    listed = json.loads(cluster("node", "list", "-o", "json").stdout)
    assert [one["metadata"]["name"] for one in listed["items"]] == [one.name for one in lab.nodes]
    assert cluster("node", "list", "-o", "yaml").stdout.startswith("apiVersion: v1\nitems:\n- apiVersion: v1\n")
    shown = cluster("node", "show", node.name).stdout
    for text in (node.name, node.address, "podman://", "Capacity", "PodCIDR"):
        assert text in shown, text
    missing = cluster("node", "show", "nobody", status=1).stderr
    assert missing == 'Error from server (NotFound): nodes "nobody" not found\n'


# --- leaving -----------------------------------------------------------------------------------------------------

LEFT = r"""
podman ps -a --format '{{.Names}}' --filter label=ktool.dev/cluster
podman pod ps --format '{{.Name}}' --filter label=ktool.dev/cluster
podman network ls --format '{{.Name}}' | grep -x ktool
ip -4 route show proto 76
ip -o link show type bridge | grep -o ktool0
nft list tables | grep 'ip ktool$'
ls -A /var/lib/ktool/pods /run/ktool/pods 2>/dev/null | grep -v :
ls /var/lib/ktool/owner 2>/dev/null
true
"""
"""What there is of ours on a node, a line for each thing."""


def test_a_node_leaves_with_nothing_of_ours_and_comes_back(cluster: Ktool, lab: Lab) -> None:
    node, other = lab.nodes[2], lab.nodes[0]
    subnet = cluster.json("get", "node", node.name)["spec"]["podCIDR"]
    memory = [{"name": "m", "emptyDir": {"medium": "Memory"}}, {"name": "d", "emptyDir": {}}]
    mounts = [{"name": "m", "mountPath": "/m"}, {"name": "d", "mountPath": "/d"}]
    with space(cluster) as namespace:
        gone = pod("gone", container("main", volumeMounts=mounts), volumes=memory, nodeName=node.name)
        stays = pod("stays", container("main"), nodeName=other.name)
        cluster("apply", "-n", namespace, "-f", "-", stdin=documents(gone, stays))
        assert len(on(node, LEFT).splitlines()) >= 9, "or the comparison below would prove nothing"
        assert subnet in on(other, "ip -4 route show proto 76")
        cluster("node", "remove", node.name)
        try:
            assert on(node, LEFT) == ""
            assert on(node, "podman network ls --format '{{.Name}}'").split() == ["podman"]
            assert [one["metadata"]["name"] for one in cluster.pods(namespace)] == ["stays"]
            assert cluster("node", "list").stdout.count("Ready") == 2
            assert subnet not in on(other, "ip -4 route show proto 76")
        finally:
            words = ("--label", "disk=ssd", "--taint", "only=gpu:NoSchedule")
            add(cluster, node.name, node, *words)
        back = cluster.json("get", "node", node.name)
        assert back["metadata"]["labels"]["disk"] == "ssd"
        assert back["spec"]["taints"] == [{"key": "only", "value": "gpu", "effect": "NoSchedule"}]
        cluster("apply", "-f", "-", stdin=documents(_plain_node(node.name)))
        web = {"name": "main", "image": WEB}
        cluster("apply", "-n", namespace, "-f", "-", stdin=documents(pod("web", web, nodeName=node.name)))
        address = cluster.json("get", "pod", "web", "-n", namespace)["status"]["podIP"]
        page = cluster("exec", "stays", "-n", namespace, "--", "wget", "-qO-", f"http://{address}:8080/").stdout
        assert page == "v1 web\n", "routes to a node that came back"


def _plain_node(name: str) -> Any:
    """A manifest that takes the taint away; everything that `node add` wrote stays."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"taints": []}}


# --- this very machine -------------------------------------------------------------------------------------------


GRAFT = """
import ctypes, os, sys
pid, path = sys.argv[1], os.fsencode(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
tree = libc.syscall(428, -100, path, 0x8001)  # open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | AT_RECURSIVE)
with open(f"/proc/{pid}/ns/mnt") as space:
    assert tree >= 0 and libc.setns(space.fileno(), 0x20000) == 0, os.strerror(ctypes.get_errno())
os.makedirs(path, exist_ok=True)
done = libc.syscall(429, tree, b"", -100, path, 4)  # move_mount(tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH)
assert done == 0, os.strerror(ctypes.get_errno())
"""
"""Shows a directory of this machine to a node, under the same name (open_tree(2), move_mount(2))."""


def enter(node: LabNode, *argv: str) -> list[str]:
    return ["nsenter", "--target", str(node.pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--wd=/", *argv]


@pytest.fixture
def inside(cluster: Ktool, lab: Lab) -> Iterator[tuple[LabNode, str]]:
    """A node of the lab that has left the cluster and sees this program, and the directory of a state of its own."""
    cluster("node", "remove", lab.nodes[1].name)
    node = fresh(lab, lab.nodes[1].name)
    home = f"/var/tmp/t-local-{uuid.uuid4().hex[:6]}"
    shown = []
    try:
        for path in (str(HOME / "ktool"), sys.prefix, sys.base_prefix):
            if subprocess.run(enter(node, "test", "-e", path)).returncode:
                subprocess.run([sys.executable, "-c", GRAFT, str(node.pid), path], check=True)
                shown.append(path)
        yield node, home
    finally:
        for path in reversed(shown):
            subprocess.run(enter(node, "umount", "-l", path), check=True)
        on(node, f"rm -rf {home}")
        add(cluster, node.name, node)


def test_local_makes_this_very_machine_a_node(inside: tuple[LabNode, str]) -> None:
    """The program runs on the node itself, where a checkout is visible too, and needs no SSH."""
    node, home = inside
    manifest = documents(pod("here", {"name": "main", "image": WEB}))

    def ktool(*words: str, stdin: str = "", status: int = 0) -> str:
        argv = enter(node, sys.executable, "-m", "ktool", *words)
        env = {**os.environ, "KTOOL_HOME": home, "NO_COLOR": "1", "PYTHONPATH": str(HOME)}
        done = subprocess.run(argv, env=env, input=stdin, capture_output=True, text=True, timeout=120)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    ktool("node", "add", "self", "--local")
    assert "local://" in ktool("node", "list")
    ktool("apply", "-f", "-", stdin=manifest)
    assert ready(json.loads(ktool("get", "pod", "here", "-o", "json")))
    assert ktool("exec", "here", "--", "wget", "-qO-", "http://127.0.0.1:8080/") == "v1 here\n"
    assert "here web v1 listens" in ktool("logs", "here")
    ktool("delete", "pod", "here", "--now")
    ktool("node", "remove", "self")
    assert on(node, LEFT) == ""
