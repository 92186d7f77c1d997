"""Where a pod may go at all, filter by filter."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.logic.schedule import place
from tests.logic.schedule.schedule_objects import (
    HOST,
    ZONE,
    allowed,
    apart,
    expression,
    near,
    node,
    pod,
    require_nodes,
    spread,
    term,
    where,
)

Obj = dict[str, Any]
WEB = {"app": "web"}

# --- taints and states -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taints", "tolerations", "fits"),
    [
        pytest.param(["k=v:NoSchedule"], [], False, id="untolerated"),
        pytest.param(["k=v:NoExecute"], [], False, id="noexecute-untolerated"),
        pytest.param(["k=v:PreferNoSchedule"], [], True, id="prefer-only-scores"),
        pytest.param(["k=v:NoSchedule"], [{"key": "k", "operator": "Equal", "value": "v"}], True, id="equal"),
        pytest.param(["k=v:NoSchedule"], [{"key": "k", "value": "v"}], True, id="equal-is-the-default"),
        pytest.param(["k=v:NoSchedule"], [{"key": "k", "value": "w"}], False, id="other-value"),
        pytest.param(["k=v:NoSchedule"], [{"key": "j", "value": "v"}], False, id="other-key"),
        pytest.param(["k=v:NoSchedule"], [{"key": "k", "operator": "Exists"}], True, id="exists"),
        pytest.param(["k=v:NoSchedule"], [{"operator": "Equal", "value": "v"}], False, id="equal-needs-a-key"),
        pytest.param(["k:NoSchedule"], [{"key": "k"}], True, id="empty-value-equals-empty"),
        pytest.param(["k=v:NoSchedule"], [{"operator": "Exists"}], True, id="exists-without-key-is-everything"),
        pytest.param(
            ["k=v:NoSchedule"], [{"key": "k", "operator": "Exists", "effect": "NoSchedule"}], True, id="effect"
        ),
        pytest.param(
            ["k=v:NoExecute"], [{"key": "k", "operator": "Exists", "effect": "NoSchedule"}], False, id="other-effect"
        ),
        pytest.param(
            ["a=1:NoSchedule", "b=2:NoSchedule"], [{"key": "a", "operator": "Exists"}], False, id="every-taint-counts"
        ),
    ],
)
def test_taints(taints: list[str], tolerations: list[Obj], fits: bool) -> None:
    assert allowed(pod(tolerations=tolerations), [node("n", taints=taints)]) == ("n" if fits else "")


@pytest.mark.parametrize(
    ("state", "says"),
    [
        pytest.param({"unschedulable": True}, "1 node(s) were unschedulable", id="cordoned"),
        pytest.param({"ready": "False"}, "1 node(s) were not ready", id="not-ready"),
        pytest.param({"ready": None}, "1 node(s) were not ready", id="never-seen"),
        pytest.param({"ready": "Unknown"}, "1 node(s) were unreachable", id="unreachable"),
    ],
)
def test_states_of_a_node_keep_pods_away_unless_tolerated(state: Obj, says: str) -> None:
    assert where(pod(), [node("n", **state)]) == [f"0/1 nodes are available: {says}."]
    keys = ("node.kubernetes.io/unschedulable", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    tolerations = [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in keys]
    assert where(pod(tolerations=tolerations), [node("n", **state)]) == ["n"]
    only_evicts = [{"key": key, "operator": "Exists", "effect": "NoExecute"} for key in keys]
    assert where(pod(tolerations=only_evicts), [node("n", **state)]) != ["n"]


def test_a_node_that_is_being_removed_takes_no_pods_and_is_no_domain() -> None:
    leaving = node("a")
    leaving["metadata"]["deletionTimestamp"] = "2024-01-01T00:00:00Z"
    incoming = pod(labels=WEB, topologySpreadConstraints=[spread()], tolerations=[{"operator": "Exists"}])
    assert where(incoming, [leaving, node("b")], [pod("w", on="b", labels=WEB)]) == ["b"]
    assert where(incoming, [leaving]) == ["no nodes available to schedule pods"]


# --- node selector and affinity ----------------------------------------------------------------------------------

GROVE = [
    node("a", labels={"disk": "ssd", "gen": "3"}),
    node("b", labels={"disk": "hdd", "gen": "5"}),
    node("c", labels={"gen": "new"}),
]


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        pytest.param({"nodeSelector": {"disk": "ssd"}}, "a", id="selector"),
        pytest.param({"nodeSelector": {"disk": "ssd", "gen": "5"}}, "", id="selector-all-labels"),
        pytest.param({"nodeSelector": {HOST: "c"}}, "c", id="selector-hostname"),
        pytest.param({"in": [expression("disk", "In", "ssd", "hdd")]}, "a b", id="in"),
        pytest.param({"in": [expression("disk", "NotIn", "ssd")]}, "b c", id="not-in-accepts-absent"),
        pytest.param({"in": [expression("disk", "Exists")]}, "a b", id="exists"),
        pytest.param({"in": [expression("disk", "DoesNotExist")]}, "c", id="does-not-exist"),
        pytest.param({"in": [expression("gen", "Gt", "3")]}, "b", id="gt-is-strict-and-numeric"),
        pytest.param({"in": [expression("gen", "Lt", "5")]}, "a", id="lt-is-strict-and-numeric"),
        pytest.param({"in": [expression("disk", "Exists"), expression("gen", "Gt", "4")]}, "b", id="expressions-and"),
        pytest.param(
            {"affinity": require_nodes(
                {"matchExpressions": [expression("disk", "In", "ssd")]},
                {"matchExpressions": [expression("gen", "In", "new")]},
            )}, "a c", id="terms-or",
        ),
        pytest.param({"affinity": require_nodes()}, "", id="no-terms-match-nothing"),
        pytest.param({"affinity": require_nodes({})}, "", id="an-empty-term-matches-nothing"),
        pytest.param(
            {"affinity": require_nodes({"matchFields": [expression("metadata.name", "In", "b")]})}, "b", id="field-in"
        ),
        pytest.param(
            {"affinity": require_nodes({"matchFields": [expression("metadata.name", "NotIn", "b")]})},
            "a c", id="field-not-in",
        ),
        pytest.param(
            {"affinity": require_nodes({
                "matchFields": [expression("metadata.name", "In", "b", "c")],
                "matchExpressions": [expression("disk", "Exists")],
            })}, "b", id="fields-and-expressions",
        ),
        pytest.param(
            {"nodeSelector": {"disk": "ssd"},
             "affinity": require_nodes({"matchExpressions": [expression("gen", "In", "5")]})},
            "", id="selector-and-affinity",
        ),
    ],
)  # fmt: skip
def test_node_affinity(spec: Obj, fits: str) -> None:
    if "in" in spec:
        spec = {"affinity": require_nodes({"matchExpressions": spec["in"]})}
    assert allowed(pod(**spec), GROVE) == fits


# --- resources ---------------------------------------------------------------------------------------------------


def containers(*requests: Obj, init: list[Obj] | None = None, **spec: Any) -> Obj:
    def made(prefix: str, entries: Any) -> list[Obj]:
        return [
            {"name": f"{prefix}{number}", "resources": {"requests": entry.get("requests", entry)},
             **({"restartPolicy": "Always"} if entry.get("sidecar") else {})}
            for number, entry in enumerate(entries)
        ]  # fmt: skip

    body = pod(**spec)
    body["spec"]["containers"] = made("c", requests)
    body["spec"]["initContainers"] = made("i", init or [])
    return body


@pytest.mark.parametrize(
    ("incoming", "fits"),
    [
        pytest.param(pod(cpu="4", memory="8Gi"), True, id="exactly-full"),
        pytest.param(pod(cpu="4001m"), False, id="one-millicore-too-many"),
        pytest.param(pod(memory="8193Mi"), False, id="too-much-memory"),
        pytest.param(containers({"cpu": "2"}, {"cpu": "2"}), True, id="containers-are-summed"),
        pytest.param(containers({"cpu": "2"}, {"cpu": "2001m"}), False, id="containers-are-summed-over"),
        pytest.param(containers({"cpu": "1"}, init=[{"cpu": "4"}, {"cpu": "4"}]), True, id="init-containers-are-a-max"),
        pytest.param(containers({"cpu": "1"}, init=[{"cpu": "5"}]), False, id="an-init-container-does-not-fit"),
        pytest.param(
            containers({"cpu": "2"}, init=[{"requests": {"cpu": "2"}, "sidecar": True}]), True, id="sidecar-beside-main"
        ),
        pytest.param(
            containers({"cpu": "3"}, init=[{"requests": {"cpu": "2"}, "sidecar": True}]), False,
            id="sidecar-adds-to-main",
        ),
        pytest.param(
            containers({"cpu": "1"}, init=[{"requests": {"cpu": "2"}, "sidecar": True}, {"cpu": "3"}]),
            False, id="sidecar-adds-to-a-later-init-container",
        ),
        pytest.param(
            containers({"cpu": "1"}, init=[{"cpu": "3"}, {"requests": {"cpu": "2"}, "sidecar": True}]),
            True, id="sidecar-does-not-add-to-an-earlier-one",
        ),
        pytest.param(pod(cpu="3900m", overhead={"cpu": "200m"}), False, id="overhead-counts"),
        pytest.param(containers({"example.com/gpu": "2"}), True, id="extended-resource"),
        pytest.param(containers({"example.com/gpu": "3"}), False, id="extended-resource-too-many"),
        pytest.param(containers({"example.com/tpu": "1"}), False, id="resource-no-node-has"),
        pytest.param(containers({"ephemeral-storage": "1Gi"}), True, id="unmeasured-storage-is-no-limit"),
        pytest.param(containers({"example.com/tpu": "0"}), True, id="zero-asks-for-nothing"),
    ],
)  # fmt: skip
def test_resources(incoming: Obj, fits: bool) -> None:
    assert allowed(incoming, [node("n", extra={"example.com/gpu": "2"})]) == ("n" if fits else "")


def test_a_limit_without_a_request_is_the_request() -> None:
    incoming = pod()
    incoming["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "5"}}
    assert where(incoming, [node("n")]) == ["0/1 nodes are available: 1 Insufficient cpu."]


def test_measured_local_storage_is_a_limit() -> None:
    incoming = containers({"ephemeral-storage": "2Gi"})
    assert allowed(incoming, [node("n", extra={"ephemeral-storage": "1Gi"})]) == ""


@pytest.mark.parametrize(
    ("bound", "fits"),
    [
        pytest.param(pod("old", on="n", cpu="3"), False, id="running"),
        pytest.param(pod("old", on="n", cpu="3", ending=True), False, id="terminating-holds-its-place"),
        pytest.param(pod("old", on="n", cpu="3", phase="Succeeded"), True, id="succeeded-holds-none"),
        pytest.param(pod("old", on="n", cpu="3", phase="Failed"), True, id="failed-holds-none"),
        pytest.param(pod("old", on="gone", cpu="3"), True, id="on-a-node-that-is-gone"),
        pytest.param(pod("old", cpu="3"), True, id="not-bound"),
    ],
)
def test_pods_that_are_there(bound: Obj, fits: bool) -> None:
    assert allowed(pod(cpu="2"), [node("n")], [bound]) == ("n" if fits else "")


def test_the_number_of_pods_is_a_resource() -> None:
    there = [pod("one", on="n"), pod("two", on="n", ending=True)]
    assert where(pod(), [node("n", pods="2")], there) == ["0/1 nodes are available: 1 Too many pods."]


# --- host ports --------------------------------------------------------------------------------------------------


def with_port(name: str = "p", protocol: str = "TCP", ip: str = "", on: str = "", port: int = 80, **spec: Any) -> Obj:
    body = pod(name, on=on, **spec)
    entry: Obj = {"containerPort": 8080, "hostPort": port, "protocol": protocol}
    body["spec"]["containers"][0]["ports"] = [{**entry, "hostIP": ip} if ip else entry]
    return body


@pytest.mark.parametrize(
    ("there", "incoming", "fits"),
    [
        pytest.param(with_port("a", on="n"), with_port(), False, id="same-port"),
        pytest.param(with_port("a", on="n"), with_port(port=81), True, id="other-port"),
        pytest.param(with_port("a", on="n"), with_port(protocol="UDP"), True, id="other-protocol"),
        pytest.param(with_port("a", on="n", ip="10.0.0.1"), with_port(ip="10.0.0.2"), True, id="other-address"),
        pytest.param(with_port("a", on="n", ip="10.0.0.1"), with_port(ip="10.0.0.1"), False, id="same-address"),
        pytest.param(with_port("a", on="n", ip="10.0.0.1"), with_port(), False, id="wildcard-meets-address"),
        pytest.param(with_port("a", on="n"), with_port(ip="10.0.0.1"), False, id="address-meets-wildcard"),
        pytest.param(with_port("a", on="n", ending=True), with_port(), False, id="terminating-holds-its-port"),
        pytest.param(with_port("a", on="n", phase="Failed"), with_port(), True, id="finished-holds-none"),
    ],
)
def test_host_ports(there: Obj, incoming: Obj, fits: bool) -> None:
    assert allowed(incoming, [node("n")], [there]) == ("n" if fits else "")


def test_on_the_hosts_network_container_ports_are_host_ports() -> None:
    body = pod("b", hostNetwork=True)
    body["spec"]["containers"][0]["ports"] = [{"containerPort": 80}]
    says = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
    assert where(body, [node("n")], [with_port("a", on="n")]) == [says]


def test_two_pending_pods_with_one_port_go_to_two_nodes() -> None:
    result = where([with_port("a"), with_port("b"), with_port("c")], [node("n1"), node("n2")])
    assert sorted(result[:2]) == ["n1", "n2"] and "free ports" in result[2]


# --- affinity and anti-affinity between pods ---------------------------------------------------------------------

ZONES = [node("a1", zone="a"), node("a2", zone="a"), node("b1", zone="b"), node("x")]
DB = {"app": "db"}


@pytest.mark.parametrize(
    ("incoming", "there", "fits"),
    [
        pytest.param(pod(affinity=near(term(app="db"))), [pod("d", on="a1", labels=DB)], "a1", id="same-node"),
        pytest.param(pod(affinity=near(term(ZONE, "db"))), [pod("d", on="a1", labels=DB)], "a1 a2", id="same-zone"),
        pytest.param(pod(affinity=near(term(app="db"))), [], "", id="nobody-to-be-near"),
        pytest.param(
            pod(labels=WEB, affinity=near(term())), [], "a1 a2 b1 x", id="the-first-of-its-group-goes-anywhere"
        ),
        pytest.param(
            pod(labels=WEB, affinity=near(term(ZONE))), [], "a1 a2 b1", id="the-first-of-its-group-needs-the-label"
        ),
        pytest.param(
            pod(labels=WEB, affinity=near(term(ZONE))), [pod("w", on="b1", labels=WEB)], "b1", id="the-second-follows"
        ),
        pytest.param(
            pod(affinity=near(term(app="db"), term(ZONE, "db"))),
            [pod("d", on="a1", labels=DB)], "a1", id="every-term",
        ),
        pytest.param(
            pod(affinity=near(term(app="db"), term(app="cache"))),
            [pod("d", on="a1", labels=DB), pod("c", on="a1", labels={"app": "cache"})], "",
            id="one-pod-must-match-all-terms",
        ),
        pytest.param(
            pod(affinity=near(term(app="db"))), [pod("d", on="a1", labels=DB, ending=True)], "a1",
            id="near-a-terminating-one",
        ),
        pytest.param(
            pod(affinity=near(term(app="db"))), [pod("d", on="a1", labels=DB, phase="Succeeded")], "",
            id="not-near-a-finished-one",
        ),
        pytest.param(
            pod(affinity=near(term(app="db"))), [pod("d", on="a1", labels=DB, namespace="other")], "",
            id="own-namespace-only",
        ),
        pytest.param(
            pod(affinity=near(term(app="db", namespaces=["other"]))),
            [pod("d", on="a1", labels=DB, namespace="other"), pod("e", on="b1", labels=DB)], "a1",
            id="named-namespaces-replace-the-own-one",
        ),
        pytest.param(
            pod(affinity=near(term(app="db", namespaceSelector={"matchLabels": {"team": "x"}}))),
            [pod("d", on="a1", labels=DB, namespace="other"), pod("e", on="b1", labels=DB)], "a1",
            id="namespaces-by-label",
        ),
        pytest.param(
            pod(affinity=near(term(app="db", namespaceSelector={}))),
            [pod("d", on="a1", labels=DB, namespace="other"), pod("e", on="b1", labels=DB)], "a1 b1",
            id="an-empty-namespace-selector-is-every-namespace",
        ),
        pytest.param(
            pod(affinity=near({"topologyKey": HOST})), [pod("d", on="a1", labels=DB)], "", id="no-selector-picks-nobody"
        ),
        pytest.param(
            pod(affinity=near({"topologyKey": HOST, "labelSelector": {}})), [pod("d", on="a1")], "a1",
            id="an-empty-selector-picks-everybody",
        ),
        pytest.param(
            pod(labels={"v": "2"}, affinity=near(term(app="db", matchLabelKeys=["v", "absent"]))),
            [pod("d", on="a1", labels={**DB, "v": "1"}), pod("e", on="b1", labels={**DB, "v": "2"})], "b1",
            id="match-label-keys",
        ),
        pytest.param(
            pod(labels={"v": "2"}, affinity=near(term(app="db", mismatchLabelKeys=["v"]))),
            [pod("d", on="a1", labels={**DB, "v": "1"}), pod("e", on="b1", labels={**DB, "v": "2"})], "a1",
            id="mismatch-label-keys",
        ),
        pytest.param(
            pod(affinity=apart(term(app="db"))), [pod("d", on="a1", labels=DB)], "a2 b1 x", id="not-that-node"
        ),
        pytest.param(
            pod(affinity=apart(term(ZONE, "db"))), [pod("d", on="a1", labels=DB)], "b1 x",
            id="not-that-zone-but-a-node-without-zone",
        ),
        pytest.param(
            pod(affinity=apart(term(app="db"), term(app="cache"))),
            [pod("d", on="a1", labels=DB), pod("c", on="b1", labels={"app": "cache"})], "a2 x", id="any-term-repels",
        ),
        pytest.param(
            pod(affinity=apart(term(app="db"))), [pod("d", on="a1", labels=DB, ending=True)], "a2 b1 x",
            id="a-terminating-one-repels-still",
        ),
        pytest.param(
            pod(labels=WEB), [pod("d", on="a1", labels=DB, affinity=apart(term(ZONE)))], "b1 x",
            id="running-pods-keep-others-away",
        ),
        pytest.param(
            pod(labels=WEB), [pod("d", on="a1", namespace="other", affinity=apart(term(ZONE)))], "a1 a2 b1 x",
            id="running-pods-keep-away-in-their-namespace",
        ),
        pytest.param(
            pod(labels={"app": "other"}), [pod("d", on="a1", affinity=apart(term(ZONE)))], "a1 a2 b1 x",
            id="running-pods-let-others-in",
        ),
    ],
)  # fmt: skip
def test_affinity_between_pods(incoming: Obj, there: list[Obj], fits: str) -> None:
    namespaces = {"default": {}, "other": {"team": "x"}}
    assert allowed(incoming, ZONES, there, namespaces=namespaces) == fits


def test_pods_placed_in_the_same_call_keep_each_other_away() -> None:
    loner = pod("a-loner", labels={"app": "loner"}, affinity=apart({"topologyKey": ZONE, "labelSelector": {}}))
    nodes = [node("a1", zone="a"), node("a2", zone="a"), node("b1", zone="b")]
    taken, *others = where([loner, pod("b"), pod("c")], nodes)
    zone = taken[0]
    assert all(place[0] != zone for place in others)


def test_what_was_placed_between_two_pods_of_a_kind_counts_for_the_second() -> None:
    quiet = apart(term(app="loud"))
    waiting = [
        pod("1", labels={"app": "loud"}),
        pod("2", affinity=quiet),
        pod("3", labels={"app": "loud"}, nodeSelector={HOST: "c"}),
        pod("4", affinity=quiet, nodeSelector={HOST: "c"}),
        pod("5", affinity=quiet),
    ]
    placed = where(waiting, [node("a"), node("b"), node("c")])
    assert placed[:3] == ["a", "b", "c"] and "anti-affinity" in placed[3] and placed[4] == "b"


def test_a_group_that_wants_to_be_together_starts_one_and_follows_it() -> None:
    crowd = [pod(f"w{number}", labels=WEB, affinity=near(term(ZONE))) for number in range(6)]
    assert len({name[0] for name in where(crowd, ZONES[:3])}) == 1


# --- topology spread ---------------------------------------------------------------------------------------------


def webs(*nodes: str, **more: Any) -> list[Obj]:
    return [pod(f"{name}-{number}", on=name, labels=WEB, **more) for number, name in enumerate(nodes)]


@pytest.mark.parametrize(
    ("constraints", "there", "fits"),
    [
        pytest.param([spread()], webs("a1"), "a2 b1 x", id="host"),
        pytest.param([spread(skew=2)], webs("a1"), "a1 a2 b1 x", id="skew-two"),
        pytest.param([spread(skew=2)], webs("a1", "a1"), "a2 b1 x", id="skew-two-is-reached"),
        pytest.param([spread(ZONE)], webs("a1"), "b1", id="zone-and-no-node-without-it"),
        pytest.param([spread(ZONE)], webs("a1", "b1"), "a1 a2 b1", id="zone-even"),
        pytest.param([spread(ZONE), spread()], webs("a1", "b1"), "a2", id="two-constraints"),
        pytest.param([spread(ZONE, minDomains=3)], webs("a1"), "b1", id="too-few-domains-first-each"),
        pytest.param([spread(ZONE, minDomains=3)], webs("a1", "b1"), "", id="too-few-domains-block"),
        pytest.param([spread(ZONE, minDomains=2)], webs("a1", "b1"), "a1 a2 b1", id="enough-domains"),
        pytest.param([spread(ZONE, when="ScheduleAnyway")], webs("a1", "a1"), "a1 a2 b1 x", id="anyway-never-blocks"),
        pytest.param([spread(ZONE)], webs("a1", ending=True), "a1 a2 b1", id="terminating-ones-do-not-count"),
        pytest.param([spread(ZONE)], webs("a1", namespace="other"), "a1 a2 b1", id="own-namespace-only"),
        pytest.param([spread(ZONE, app="db")], webs("a1", "a2"), "a1 a2 b1", id="others-do-not-count"),
        pytest.param(
            [spread(ZONE, app="db")], [pod("d", on="a1", labels=DB)], "a1 a2 b1", id="a-pod-not-selected-adds-nothing"
        ),
        pytest.param(
            [spread(ZONE, matchLabelKeys=["v"])], [pod("old", on="a1", labels={**WEB, "v": "1"})], "a1 a2 b1",
            id="match-label-keys-ignore-the-old-revision",
        ),
        pytest.param(
            [spread(ZONE, matchLabelKeys=["v"])], [pod("new", on="a1", labels={**WEB, "v": "2"})], "b1",
            id="match-label-keys-count-the-new-revision",
        ),
    ],
)  # fmt: skip
def test_topology_spread(constraints: list[Obj], there: list[Obj], fits: str) -> None:
    incoming = pod(labels={**WEB, "v": "2"}, topologySpreadConstraints=constraints)
    assert allowed(incoming, ZONES, there) == fits


@pytest.mark.parametrize(
    ("policy", "fits"),
    [
        pytest.param({}, "a1 a2", id="honor-is-the-default"),
        pytest.param({"nodeAffinityPolicy": "Ignore"}, "", id="ignore-counts-zones-the-pod-cannot-use"),
    ],
)
def test_spread_over_the_nodes_that_affinity_allows(policy: Obj, fits: str) -> None:
    incoming = pod(labels=WEB, nodeSelector={ZONE: "a"}, topologySpreadConstraints=[spread(ZONE, **policy)])
    assert allowed(incoming, ZONES, webs("a1")) == fits


@pytest.mark.parametrize(
    ("policy", "fits"),
    [
        pytest.param({}, "", id="ignore-is-the-default"),
        pytest.param({"nodeTaintsPolicy": "Honor"}, "a1", id="honor-leaves-tainted-zones-out"),
    ],
)
@pytest.mark.parametrize("shut", [{"taints": ["k:NoSchedule"]}, {"unschedulable": True}], ids=["tainted", "cordoned"])
def test_spread_over_tainted_nodes(policy: Obj, fits: str, shut: Obj) -> None:
    nodes = [node("a1", zone="a"), node("b1", zone="b", **shut)]
    incoming = pod(labels=WEB, topologySpreadConstraints=[spread(ZONE, **policy)])
    assert allowed(incoming, nodes, webs("a1")) == fits


# --- what is not a question of nodes -----------------------------------------------------------------------------


def test_gated_pods_wait_and_say_so() -> None:
    assert where(pod(schedulingGates=[{"name": "x"}]), [node("n")]) == [
        "Scheduling is blocked due to non-empty scheduling gates"
    ]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(pod(on="n"), id="bound"),
        pytest.param(pod(ending=True), id="terminating"),
        pytest.param(pod(phase="Failed"), id="finished"),
    ],
)
def test_pods_that_need_no_node_get_no_decision(body: Obj) -> None:
    assert place([body], [node("n")], [], {}) == []


# --- messages ----------------------------------------------------------------------------------------------------


def test_the_message_counts_reasons_as_kube_scheduler_does() -> None:
    nodes = [
        node("n1", taints=["dedicated=db:NoSchedule"]),
        node("n2", taints=["dedicated=db:NoSchedule"]),
        node("n3", cpu="500m"),
        node("n4", cpu="500m", memory="1Gi"),
    ]
    assert where(pod(cpu="1", memory="2Gi"), nodes) == [
        "0/4 nodes are available: 1 Insufficient memory, 2 Insufficient cpu,"
        " 2 node(s) had untolerated taint {dedicated: db}."
    ]


@pytest.mark.parametrize(
    ("incoming", "there", "reason"),
    [
        pytest.param(pod(nodeSelector={"k": "v"}), [], "didn't match Pod's node affinity/selector", id="affinity"),
        pytest.param(pod(affinity=near(term(app="db"))), [], "didn't match pod affinity rules", id="pod-affinity"),
        pytest.param(
            pod(affinity=apart(term())), webs("n"), "didn't match pod anti-affinity rules", id="pod-anti-affinity"
        ),
        pytest.param(
            pod(labels=WEB), [pod("d", on="n", affinity=apart(term()))],
            "didn't satisfy existing pods anti-affinity rules", id="existing-anti-affinity",
        ),
        pytest.param(
            pod(labels=WEB, topologySpreadConstraints=[spread(minDomains=2)]), webs("n"),
            "didn't match pod topology spread constraints", id="spread",
        ),
        pytest.param(
            pod(labels=WEB, topologySpreadConstraints=[spread(ZONE)]), [],
            "didn't match pod topology spread constraints (missing required label)", id="spread-label",
        ),
    ],
)  # fmt: skip
def test_messages(incoming: Obj, there: list[Obj], reason: str) -> None:
    assert where(incoming, [node("n")], there) == [f"0/1 nodes are available: 1 node(s) {reason}."]


def test_a_cluster_without_nodes_says_so() -> None:
    assert where(pod(), []) == ["no nodes available to schedule pods"]


def test_a_decision_names_the_pod_and_what_happened() -> None:
    (decision,) = place([pod("web", namespace="shop")], [node("n1")], [], {})
    assert (decision.ref.key, decision.uid, decision.node) == ("core/Pod/shop/web", "uid-shop-web", "n1")
    assert decision.message == "Successfully assigned shop/web to n1"
