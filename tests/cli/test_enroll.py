"""What users type about machines, and what becomes of it."""

from __future__ import annotations

import pytest

from ktool.api.errors import UsageError, UserError
from ktool.cli.node.enroll import Newcomer, label, refuse_strange_subnets, ssh_url, taint

TARGETS = {
    "192.0.2.7": "ssh://root@192.0.2.7:22",
    "admin@web.example.com": "ssh://admin@web.example.com:22",
    "admin@web.example.com:2222": "ssh://admin@web.example.com:2222",
    "[2001:db8::1]:2222": "ssh://root@[2001:db8::1]:2222",
    "2001:db8::1": "ssh://root@[2001:db8::1]:22",
    "a.b@c": "ssh://a.b@c:22",
    "odd/user@c": "ssh://odd%2Fuser@c:22",
}


@pytest.mark.parametrize(("target", "url"), TARGETS.items(), ids=list(TARGETS))
def test_targets(target, url):
    assert ssh_url(target) == url


@pytest.mark.parametrize(
    "target",
    ["", "@h", "u@", "h:", "h:0", "h:70000", "h:ssh", "-h", "u@-oProxyCommand=x", "h;reboot", "h/x", "$(x)", "[h"],
)
def test_no_targets(target):
    with pytest.raises(UsageError):
        ssh_url(target)


def test_labels_and_taints():
    assert label("disk=ssd=fast") == ("disk", "ssd=fast")
    assert taint("gpu=true:NoSchedule") == {"key": "gpu", "value": "true", "effect": "NoSchedule"}
    assert taint("gpu:NoExecute") == {"key": "gpu", "effect": "NoExecute"}
    for bad in ("gpu", "gpu:Never", ":NoSchedule", "=x:NoSchedule"):
        with pytest.raises(UsageError):
            taint(bad)


def test_the_node_object_says_how_it_is_reached_and_nothing_that_is_not_known():
    node = Newcomer("n1", "ssh://root@h:22", identity="/k", labels={"a": "b"}).obj()
    assert node == {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "n1",
            "annotations": {"ktool.dev/connection": "ssh://root@h:22", "ktool.dev/identity": "/k"},
            "labels": {"a": "b"},
        },
    }


@pytest.mark.parametrize(
    ("cidr", "says"),
    [
        pytest.param("10.244.9.0/24", "", id="free"),
        pytest.param("10.96.0.0/24", "is not within 10.244.0.0/16", id="of-services"),
        pytest.param("fd00::/112", "is not within 10.244.0.0/16", id="ipv6"),
        pytest.param("10.244.1.1/24", "must be a subnet", id="host-bits"),
    ],
)
def test_pod_subnets(cidr, says):
    newcomer = Newcomer("n2", "local://", pod_cidr=cidr)
    if not says:
        refuse_strange_subnets([newcomer])
        assert newcomer.obj()["spec"] == {"podCIDR": cidr, "podCIDRs": [cidr]}
        return
    with pytest.raises(UserError, match=says):
        refuse_strange_subnets([newcomer])
