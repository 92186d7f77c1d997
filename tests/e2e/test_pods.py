"""Pods as users write them, checked from inside their containers: what a manifest says is what the process finds."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ktool.lab import Lab
from ktool.logic.pod.podspec import hardware_address
from tests.e2e.conftest import Ktool, until
from tests.e2e.support import (
    WEB,
    config,
    container,
    deployment,
    documents,
    on,
    phase,
    pod,
    ready,
    script,
    serving,
    space,
    status_of,
)

pytestmark = pytest.mark.podman


def field(path: str) -> dict[str, Any]:
    return {"valueFrom": {"fieldRef": {"fieldPath": path}}}


def resource(name: str, divisor: str = "1") -> dict[str, Any]:
    return {"valueFrom": {"resourceFieldRef": {"resource": name, "divisor": divisor}}}


def key(name: str, of: str, **more: Any) -> dict[str, Any]:
    return {"valueFrom": {"configMapKeyRef": {"name": of, "key": name, **more}}}


def mount(name: str, path: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "mountPath": path, **more}


# --- the pods ----------------------------------------------------------------------------------------------------

ENV = [
    ("PLAIN", {"value": "a  b"}),
    ("EARLIER", {"value": "<$(PLAIN)>"}),
    ("LATER", {"value": "$(LAST)"}),
    ("LAST", {"value": "x"}),
    ("ESCAPED", {"value": "$$(PLAIN) $$ $"}),
    ("FROM_KEY", key("colour", "settings")),
    ("OPTIONAL", key("none", "settings", optional=True)),
    ("OVERRIDDEN", {"value": "by env"}),
    ("NAME", field("metadata.name")),
    ("NAMESPACE", field("metadata.namespace")),
    ("UID_OF_POD", field("metadata.uid")),
    ("LABEL", field("metadata.labels['tier']")),
    ("NOTE", field("metadata.annotations['example.com/note']")),
    ("NODE", field("spec.nodeName")),
    ("HOST_IP", field("status.hostIP")),
    ("POD_IP", field("status.podIP")),
    ("CPU_MILLI", resource("limits.cpu", "1m")),
    ("CPU", resource("limits.cpu")),
    ("MEMORY_MI", resource("requests.memory", "1Mi")),
    ("MEMORY", resource("limits.memory")),
]

SETTINGS = config("settings", colour="blue", OVERRIDDEN="by envFrom")
FILES = config("files", one="first\n", two="second\n", three="third\n")

LIMITS = {"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"cpu": "10m", "memory": "48Mi"}}
EAT = ["perl", "-e", '$x = "a" x 200_000_000; sleep 9']
SMALL = {"resources": {"limits": {"memory": "24Mi"}}}
CGROUP = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null"
MEMORY_CGROUP = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"


def _argv() -> dict[str, Any]:
    greeting = {"env": [{"name": "WORD", "value": "hello"}]}
    return pod(
        "argv",
        {"name": "args", "image": "registry.lab/pause:1", "args": ["--version"]},
        {"name": "command", "image": "registry.lab/pause:1", "command": ["/catatonit", "--version"]},
        {"name": "no-cmd", "image": WEB, "command": ["/bin/echo", "alone"]},
        {"name": "both", "image": WEB, "command": ["/bin/echo", "$(WORD)"], "args": ["$(WORD)s", "$$(WORD)", "$(NO)"]}
        | greeting,
        {"name": "only-args", "image": WEB, "args": ["/bin/echo", "-n", "$(WORD) "], **greeting},
        script("here", "pwd; ls -d /made/here", workingDir="/made/here"),
        restartPolicy="Never",
    )


def _env() -> dict[str, Any]:
    show = "".join(f"printf '%s=%s\\n' {name} \"${{{name}-unset}}\";" for name, _ in ENV)
    main = script(
        "main",
        f"{show} env | grep -c '^P_'; echo $P_colour; {CGROUP}; {MEMORY_CGROUP}; true",
        env=[{"name": name, **value} for name, value in ENV],
        envFrom=[
            {"configMapRef": {"name": "settings"}},
            {"configMapRef": {"name": "settings"}, "prefix": "P_"},
            {"configMapRef": {"name": "absent", "optional": True}},
        ],
        resources=LIMITS,
    )
    made = pod("env", main, restartPolicy="Never")
    made["metadata"] |= {"labels": {"tier": "front"}, "annotations": {"example.com/note": "a 'quoted' \"note\""}}
    return made


def _volumes() -> dict[str, Any]:
    volumes = [
        {"name": "shared", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}},
        {"name": "files", "configMap": {"name": "files", "defaultMode": 0o400}},
        {
            "name": "some",
            "configMap": {
                "name": "files",
                "items": [{"key": "two", "path": "deep/er/2"}, {"key": "one", "path": "1", "mode": 0o444}],
            },
        },
        {"name": "host", "hostPath": {"path": "/var/tmp/t-pods/made", "type": "DirectoryOrCreate"}},
    ]
    mounts = [
        mount("shared", "/shared"),
        mount("memory", "/memory"),
        mount("files", "/files"),
        mount("some", "/some"),
        mount("files", "/etc/alone", subPath="one"),
        mount("shared", "/part", subPath="a/b"),
        mount("host", "/host"),
    ]
    return pod(
        "volumes",
        container("a", volumeMounts=mounts),
        container("b", volumeMounts=[mount("shared", "/shared", readOnly=True)]),
        volumes=volumes,
        nodeSelector={"kubernetes.io/hostname": "NODE"},
    )


def _security() -> dict[str, Any]:
    id_ = 'id -u; id -g; echo $(id -G); ls -ldn /data | cut -c1-10; touch /data/x && ls -ln /data/x | tr -s " "'
    caps = "grep CapEff /proc/self/status | cut -f2"
    return pod(
        "security",
        script("who", id_, volumeMounts=[mount("data", "/data")]),
        script("own", "id -u; id -g", securityContext={"runAsUser": 1234, "runAsGroup": 77}),
        script("drop", caps, securityContext={"runAsUser": 0, "capabilities": {"drop": ["ALL"]}}),
        script(
            "add",
            caps,
            securityContext={"runAsUser": 0, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
        ),
        script(
            "readonly",
            "touch /x 2>&1; touch /data/y && echo writes",
            securityContext={"readOnlyRootFilesystem": True, "runAsUser": 0},
            volumeMounts=[mount("data", "/data")],
        ),
        script(
            "privileged", "mount -t tmpfs x /tmp && echo mounted", securityContext={"privileged": True, "runAsUser": 0}
        ),
        script(
            "escalate",
            "grep NoNewPrivs /proc/self/status | cut -f2",
            securityContext={"allowPrivilegeEscalation": False},
        ),
        restartPolicy="Never",
        securityContext={"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000, "supplementalGroups": [3000]},
        volumes=[{"name": "data", "emptyDir": {}}],
    )


def _ends() -> list[dict[str, Any]]:
    """Pods that end, each in its own way."""
    twice = "if [ -e /keep/was ]; then echo again; else echo first; touch /keep/was; sleep 1; exit 5; fi"
    keep = {"volumeMounts": [mount("keep", "/keep")]}
    volumes = [{"name": "keep", "emptyDir": {}}]
    order = 'echo "$0" >>/keep/order'
    return [
        pod("oom", container("main", *EAT, **SMALL), restartPolicy="Never"),
        pod("oom-again", container("main", "sh", "-c", "sleep 1; " + "exec perl -e '$x = q(a) x 200000000'", **SMALL)),
        pod("crash", script("main", "sleep 1; exit 3")),
        pod(
            "on-failure",
            script("main", twice, **keep),
            container("fine", "true"),
            volumes=volumes,
            restartPolicy="OnFailure",
        ),
        pod("never", script("bad", "exit 3"), container("good", "true"), restartPolicy="Never"),
        pod(
            "init",
            script("main", "cat /keep/order", **keep),
            initContainers=[
                container("first", "sh", "-c", f"sleep 0.5; {order}", "first", **keep),
                container("second", "sh", "-c", order, "second", **keep),
            ],
            volumes=volumes,
            restartPolicy="Never",
        ),
        pod("init-fails", container("main"), initContainers=[script("bad", "exit 7")], restartPolicy="Never"),
        pod("init-loops", container("main"), initContainers=[script("bad", "echo tried; exit 7")]),
    ]


def _stays(nodes: list[str]) -> list[dict[str, Any]]:
    return [
        pod(
            "web",
            {"name": "main", "image": WEB, "ports": [{"containerPort": 8080, "hostPort": 18080}]},
            nodeName=nodes[0],
            hostAliases=[{"ip": "192.0.2.9", "hostnames": ["db.example", "db"]}],
            hostname="given",
        ),
        pod("hostnet", {"name": "main", "image": WEB, "env": [{"name": "PORT", "value": "18081"}]}, hostNetwork=True),
        pod("absent-image", {**container("main"), "image": "registry.lab/absent:v1", "imagePullPolicy": "Never"}),
        pod("no-config", container("main", env=[{"name": "X", **key("x", "missing")}])),
    ]


@dataclass(frozen=True)
class World:
    """The program, with a server, and the namespace of these tests."""

    ktool: Ktool
    namespace: str
    lab: Lab

    def __call__(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.ktool(words[0], "-n", self.namespace, *words[1:], **options)

    def pod(self, name: str) -> Any:
        return self.ktool.json("get", "pod", name, "-n", self.namespace)

    def logs(self, pod_: str, container_: str = "main") -> list[str]:
        return self("logs", pod_, "-c", container_).stdout.splitlines()

    def sh(self, pod_: str, container_: str, text: str) -> list[str]:
        return self("exec", pod_, "-c", container_, "--", "sh", "-c", text).stdout.splitlines()

    def apply(self, *objects: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        return self("apply", "-f", "-", stdin=documents(*objects), **options)

    def until(self, name: str, what: Any, seconds: float = 45.0) -> Any:
        """The pod as soon as `what` holds for it."""
        return until(lambda: what(one := self.pod(name)) and one, seconds)


@pytest.fixture(scope="module")
def world(cluster: Ktool, lab: Lab) -> Iterator[World]:
    """All the pods of this file, applied at once."""
    nodes = [node.name for node in lab.nodes]
    volumes = _volumes()
    volumes["spec"]["nodeSelector"]["kubernetes.io/hostname"] = nodes[1]
    with serving(cluster), space(cluster) as namespace:
        made = World(cluster, namespace, lab)
        made.apply(SETTINGS, FILES, _argv(), _env(), volumes, _security(), *_ends(), *_stays(nodes))
        yield made


# --- command, environment ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        pytest.param("args", ["tini version 0.1.7_catatonit"], id="args-after-entrypoint"),
        pytest.param("command", ["tini version 0.1.7_catatonit"], id="command-instead-of-entrypoint"),
        pytest.param("no-cmd", ["alone"], id="command-drops-the-images-cmd"),
        pytest.param("both", ["hello hellos $(WORD) $(NO)"], id="command-and-args"),
        pytest.param("only-args", ["hello "], id="args-instead-of-cmd"),
        pytest.param("here", ["/made/here", "/made/here"], id="working-directory-is-made"),
    ],
)
def test_command_and_args(world: World, name: str, lines: list[str]) -> None:
    world.until("argv", lambda one: phase(one) in ("Succeeded", "Failed"))
    assert world.logs("argv", name) == lines


def test_environment(world: World) -> None:
    ended = world.until("env", lambda one: phase(one) == "Succeeded")
    lines = world.logs("env")
    found = dict(line.split("=", 1) for line in lines[: len(ENV)])
    assert found == {
        "PLAIN": "a  b",
        "EARLIER": "<a  b>",
        "LATER": "$(LAST)",
        "LAST": "x",
        "ESCAPED": "$(PLAIN) $ $",
        "FROM_KEY": "blue",
        "OPTIONAL": "unset",
        "OVERRIDDEN": "by env",
        "NAME": "env",
        "NAMESPACE": world.namespace,
        "UID_OF_POD": ended["metadata"]["uid"],
        "LABEL": "front",
        "NOTE": "a 'quoted' \"note\"",
        "NODE": ended["spec"]["nodeName"],
        "HOST_IP": ended["status"]["hostIP"],
        "POD_IP": ended["status"]["podIP"],
        "CPU_MILLI": "250",
        "CPU": "1",
        "MEMORY_MI": "48",
        "MEMORY": str(64 * 1024**2),
    }
    assert lines[len(ENV) : len(ENV) + 2] == ["2", "blue"], "with a prefix"
    assert lines[len(ENV) + 2].split()[0] == "25000" and lines[len(ENV) + 3] == str(64 * 1024**2)


# --- ends --------------------------------------------------------------------------------------------------------


def test_out_of_memory_is_said(world: World) -> None:
    ended = world.until("oom", lambda one: phase(one) == "Failed")
    terminated = status_of(ended, "main")["state"]["terminated"]
    assert (terminated["reason"], terminated["exitCode"]) == ("OOMKilled", 137)
    again = world.until("oom-again", lambda one: status_of(one, "main").get("restartCount", 0) >= 1)
    last = status_of(again, "main")["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("OOMKilled", 137)


def test_a_crash_loop_tells_how_the_container_ended(world: World) -> None:
    crashed = world.until("crash", lambda one: status_of(one, "main").get("restartCount", 0) >= 1)
    last = status_of(crashed, "main")["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("Error", 3)
    looped = world.until("crash", lambda one: "waiting" in status_of(one, "main")["state"])
    waiting, last = (status_of(looped, "main")[part] for part in ("state", "lastState"))
    assert waiting["waiting"]["reason"] == "CrashLoopBackOff"
    assert (last["terminated"]["reason"], last["terminated"]["exitCode"]) == ("Error", 3)
    assert "CrashLoopBackOff" in world("get", "pod", "crash").stdout


def test_restart_policies(world: World) -> None:
    done = world.until("on-failure", lambda one: phase(one) == "Succeeded")
    assert [status_of(done, name)["restartCount"] for name in ("main", "fine")] == [1, 0]
    assert status_of(done, "main")["lastState"]["terminated"]["exitCode"] == 5
    assert world.logs("on-failure")[-1] == "again", "the emptyDir was kept over the restart"
    failed = world.until("never", lambda one: phase(one) == "Failed")
    codes = [status_of(failed, name)["state"]["terminated"]["exitCode"] for name in ("bad", "good")]
    assert codes == [3, 0] and [one["restartCount"] for one in failed["status"]["containerStatuses"]] == [0, 0]


def test_init_containers(world: World) -> None:
    world.until("init", lambda one: phase(one) == "Succeeded")
    assert world.logs("init") == ["first", "second"]
    failed = world.until("init-fails", lambda one: phase(one) == "Failed")
    assert status_of(failed, "bad")["state"]["terminated"]["exitCode"] == 7
    assert status_of(failed, "main")["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert "Init:Error" in world("get", "pod", "init-fails").stdout
    world.until("init-loops", lambda one: status_of(one, "bad").get("state", {}).get("waiting"))
    assert "Init:CrashLoopBackOff" in world("get", "pod", "init-loops").stdout
    assert set(world.logs("init-loops", "bad")) == {"tried"}


def test_images_and_configuration_that_are_not_there(world: World) -> None:
    reason = lambda one: status_of(one, "main").get("state", {}).get("waiting", {}).get("reason")  # noqa: E731
    absent = world.until("absent-image", lambda one: reason(one) == "ErrImageNeverPull")
    message = status_of(absent, "main")["state"]["waiting"]["message"]
    assert message == 'Container image "registry.lab/absent:v1" is not present with pull policy of Never'
    missing = world.until("no-config", lambda one: reason(one) == "CreateContainerConfigError")
    assert status_of(missing, "main")["state"]["waiting"]["message"] == 'configmap "missing" not found'
    world.apply(config("missing", x="here now"))
    world.until("no-config", ready, 20)
    assert world.sh("no-config", "main", "echo $X") == ["here now"]


# --- network -----------------------------------------------------------------------------------------------------


def page(address: str, port: int) -> str:
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_ports_and_names(world: World) -> None:
    node = world.lab.nodes[0]
    web = world.until("web", ready)
    assert web["spec"]["nodeName"] == node.name
    assert page(node.address, 18080) == "v1 given\n"
    hosts = world.sh("web", "main", "hostname; cat /etc/hosts")
    assert hosts[0] == "given"
    table = [line.split() for line in hosts[1:] if line and not line.startswith("#")]
    assert {"db.example", "db"} <= {name for address, *names in table for name in names if address == "192.0.2.9"}
    assert any(address == web["status"]["podIP"] and "given" in names for address, *names in table)

    link = world.sh("web", "main", "cat /sys/class/net/eth0/address")
    assert link == [hardware_address(web["status"]["podIP"])], "or its neighbours look for the one it had before"

    hostnet = world.until("hostnet", ready)
    where = next(one for one in world.lab.nodes if one.name == hostnet["spec"]["nodeName"])
    assert hostnet["status"]["podIP"] == hostnet["status"]["hostIP"] == where.address
    assert page(where.address, 18081) == f"v1 {where.name}\n"


# --- volumes -----------------------------------------------------------------------------------------------------


def test_volumes(world: World) -> None:
    world.until("volumes", ready)
    node = world.lab.nodes[1]
    world.sh("volumes", "a", "echo seen >/shared/from-a; echo deep >/part/file; echo there >/host/file")
    assert world.sh("volumes", "b", "cat /shared/from-a /shared/a/b/file; touch /shared/x 2>/dev/null || echo ro") == [
        "seen",
        "deep",
        "ro",
    ]
    assert on(node, "cat /var/tmp/t-pods/made/file") == "there"
    facts = world.sh(
        "volumes",
        "a",
        "grep ' /memory ' /proc/mounts | cut -d' ' -f3; df -k /memory | tail -1 | tr -s ' ' | cut -d' ' -f2;"
        "dd if=/dev/zero of=/memory/x bs=1M count=8 2>&1 | grep -c 'No space'; rm /memory/x;"
        "ls -lL /files/one | cut -c1-10; ls /files; cat /some/deep/er/2 /some/1 /etc/alone; ls /some;"
        "ls -lL /some/1 | cut -c1-10; touch /files/y 2>/dev/null || echo ro",
    )
    assert facts == [
        "tmpfs",
        "4096",
        "1",
        "-r--------",
        *["one", "three", "two"],
        *["second", "first", "first"],
        *["1", "deep"],
        "-r--r--r--",
        "ro",
    ]


def test_a_changed_configmap_reaches_the_files_of_running_pods(world: World) -> None:
    world.until("volumes", ready)
    world.apply(config("files", one="changed\n", two="second\n", four="new\n"))
    look = "cat /files/one /files/four /some/1 /etc/alone; ls /files"
    seen = ["changed", "new", "changed", "first", "four", "one", "two"]
    began = time.monotonic()
    until(lambda: world("exec", "volumes", "-c", "a", "--", "sh", "-c", look, status=None).stdout.split() == seen, 10)
    assert time.monotonic() - began < 5
    assert status_of(world.pod("volumes"), "a")["restartCount"] == 0


# --- security ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        pytest.param("own", ["1234", "77"], id="container-before-pod"),
        pytest.param("drop", ["0000000000000000"], id="no-capabilities"),
        pytest.param("add", ["0000000000000400"], id="one-capability"),
        pytest.param("privileged", ["mounted"], id="privileged"),
        pytest.param("readonly", ["touch: /x: Read-only file system", "writes"], id="read-only-root"),
        pytest.param("escalate", ["1"], id="no-new-privileges"),
    ],
)
def test_security_context(world: World, name: str, lines: list[str]) -> None:
    world.until("security", lambda one: phase(one) in ("Succeeded", "Failed"))
    assert world.logs("security", name) == lines


def test_groups(world: World) -> None:
    world.until("security", lambda one: phase(one) in ("Succeeded", "Failed"))
    uid, gid, groups, mode, listed = world.logs("security", "who")
    assert (uid, gid, set(groups.split())) == ("1000", "1000", {"1000", "2000", "3000"})
    assert mode == "drwxrwsrwx" and listed.split()[2:4] == ["1000", "2000"], "new files belong to fsGroup"


# --- the end -----------------------------------------------------------------------------------------------------


def test_grace_periods(world: World) -> None:
    """Three pods end side by side: one says goodbye, two ignore SIGTERM and are killed after their grace."""
    node = world.lab.nodes[0]
    stubborn = script("main", "trap '' TERM; echo up; while :; do sleep 0.1; done")
    words = {"volumeMounts": [mount("words", "/words")]}
    polite = script(
        "main", "trap 'echo goodbye >/words/last; exit 0' TERM; echo up; while :; do sleep 0.1; done", **words
    )
    place = {"name": "words", "hostPath": {"path": "/var/tmp/t-pods-words", "type": "DirectoryOrCreate"}}
    world.apply(
        pod("polite", polite, terminationGracePeriodSeconds=60, nodeName=node.name, volumes=[place]),
        pod("patient", stubborn, terminationGracePeriodSeconds=3),
        pod("hurried", stubborn, terminationGracePeriodSeconds=60),
        pod("now", stubborn, terminationGracePeriodSeconds=60),
    )
    for name in ("polite", "patient", "hurried", "now"):
        world.until(name, lambda one: ready(one))
    until(lambda: world.logs("polite") == ["up"])
    ktool = world.ktool
    following = ktool.start("logs", "-f", "polite", "-n", world.namespace)
    assert following.stdout is not None and following.stdout.readline() == b"up\n"
    began = time.monotonic()
    waiting = {
        name: ktool.start("delete", "pod", name, "-n", world.namespace, *words)
        for name, words in {
            "polite": (),
            "patient": (),
            "hurried": ("--grace-period=1",),
            "now": ("--now",),
        }.items()
    }
    took = {}
    for name in ("polite", "hurried", "now", "patient"):
        _, said = waiting[name].communicate(timeout=60)
        took[name] = time.monotonic() - began
        assert waiting[name].returncode == 0, said
    assert following.wait(20) == 0, "following ends with the container"
    following.communicate()
    assert on(node, "cat /var/tmp/t-pods-words/last") == "goodbye"
    assert 3 <= took["patient"] < 9 and took["now"] < 9, took


def test_a_pod_that_is_ending_ends_sooner_when_it_is_asked_to(world: World) -> None:
    """With two minutes of grace at first: one ignores SIGTERM, one is in its preStop hook, one is deleted by force."""
    node = world.lab.nodes[0]
    stubborn = script("main", "trap '' TERM; echo up; while :; do sleep 0.1; done")
    hooked = stubborn | {"lifecycle": {"preStop": {"exec": {"command": ["sleep", "100"]}}}}
    names = ("stubborn", "hooked", "forced")
    world.apply(
        *(
            pod(name, hooked if name == "hooked" else stubborn, terminationGracePeriodSeconds=120, nodeName=node.name)
            for name in names
        )
    )
    for name in names:
        world.until(name, lambda one: ready(one))
    until(lambda: all(world.logs(name) == ["up"] for name in names))
    world("delete", "pod", *names, "--wait=false")
    time.sleep(3)
    began = time.monotonic()
    world("delete", "pod", "stubborn", "hooked", "--grace-period=1")
    world("delete", "pod", "forced", "--force", "--grace-period=0")
    until(lambda: f"_{world.namespace}_" not in on(node, "podman ps --format '{{.PodName}}'"))
    assert time.monotonic() - began < 60


# --- scheduling --------------------------------------------------------------------------------------------------


def test_pods_go_where_they_may(world: World) -> None:
    """Node selectors, names, taints, spreading, and what fits nowhere: one apply."""
    nodes = [node.name for node in world.lab.nodes]
    anti = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "apart"}}}
            ]
        }
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "even"}},
    }
    tainted = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": nodes[2], "labels": {"disk": "ssd"}},
        "spec": {"taints": [{"key": "only", "value": "gpu", "effect": "NoSchedule"}]},
    }
    untainted = {**tainted, "metadata": {"name": nodes[2]}, "spec": {"taints": []}}
    toleration = {"key": "only", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}
    world.apply(deployment("apart", 4, affinity=anti), deployment("even", 3, topologySpreadConstraints=[spread]))
    until(lambda: len(_nodes_of(world, "app=even")) == 3 and len(_nodes_of(world, "app=apart")) == 3)
    world.apply(tainted)
    try:
        world.apply(
            pod("chosen", container("main"), nodeSelector={"disk": "ssd"}, tolerations=[toleration]),
            pod("kept-away", container("main"), nodeSelector={"disk": "ssd"}),
            pod("nowhere", container("main"), nodeSelector={"disk": "tape"}),
            pod("huge", container("main", resources={"requests": {"cpu": "900"}})),
            pod("same-port", {"name": "main", "image": WEB, "ports": [{"containerPort": 80, "hostPort": 18080}]}) | {},
        )
        assert world.until("chosen", ready)["spec"]["nodeName"] == nodes[2]
        away = _unschedulable(world, "kept-away")
        assert "untolerated taint {only: gpu}" in away and away.startswith("0/3 nodes are available")
        assert "didn't match Pod's node affinity/selector" in _unschedulable(world, "nowhere")
        assert "Insufficient cpu" in _unschedulable(world, "huge")
        assert world.until("same-port", lambda one: one["spec"].get("nodeName"))["spec"]["nodeName"] == nodes[1]
    finally:
        world.apply(untainted)
    even, apart = _nodes_of(world, "app=even"), _nodes_of(world, "app=apart")
    assert sorted(even) == sorted(apart) == sorted(nodes), "one on each node; the fourth has no place"
    waiting = [one for one in _items(world, "app=apart") if not one["spec"].get("nodeName")]
    assert "didn't match pod anti-affinity rules" in _unschedulable(world, waiting[0]["metadata"]["name"])
    late = world.ktool("rollout", "status", "deployment/apart", "-n", world.namespace, "--timeout=1s", status=6)
    assert "deployment.apps/apart" in late.stderr
    huge = pod("huge", container("main", resources={"requests": {"cpu": "900"}}))
    told = world("apply", "-f", "-", "--wait", "--timeout=1s", stdin=documents(huge), status=6)
    assert told.stdout == "pod/huge unchanged\n" and "timed out after 1s" in told.stderr
    assert "Insufficient cpu" in told.stderr


def _items(world: World, selector: str) -> list[Any]:
    return list(world.ktool.json("get", "pods", "-n", world.namespace, "-l", selector)["items"])


def _nodes_of(world: World, selector: str) -> list[str]:
    return [one["spec"]["nodeName"] for one in _items(world, selector) if one["spec"].get("nodeName")]


def _unschedulable(world: World, name: str) -> str:
    def said(one: Any) -> Any:
        return next((c for c in one["status"].get("conditions", ()) if c["type"] == "PodScheduled"), {})

    found = world.until(name, lambda one: said(one).get("reason") == "Unschedulable", 15)
    assert phase(found) == "Pending"
    return str(said(found)["message"])
