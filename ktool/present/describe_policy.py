"""`ktool describe networkpolicy`, as kubectl has it (k8s.io/kubectl/pkg/describe, describeNetworkPolicy)."""

from __future__ import annotations

from collections.abc import Sequence

from ktool.api.obj import Obj, get, meta, name, namespace
from ktool.api.selector import from_label_selector
from ktool.api.world import World
from ktool.present.sheet import NONE, Sheet, head, when


def network_policy(obj: Obj, world: World) -> Sheet:
    sheet = Sheet()
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


def _rules(sheet: Sheet, rules: Sequence[Obj], word: str, who: str, end: str) -> None:
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


def _peer(sheet: Sheet, peer: Obj) -> None:
    for key, label in (("namespaceSelector", "NamespaceSelector"), ("podSelector", "PodSelector")):
        if peer.get(key) is not None:
            sheet.line(f"{label}: {from_label_selector(peer[key]).text or NONE}", 3)
    if block := peer.get("ipBlock"):
        sheet.line("IPBlock:", 3)
        sheet.line(f"CIDR: {block['cidr']}", 4)
        sheet.line(f"Except: {', '.join(block.get('except') or ())}", 4)
