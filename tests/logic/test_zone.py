"""The DNS of a cluster as text: golden cases, and that no object says anything there but names and addresses."""

from __future__ import annotations

import random
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ktool.logic.network import zone

GOLDEN = Path(__file__).parent.parent / "golden" / "zone"
CASES = [pytest.param(path, id=path.stem) for path in sorted(GOLDEN.glob("*.yaml"))]
OPTIONS = zone.config_text(())


def with_kind(kind: str, objects: list[Any]) -> list[Any]:
    return [{"kind": kind, **obj} for obj in objects]


def shown(made: zone.Zone) -> dict[str, Any]:
    assert made.config.startswith(OPTIONS)
    records = made.config.removeprefix(OPTIONS).splitlines()
    found = {"hosts": made.hosts.splitlines(), "records": records, "refused": list(made.refused)}
    return {**found, "away": [" ".join(pair) for pair in made.away]} if made.away else found


@pytest.mark.parametrize("path", CASES)
def test_golden(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    services = with_kind("Service", case["given"]["services"])
    slices = with_kind("EndpointSlice", case["given"]["slices"])
    made = zone.zone(services, slices)
    assert shown(made) == case["expect"]
    assert zone.zone(reversed(services), reversed(slices)) == made


def test_the_options_are_these() -> None:
    assert OPTIONS.splitlines() == (GOLDEN / "options.conf").read_text().splitlines()


# --- what users write --------------------------------------------------------------------------------------------

BAD = st.sampled_from(
    ["\n", "\r", " ", ",", "#", "/", "=", "\x00", "\t", '"', "\\", "é", ".", "..", "-", "_", "A", "%"]
)
TEXT = st.one_of(
    st.text(max_size=80),
    st.lists(st.one_of(BAD, st.sampled_from(["a", "b1", "10.96.0.1", "server=6.6.6.6"])), max_size=6).map("".join),
    st.sampled_from(["a", "web", "10.96.0.1", "fd00::1", "x.example.com", "None", "a.shop.svc.cluster.local"]),
)
PORTS = st.lists(
    st.fixed_dictionaries(
        {"name": TEXT, "port": st.one_of(st.integers(), TEXT)}, optional={"protocol": st.one_of(TEXT, st.just("UDP"))}
    ),
    max_size=2,
)
NAMES = st.fixed_dictionaries({"name": TEXT, "namespace": st.one_of(st.just("shop"), TEXT)})
SERVICES = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.just("Service"),
            "metadata": NAMES,
            "spec": st.fixed_dictionaries(
                {},
                optional={
                    "type": st.sampled_from(["ClusterIP", "ExternalName"]),
                    "clusterIP": TEXT,
                    "clusterIPs": st.lists(TEXT, max_size=2),
                    "externalName": TEXT,
                    "ports": PORTS,
                },
            ),
        }
    ),
    max_size=5,
)
ENDPOINTS = st.lists(
    st.fixed_dictionaries({"addresses": st.lists(TEXT, max_size=2)}, optional={"hostname": TEXT}), max_size=3
)


@st.composite
def slices(draw: st.DrawFn, services: list[Any]) -> list[Any]:
    """Slices of the given services."""
    found = []
    for service in services:
        meta = service["metadata"]
        labels = {"kubernetes.io/service-name": meta["name"]}
        own = {"metadata": {"name": "x", "namespace": meta["namespace"], "labels": labels}}
        found.append({"kind": "EndpointSlice", **own, "endpoints": draw(ENDPOINTS), "ports": draw(PORTS)})
    return found


NAME = r"[a-z0-9_][a-z0-9_.-]*"
LINES = re.compile(
    rf"cname={NAME},{NAME},0|srv-host={NAME},{NAME},[1-9][0-9]{{0,4}},0,100|txt-record=dns-version\.cluster\.local,1\.1\.0"
)


