"""A lab is real nodes: what they can do, and that nothing of them stays behind."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ktool import lab
from ktool.lab import host
from ktool.lab.layout import load_plan

pytestmark = pytest.mark.podman

NAME = "t-one"


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """Labs need a file system on which overlayfs works; /tmp may be a tmpfs."""
    path = Path(f"/var/tmp/ktool-test-labs-{os.getpid()}")
    path.mkdir()
    yield path
    for entry in sorted(path.iterdir()):
        lab.down(entry.name, path)
    path.rmdir()


@pytest.fixture
def one(root: Path) -> lab.Lab:
    """The lab most tests share: up() repairs what the test before did to it."""
    return lab.up(NAME, 2, root=root)


def ssh(node: lab.LabNode, command: str, *, timeout: float = 30) -> str:
    """Run a command on the node as a user of the lab would: ssh, its key, and the host key that was announced."""
    known = Path(node.identity).with_name("known_hosts")
    known.write_text(f"{node.address} {node.host_key}\n")
    options = [
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        f"UserKnownHostsFile={known}",
    ]
    argv = ["ssh", *options, "-p", str(node.port), "-i", node.identity, f"{node.user}@{node.address}", command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def get(node: lab.LabNode, url: str) -> str:
    return ssh(node, f"busybox wget -qO- {url}")


def traces(root: Path, name: str, addresses: str) -> list[str]:
    """Everything on this machine that belongs to the lab, wherever it may be."""
    plan_file = root / name
    cgroup = f"ktool-lab-{name}-"
    found = [f"file {plan_file}"] if plan_file.exists() else []
    for process in Path("/proc").glob("[0-9]*"):
        for what in ("cmdline", "cgroup", "mountinfo"):
            try:
                text = (process / what).read_text(errors="replace")
            except OSError:
                continue
            if f"{plan_file}/" in text or cgroup in text:
                found.append(f"{what} of process {process.name}")
    for directory, directories, _ in os.walk("/sys/fs/cgroup"):
        found += [f"cgroup {directory}/{one}" for one in directories if one.startswith(cgroup)]
    for argv in (["ip", "-4", "address"], ["ip", "route", "show", "table", "all"], ["nft", "list", "ruleset"]):
        text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        found += [f"{argv[0]}: {line.strip()}" for line in text.splitlines() if addresses in line]
    return found


def addresses_of(found: lab.Lab) -> str:
    return found.subnet.removesuffix("0/24")


def links() -> set[str]:
    return {
        link["ifname"]
        for link in json.loads(subprocess.check_output(["ip", "-json", "link"]))
        if "lab-" in link["ifname"]
    }


def bridge_address(root: Path) -> str:
    switch = f"--net=/proc/{lab.status(NAME, root)[0].pid}/ns/net"
    [link] = json.loads(subprocess.check_output(["nsenter", switch, "ip", "-json", "link", "show", "type", "bridge"]))
    return link["address"]


def namespaces(found: lab.Lab) -> set[str]:
    return {
        os.readlink(f"/proc/{n.pid}/ns/{kind}") for n in found.nodes for kind in ("net", "mnt", "uts", "ipc", "pid")
    }


def alive_namespaces() -> set[str]:
    seen = set()
    for link in Path("/proc").glob("[0-9]*/ns/*"):
        try:
            seen.add(os.readlink(link))
        except OSError:
            continue
    return seen


def test_up_again_changes_nothing(one: lab.Lab, root: Path) -> None:
    said: list[str] = []
    start = time.monotonic()
    again = lab.up(NAME, root=root, say=said.append)
    assert time.monotonic() - start < 2
    assert again == one == lab.load(NAME, root)
    assert said == []
    assert [node.name for node in one.nodes] == [f"{NAME}-node1", f"{NAME}-node2"]


def test_status_tells_what_answers(one: lab.Lab, root: Path) -> None:
    found = lab.status(NAME, root)
    assert [part.name for part in found] == [f"{NAME}-registry", *(node.name for node in one.nodes)]
    assert all(part.ready for part in found)
    assert lab.status("t-none", root) == ()
    assert lab.load("t-none", root) is None


def test_a_node_is_a_machine_of_its_own(one: lab.Lab) -> None:
    first, second = one.nodes
    assert [ssh(node, "hostname") for node in one.nodes] == [first.name, second.name]
    assert len({ssh(node, "cat /proc/sys/kernel/random/boot_id /etc/machine-id") for node in one.nodes}) == 2
    assert ssh(first, "cat /proc/sys/net/ipv4/ip_forward") == "1"
    assert "sshd" in ssh(first, "ps ax") and second.name not in ssh(first, "ps ax")
    for place in (
        "/etc/t-mark",
        "/usr/t-mark",
        "/root/t-mark",
        "/tmp/t-mark",
        "/var/lib/ktool/t-mark",
        "/dev/shm/t-mark",
    ):
        ssh(first, f"touch {place}")
        assert ssh(second, f"ls {place} 2>/dev/null || echo none") == "none"
        assert not Path(place).exists()


def test_nodes_reach_each_other_and_nothing_else(one: lab.Lab) -> None:
    first, second = one.nodes
    assert ssh(first, f"busybox nc -w 2 {second.address} 22 </dev/null | head -c 4") == "SSH-"
    start = time.monotonic()
    # An address outside is refused at once: no test waits for a timeout, and no packet leaves the lab.
    assert ssh(first, "busybox nc -w 5 192.0.2.77 80 </dev/null || echo refused") == "refused"
    assert time.monotonic() - start < 3


def test_pods_from_the_registry_answer_on_every_node(one: lab.Lab) -> None:
    for node in one.nodes:
        ssh(node, "podman pod create --name p && podman run -d --pod p --name p-web registry.lab/web:v1")
        address = ssh(
            node,
            "podman inspect p-web --format '{{.State.Status}}' >/dev/null; "
            "podman inspect $(podman pod inspect p --format '{{.InfraContainerID}}')"
            " --format '{{.NetworkSettings.IPAddress}}'",
        )
        assert get(node, f"http://{address}:8080/") == "v1 p"
        ssh(node, "podman pod rm -f -t 1 p")


def test_images_differ_as_their_tags_say(one: lab.Lab, root: Path) -> None:
    node = one.nodes[0]
    assert lab.images(NAME, root) == ["registry.lab/web:v1", "registry.lab/web:v2", "registry.lab/web:broken"]
    ssh(
        node,
        "podman run -d --net host -e PORT=18082 --name two registry.lab/web:v2; "
        "podman run -d --net host -e PORT=18083 --name broken registry.lab/web:broken",
    )
    assert get(node, "http://127.0.0.1:18082/").startswith("v2 ")
    connection = http.client.HTTPConnection(node.address, 18083, timeout=5)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 503
    connection.close()
    ssh(node, "podman stop -t 5 two broken")
    assert ssh(node, "podman inspect two broken --format '{{.State.ExitCode}}'").split() == ["0", "0"]
    ssh(node, "podman rm two broken")
    assert ssh(node, "podman run --rm --user app registry.lab/web:v1 sh -c 'id -un; ls -ld /tmp'").startswith(
        "app\ndrwxrwxrwt"
    )


def test_a_memory_limit_kills(one: lab.Lab) -> None:
    eat = "perl -e 'my $x = q(a) x 200_000_000; print length $x'"
    assert ssh(one.nodes[0], f'podman run --rm --memory 32m registry.lab/web:v1 {eat}; echo "code $?"') == "code 137"


def test_what_dies_inside_a_node_is_started_again(one: lab.Lab, root: Path) -> None:
    ssh(one.nodes[0], "pkill -x -f 'podman system service.*'; pkill -o -x sshd")
    assert wait_for(lambda: all(part.ready for part in lab.status(NAME, root)))


def test_reboot_keeps_the_disk_and_nothing_else(one: lab.Lab, root: Path) -> None:
    node = one.nodes[1]
    boot, bridge = ssh(node, "cat /proc/sys/kernel/random/boot_id"), bridge_address(root)
    ssh(node, "touch /run/t-run /var/lib/ktool/t-kept /etc/t-kept; podman run -d --name kept registry.lab/web:v1")
    new = lab.reboot(NAME, node.name, root)
    assert new.pid != node.pid and (new.address, new.host_key) == (node.address, node.host_key)
    assert ssh(new, "cat /proc/sys/kernel/random/boot_id") != boot
    assert ssh(new, "ls /run/t-run /var/lib/ktool/t-kept /etc/t-kept 2>/dev/null; true").split() == [
        "/etc/t-kept",
        "/var/lib/ktool/t-kept",
    ]
    assert ssh(new, "podman inspect kept --format '{{.State.Running}}'") == "false"
    assert ssh(new, "podman start kept && podman rm -f -t 1 kept").split()[0] == "kept"
    # The other nodes still know the way to the registry: the bridge has not taken another hardware address.
    assert bridge_address(root) == bridge
    assert get(one.nodes[0], f"http://{one.registry}/v2/") == "{}"


def test_a_node_is_lost_and_comes_back(one: lab.Lab, root: Path) -> None:
    node = one.nodes[0]
    lab.stop_node(NAME, node.name, root)
    lost = {part.name: part for part in lab.status(NAME, root)}[node.name]
    assert (lost.running, lost.pid, lost.sshd, lost.podman) == (False, 0, False, False)
    assert (loaded := lab.load(NAME, root)) and loaded.nodes[0].pid == 0
    assert lab.start_node(NAME, node.name, root).pid > 0
    assert ssh(node, "hostname") == node.name


def test_up_repairs_a_dead_switch_and_grows(one: lab.Lab, root: Path) -> None:
    registry = lab.status(NAME, root)[0]
    os.kill(registry.pid, signal.SIGKILL)
    assert wait_for(lambda: not lab.status(NAME, root)[0].running)
    grown = lab.up(NAME, 3, root=root)
    assert len(grown.nodes) == 3 and all(part.ready for part in lab.status(NAME, root))
    assert [node.host_key for node in grown.nodes[:2]] == [node.host_key for node in one.nodes]
    assert get(grown.nodes[2], f"http://{grown.registry}/v2/") == "{}"


def test_two_labs_side_by_side_and_down_leaves_nothing(one: lab.Lab, root: Path) -> None:
    before = links()
    two = lab.up("t-two", 2, root=root)
    ssh(two.nodes[0], "podman run -d --memory 64m registry.lab/web:v1")
    assert two.subnet != one.subnet and two.registry != one.registry
    assert not {node.name for node in one.nodes} & {node.name for node in two.nodes}
    # Several kinds of trace, or the comparison below would prove nothing.
    assert len({line.split()[0] for line in traces(root, "t-two", addresses_of(two))}) >= 5
    assert namespaces(two) <= alive_namespaces()
    held = namespaces(two)
    lab.down("t-two", root)
    assert traces(root, "t-two", addresses_of(two)) == []
    assert not held & alive_namespaces()
    assert links() == before
    lab.down("t-two", root)
    assert all(part.ready for part in lab.status(NAME, root))


@pytest.mark.parametrize("moment", [0.03, 0.08, 0.12, 0.18, 0.3, 0.45])
def test_down_after_half_an_up(root: Path, moment: float) -> None:
    """`up` is killed at some moment of its work; what it had made by then is gone after `down`."""
    code = (
        "import sys; from pathlib import Path; from ktool import lab; print('go', flush=True);"
        f"lab.up('t-half', 2, root=Path({str(root)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"go\n"
    time.sleep(moment)
    process.kill()
    process.communicate()
    plan = load_plan("t-half", root)
    lab.down("t-half", root)
    # What was starting gives up by itself when nobody lets it boot.
    assert wait_for(lambda: not traces(root, "t-half", f"10.89.{plan.octet}." if plan else "10.89.none"))


def test_down_ends_only_processes_it_started(root: Path) -> None:
    """A pid that was recorded and now belongs to somebody else is left alone."""
    lab.up("t-pid", 1, root=root)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        record = root / "t-pid" / "node1" / "holder"
        mine = record.read_text().split()
        record.write_text(f"{stranger.pid} {mine[1]} {mine[2]}\n")
        lab.down("t-pid", root)
        assert stranger.poll() is None
        stranger.kill()


def test_a_directory_that_is_no_lab_is_left_alone(root: Path) -> None:
    other = root / "t-other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    for change in (lambda: lab.down("t-other", root), lambda: lab.up("t-other", root=root)):
        with pytest.raises(lab.LabError, match="not a lab"):
            change()
    assert (other / "thesis.txt").read_text() == "mine"
    (other / "thesis.txt").unlink()
    lab.down("t-other", root)
    assert not other.exists()


@pytest.mark.parametrize("name", ["", "-a", "A", "a/b", "../a", "a" * 21, "a b"])
def test_names_that_cannot_name_a_lab(root: Path, name: str) -> None:
    with pytest.raises(lab.LabError, match="cannot name a lab"):
        lab.up(name, root=root)
    with pytest.raises(lab.LabError, match="cannot name a lab"):
        lab.down(name, root)


def test_missing_packages_are_named_with_the_command(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(host._PACKAGES, "t-package", "t-program")
    assert lab.missing_packages() == ["t-package"]
    with pytest.raises(lab.LabError, match=r"apt-get install -y --no-install-recommends t-package$"):
        lab.up("t-none", root=root)
    assert not (root / "t-none").exists()


def test_root_is_needed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(lab.LabError, match="needs root"):
        lab.up("t-none", root=root)


def test_two_ups_at_once_make_one_lab(root: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: lab.up("t-race", 1, root=root), range(2))
    assert first == second
    lab.down("t-race", root)


def test_unknown_labs_and_nodes_are_named(one: lab.Lab, root: Path) -> None:
    with pytest.raises(lab.LabError, match="no lab named t-none"):
        lab.images("t-none", root)
    with pytest.raises(lab.LabError, match=f"has no node x; it has {one.nodes[0].name}, "):
        lab.reboot(NAME, "x", root)


def wait_for(condition: Callable[[], bool], timeout: float = 10) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
