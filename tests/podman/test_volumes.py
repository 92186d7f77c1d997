"""Volumes on a real node: what containers see, what an update does to readers, what is left behind (nothing)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from ktool.logic.node.nodeaction import PreparePath, RemoveVolumes, WriteVolumes
from ktool.logic.node.volume import Volume, VolumeFile
from tests.podman.support import Node, done, pod

pytestmark = pytest.mark.podman


@pytest.fixture
def uid(node: Node) -> Iterator[str]:
    yield str(uuid.uuid4())


def _config(hash_: str, **files: str) -> Volume:
    return Volume(
        "cfg", files=tuple(VolumeFile(k, v.encode(), 0o644) for k, v in files.items()), hash=hash_, mode=0o755
    )


def test_a_pod_sees_its_volumes(node: Node) -> None:
    config = {"metadata": {"name": "settings"}, "data": {"a.conf": "one\n", "b": "$(id) `x`"}}
    web = pod(
        "volumes",
        {
            "name": "web",
            "volumeMounts": [
                {"name": "cfg", "mountPath": "/etc/app"},
                {"name": "tmp", "mountPath": "/scratch"},
                {"name": "mem", "mountPath": "/fast"},
            ],
        },
        volumes=[
            {"name": "cfg", "configMap": {"name": "settings", "defaultMode": 0o440}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ],
        securityContext={"fsGroup": 1234},
    )
    own = node.run(web, "10.244.101.20", {"settings": config}).containers[0].id
    assert node.exec(own, "cat", "/etc/app/a.conf")[1] == b"one\n"
    assert node.exec(own, "cat", "/etc/app/b")[1] == b"$(id) `x`"
    assert node.exec(own, "stat", "-L", "-c", "%a %g", "/etc/app/a.conf")[1] == b"440 1234\n"
    assert node.exec(own, "stat", "-c", "%a %g", "/scratch")[1] == b"2777 1234\n"
    assert node.exec(own, "sh", "-c", "echo x >/scratch/f && stat -c %g /scratch/f")[1] == b"1234\n"
    assert node.exec(own, "sh", "-c", "head -c 2000000 /dev/zero >/fast/big")[0] != 0, "more than its sizeLimit"
    assert node.exec(own, "stat", "-c", "%s", "/fast/big")[1] == b"1048576\n"
    assert node.exec(own, "sh", "-c", "echo y >/etc/app/a.conf")[0] != 0, "ConfigMaps are read-only"


def test_an_update_is_seen_whole_and_removes_old_keys(node: Node) -> None:
    config = {"metadata": {"name": "settings"}, "data": {"a": "1", "b": "1", "old": "1"}}
    web = pod(
        "update",
        {"name": "web", "volumeMounts": [{"name": "cfg", "mountPath": "/etc/app"}]},
        volumes=[{"name": "cfg", "configMap": {"name": "settings"}}],
    )
    own = node.run(web, "10.244.101.21", {"settings": config}).containers[0].id
    mixed = node.runtime.exec(
        own,
        [
            "sh",
            "-c",
            "until [ -e /tmp/end ]; do cd /etc/app/..data/; "
            "a=$(cat a) && b=$(cat b) && [ $a != $b ] && echo mixed; done",
        ],
        stdin=False,
        tty=False,
    )
    uid = web["metadata"]["uid"]
    for number in range(2, 12):
        done(node.runtime.perform(WriteVolumes(uid, (_config(f"h{number}", a=str(number), b=str(number)),))))
    assert node.exec(own, "ls", "/etc/app")[1].split() == [b"a", b"b"]
    assert node.exec(own, "cat", "/etc/app/a")[1] == b"11"
    node.exec(own, "touch", "/tmp/end")
    # A reader whose set was just removed may find nothing there, but never one file of each set.
    assert [frame for frame in mixed.frames() if frame == (1, b"mixed\n")] == []
    mixed.close()
    left = node.shell(f"ls -A /var/lib/ktool/pods/{uid}/volumes/cfg").split()
    assert len([entry for entry in left if entry.startswith("..1")]) == 1, left


def test_hashes_are_read_back(node: Node, uid: str) -> None:
    memory = Volume("mem", "Memory", 1 << 20, hash="h2")
    done(node.runtime.perform(WriteVolumes(uid, (_config("h1", a="x"), memory))))
    assert node.runtime.observe().volumes[uid] == {"cfg": "h1", "mem": "h2"}
    done(node.runtime.perform(WriteVolumes(uid, (_config("h3", a="y"),))))
    assert node.runtime.observe().volumes[uid] == {"cfg": "h3", "mem": "h2"}
    done(node.runtime.perform(RemoveVolumes(uid)))
    done(node.runtime.perform(RemoveVolumes(uid)))
    assert uid not in node.runtime.observe().volumes
    assert uid not in node.shell("cat /proc/mounts; ls /run/ktool/pods /var/lib/ktool/pods")


@pytest.mark.parametrize("name", ["-rf", "a b", "$(id)", "..", "é", "a;b", "new\nline", "x" * 200])
def test_hostile_file_names_are_names(node: Node, uid: str, name: str) -> None:
    if name == "..":
        failure = node.runtime.perform(WriteVolumes(uid, (_config("h", **{name: "x"}),))).failure
        assert failure is not None and failure.reason == "FailedMount"
        return
    done(node.runtime.perform(WriteVolumes(uid, (_config("h", **{name: "content", "sub/" + name: "x"}),))))
    done(node.runtime.perform(WriteVolumes(uid, (_config("h", **{name: "content"}),))))
    listed = node.shell(
        f"cd /var/lib/ktool/pods/{uid}/volumes/cfg/..data && for f in *; do printf '%s\\0' \"$f\"; done"
    )
    assert listed == name + "\0"
    done(node.runtime.perform(RemoveVolumes(uid)))


@pytest.mark.parametrize("uid", ["..", "/", "../../etc", "a" * 36 + "/..", "", "x" * 36])
def test_only_a_uid_is_ever_removed(node: Node, uid: str) -> None:
    failure = node.runtime.perform(RemoveVolumes(uid)).failure
    assert failure is not None and "not a pod's uid" in failure.message


def test_a_mount_below_a_volume_is_never_deleted_through(node: Node, uid: str) -> None:
    done(node.runtime.perform(WriteVolumes(uid, (Volume("tmp", hash="h"),))))
    target = f"/var/lib/ktool/pods/{uid}/volumes/tmp/inner"
    node.shell(f"mkdir -p /srv/precious {target}; touch /srv/precious/file; mount --bind /srv/precious {target}")
    node.runtime.perform(RemoveVolumes(uid))
    assert node.shell("ls /srv/precious") == "file\n"
    node.shell(f"umount {target}")
    done(node.runtime.perform(RemoveVolumes(uid)))


def test_content_is_never_in_a_command_line(node: Node, uid: str) -> None:
    secret = "canary-7c1f0a"
    seen: list[list[str]] = []
    transport = node.runtime._transport
    run = transport.run
    transport.run = lambda argv, **more: (seen.append(list(argv)), run(argv, **more))[1]  # type: ignore[method-assign]
    try:
        done(node.runtime.perform(WriteVolumes(uid, (_config("h", key=secret),))))
    finally:
        transport.run = run  # type: ignore[method-assign]
    assert seen and not any(secret in word for argv in seen for word in argv)
    assert node.shell(f"cat /var/lib/ktool/pods/{uid}/volumes/cfg/key") == secret


@pytest.mark.parametrize(
    ("kind", "setup", "ok"),
    [
        ("", "rm -rf /srv/hp", True),
        ("DirectoryOrCreate", "rm -rf /srv/hp", True),
        ("DirectoryOrCreate", "rm -rf /srv/hp; touch /srv/hp", False),
        ("Directory", "rm -rf /srv/hp", False),
        ("Directory", "rm -rf /srv/hp; mkdir /srv/hp", True),
        ("FileOrCreate", "rm -rf /srv/hp", True),
        ("FileOrCreate", "rm -rf /srv/hp; mkdir /srv/hp", False),
        ("File", "rm -rf /srv/hp; touch /srv/hp", True),
        ("Socket", "rm -rf /srv/hp; touch /srv/hp", False),
        ("CharDevice", "rm -rf /srv/hp; mknod /srv/hp c 1 3", True),
        ("BlockDevice", "rm -rf /srv/hp; mknod /srv/hp c 1 3", False),
    ],
)
def test_host_paths(node: Node, kind: str, setup: str, ok: bool) -> None:
    node.shell(f"mkdir -p /srv; {setup}")
    failure = node.runtime.perform(PreparePath("/srv/hp", kind)).failure
    assert (failure is None) is ok, failure
    if failure is not None:
        assert failure.reason == "FailedMount" and "/srv/hp is not a" in failure.message