AWAY_LINES = re.compile(
    rf'  local-zone: "{NAME}\.svc\.cluster\.local\." redirect|'
    rf'  local-data: "{NAME}\.svc\.cluster\.local\. 0 IN CNAME {NAME}\."'
)
AWAY_HEAD, _, AWAY_TAIL = (
    part.splitlines()
    for part in zone.away_text((("a.b.svc.cluster.local", "c.d"),)).partition(
        '  local-zone: "a.b.svc.cluster.local." redirect\n  local-data: "a.b.svc.cluster.local. 0 IN CNAME c.d."\n'
    )
)


@given(st.data())
def test_whatever_objects_say_lines_stay_what_they_are(data: st.DataObject) -> None:
    services = data.draw(SERVICES)
    pieces = data.draw(slices(services))
    made = zone.zone(services, pieces)
    for line in made.hosts.splitlines():
        own, space, name = line.partition(" ")
        assert space and str(ip_address(own)) == own
        assert re.fullmatch(rf"{NAME}\.svc\.cluster\.local", name), line
    records = made.config.removeprefix(OPTIONS)
    assert made.config == OPTIONS + records
    for line in records.split("\n")[:-1]:
        assert LINES.fullmatch(line), line
    lines = zone.away_text(made.away).split("\n")[len(AWAY_HEAD) : -1 - len(AWAY_TAIL)]
    assert len(lines) == 2 * len(made.away) and all(AWAY_LINES.fullmatch(line) for line in lines), lines
    for line in zone.servers_text(5301, 5302, made.away).splitlines():
        assert re.fullmatch(rf"server=/{NAME}/10\.96\.0\.10#530[123]", line), line
    mixed = [random.Random(1).sample(entries, len(entries)) for entries in (services, pieces)]
    assert zone.zone(*mixed).hosts == made.hosts and zone.zone(*mixed).config == made.config


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdefx")), max_size=8))
def test_no_alias_leads_in_a_circle(pairs: list[tuple[str, str]]) -> None:
    def external(name: str, target: str) -> Any:
        spec = {"type": "ExternalName", "externalName": f"{target}.shop.svc.cluster.local"}
        return {"kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}

    made = zone.zone([external(name, target) for name, target in dict(pairs).items()], [])
    aliases = dict(re.findall(r"cname=([^,]*),([^,]*),0", made.config))
    for alias in aliases:
        here, steps = alias, 0
        while here in aliases:
            here, steps = aliases[here], steps + 1
            assert steps <= len(aliases), f"{alias} goes round"


def test_an_alias_of_an_alias_that_leads_out_leads_out() -> None:
    def external(name: str, target: str) -> Any:
        meta = {"name": name, "namespace": "shop"}
        return {"kind": "Service", "metadata": meta, "spec": {"type": "ExternalName", "externalName": target}}

    services = [external("one", "two.shop.svc.cluster.local"), external("two", "db.example.com")]
    services.append(external("home", "web.shop.svc.cluster.local"))
    made = zone.zone(services, [])
    at = "shop.svc.cluster.local"
    assert made.away == ((f"one.{at}", f"two.{at}"), (f"two.{at}", "db.example.com"))
    assert re.findall(r"cname=([^,]*),", made.config) == [f"home.{at}"]
    assert zone.away_text(()) == "" and made.hash != zone.zone(services[1:], []).hash


def test_what_is_left_out_does_not_hide_the_rest() -> None:
    """One refused service, and the one beside it is served."""
    bad = {"kind": "Service", "metadata": {"name": "a b", "namespace": "shop"}, "spec": {"clusterIP": "10.96.0.1"}}
    good = {"kind": "Service", "metadata": {"name": "ab", "namespace": "shop"}, "spec": {"clusterIP": "10.96.0.2"}}
    made = zone.zone([bad, good], [])
    assert "10.96.0.2 ab.shop.svc.cluster.local\n" in made.hosts and len(made.refused) == 1
