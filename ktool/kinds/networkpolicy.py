"""NetworkPolicy (networking.k8s.io/v1): which pods may talk to whom. logic/network/policy makes the nodes' rules
for it."""

from __future__ import annotations

from collections.abc import Sequence

from ktool.api.describe import NONE, Description, head, when
from ktool.api.kind import Column, Kind, Looks, Names, Rules, Version
from ktool.api.obj import Obj, get, meta, name, namespace
from ktool.api.selector import from_label_selector
from ktool.api.shapes.meta import resource
from ktool.api.shapes.networkpolicy import (
    NETWORK_POLICY_SPEC,
    default_network_policy,
    validate_network_policy,
    warn_network_policy,
)
from ktool.api.world import World
from ktool.logic.printercolumns import AGE, NAME

SCHEMA = resource(spec=NETWORK_POLICY_SPEC)


def _selector(policy: Obj, now: float) -> str:
    return from_label_selector(get(policy, "spec", "podSelector", default={})).text or "<none>"


# --- describe -------------------------------------------------------------------------------------------------------


def describe(obj: Obj, world: World, now: float) -> Description:
    sheet = Description()
    spec = get(obj, "spec", default={})
    sheet.row("Name", name(obj))
    sheet.row("Namespace", namespace(obj))
    sheet.row("Created on", when(meta(obj).get("creationTimestamp")))
    head(sheet, obj)
    sheet.title("Spec")
    chosen = from_label_selector(spec.get("podSelector") or {}).text
    every = f"{NONE} (Allowing the specific traffic to all pods in this namespace)"
    sheet.line(f"PodSelector:     {chosen or every}", 1)
    types = spec.get("policyTypes") or []
    for word, who, end in (("ingress", "from", "source"), ("egress", "to", "destination")):
        if word.title() in types:
            sheet.line(f"Allowing {word} traffic:", 1)
            _rules(sheet, spec.get(word) or (), word, who, end)
        else:
            sheet.line(f"Not affecting {word} traffic", 1)
    sheet.line(f"Policy Types: {', '.join(types)}", 1)
    return sheet


def _rules(sheet: Description, rules: Sequence[Obj], word: str, who: str, end: str) -> None:
    if not rules:
        sheet.line(f"{NONE} (Selected pods are isolated for {word} connectivity)", 2)
    for index, rule in enumerate(rules):
        if index:
            sheet.line("----------", 2)
        for port in rule.get("ports") or ():
            sheet.line(f"To Port: {_port(port)}", 2)
        if not rule.get("ports"):
            sheet.line("To Port: <any> (traffic allowed to all ports)", 2)
        if not rule.get(who):
            sheet.line(f"{who.title()}: <any> (traffic not restricted by {end})", 2)
        for peer in rule.get(who) or ():
            sheet.line(f"{who.title()}:", 2)
            _peer(sheet, peer)


def _port(port: Obj) -> str:
    number = port.get("port", "<any>")
    last = f"-{port['endPort']}" if port.get("endPort") else ""
    return f"{number}{last}/{port.get('protocol', 'TCP')}"


def _peer(sheet: Description, peer: Obj) -> None:
    for key, label in (("namespaceSelector", "NamespaceSelector"), ("podSelector", "PodSelector")):
        if peer.get(key) is not None:
            sheet.line(f"{label}: {from_label_selector(peer[key]).text or NONE}", 3)
    if block := peer.get("ipBlock"):
        sheet.line("IPBlock:", 3)
        sheet.line(f"CIDR: {block['cidr']}", 4)
        sheet.line(f"Except: {', '.join(block.get('except') or ())}", 4)


KIND = Kind(
    Names("networking.k8s.io", "NetworkPolicy", "networkpolicies", short=("netpol",)),
    (Version("v1", SCHEMA),),
    rules=Rules(default=default_network_policy, validate=validate_network_policy, warn=warn_network_policy),
    looks=Looks(
        columns=(
            NAME,
            Column("POD-SELECTOR", _selector),
            AGE,
        ),
        describe=describe,
    ),
    apply_order=20,
)
