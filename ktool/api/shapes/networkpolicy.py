"""networking.k8s.io/v1 NetworkPolicySpec: schema, defaults and validation. kinds/networkpolicy and logic/network use
them.

Source: kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1 and its defaults and validation
(k8s.io/kubernetes/pkg/apis/networking/v1/defaults.go and validation, ValidateNetworkPolicySpec).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network

from ktool.api.errors import Cause
from ktool.api.obj import Obj, get, put
from ktool.api.rules import names
from ktool.api.rules.placementrules import FORBIDDEN, REQUIRED, selector_causes
from ktool.api.shapes.build import array, choice, int_or_string, integer, obj, string, strings
from ktool.api.shapes.meta import LABEL_SELECTOR
from ktool.api.shapes.service import PROTOCOLS

INGRESS, EGRESS = "Ingress", "Egress"

_IP_BLOCK = obj(
    "Addresses that are no pods', such as those outside the cluster.",
    {
        "cidr": string("A block such as 192.168.1.0/24.", required=True),
        "except": strings("Blocks inside it that are not meant."),
    },
)
_PEER = obj(
    "Who is at the other end: pods, or an address block.",
    {
        "podSelector": LABEL_SELECTOR,
        "namespaceSelector": LABEL_SELECTOR,
        "ipBlock": _IP_BLOCK,
    },
)
_PORT = obj(
    "A port, or a range of them; of the pod that is connected to.",
    {
        "protocol": choice("Transport protocol.", *PROTOCOLS, default="TCP"),
        "port": int_or_string("Number, or the name of a port of the pod; every port if left out."),
        "endPort": integer("Last port of a range that begins with `port`."),
    },
)
_PORTS = array("Ports that are open; every one if left out.", _PORT)

NETWORK_POLICY_SPEC = obj(
    "Which pods may talk to whom. Pods that no policy selects may talk to everybody.",
    {
        "podSelector": obj(
            "The pods of this namespace that it is about; an empty selector means every one.",
            LABEL_SELECTOR.fields,
            default={},
        ),
        "ingress": array(
            "Who may connect to these pods; several policies add up.",
            obj(
                "Some peers and the ports open to them.",
                {"from": array("Who may connect; everybody if left out.", _PEER), "ports": _PORTS},
            ),
        ),
        "egress": array(
            "Whom these pods may connect to; several policies add up.",
            obj(
                "Some peers and their ports that are open.",
                {"to": array("Whom they may connect to; everybody if left out.", _PEER), "ports": _PORTS},
            ),
        ),
        "policyTypes": strings(
            "Ingress, Egress or both: for these only what the rules allow is allowed. If left out Ingress, and Egress"
            " where there is a rule for it."
        ),
    },
)

SIDES = (("ingress", "from"), ("egress", "to"))


def default_network_policy(policy: Obj) -> Obj:
    spec = policy.get("spec")
    if spec is not None and not isinstance(spec, dict):
        return policy
    spec = spec or {}
    wanted: Obj = {} if "podSelector" in spec else {"podSelector": {}}
    if not spec.get("policyTypes"):
        wanted["policyTypes"] = [INGRESS, EGRESS] if spec.get("egress") else [INGRESS]
    return put(policy, "spec", {**spec, **wanted}) if wanted else policy


# --- rules -------------------------------------------------------------------------------------------------------


def validate_network_policy(policy: Obj, old: Obj | None) -> list[Cause]:
    spec = get(policy, "spec", default={})
    causes = selector_causes(spec.get("podSelector"), "spec.podSelector")
    causes += _types(spec.get("policyTypes") or ())
    for side, who in SIDES:
        for index, rule in enumerate(spec.get(side) or ()):
            path = f"spec.{side}[{index}]"
            for number, port in enumerate(rule.get("ports") or ()):
                causes += _port(port, f"{path}.ports[{number}]")
            for number, peer in enumerate(rule.get(who) or ()):
                causes += _peer(peer, f"{path}.{who}[{number}]")
    return causes


def _types(types: Sequence[str]) -> Iterator[Cause]:
    if len(types) > 2:
        yield Cause("spec.policyTypes", "may not specify more than two policyTypes")
        return
    for index, word in enumerate(types):
        if word not in (INGRESS, EGRESS):
            message = f'must be one of {INGRESS}, {EGRESS}, not "{word}"'
            yield Cause(f"spec.policyTypes[{index}]", message, "FieldValueNotSupported")


def _port(port: Obj, path: str) -> Iterator[Cause]:
    number, last = port.get("port"), port.get("endPort")
    if isinstance(number, str):
        if problem := names.port_name(number):
            yield Cause(f"{path}.port", f'"{number}" {problem}')
    elif number is not None and not 1 <= number <= 65535:
        yield Cause(f"{path}.port", f"must be between 1 and 65535, not {number}")
    if last is None:
        return
    if number is None:
        yield Cause(f"{path}.endPort", "may not be specified when `port` is not specified")
    elif isinstance(number, str):
        yield Cause(f"{path}.endPort", "may not be specified when `port` is non-numeric")
    elif not 1 <= last <= 65535:
        yield Cause(f"{path}.endPort", f"must be between 1 and 65535, not {last}")
    elif last < number:
        yield Cause(f"{path}.endPort", f"must be greater than or equal to `port`: {last} is less than {number}")


def _peer(peer: Obj, path: str) -> Iterator[Cause]:
    given = [key for key in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(key) is not None]
    if not given:
        yield Cause(path, "must specify a peer: podSelector, namespaceSelector or ipBlock", REQUIRED)
    elif "ipBlock" in given and len(given) > 1:
        yield Cause(path, "may not specify both ipBlock and another peer", FORBIDDEN)
    for key in ("podSelector", "namespaceSelector"):
        yield from selector_causes(peer.get(key), f"{path}.{key}")
    if "ipBlock" in given:
        yield from _ip_block(peer["ipBlock"], f"{path}.ipBlock")


def _ip_block(block: Obj, path: str) -> Iterator[Cause]:
    whole = cidr(block["cidr"])
    if whole is None:
        yield Cause(f"{path}.cidr", f'"{block["cidr"]}" {_NO_CIDR}')
    for index, text in enumerate(block.get("except") or ()):
        part = cidr(text)
        if part is None:
            yield Cause(f"{path}.except[{index}]", f'"{text}" {_NO_CIDR}')
        elif whole is not None and not _inside(part, whole):
            yield Cause(f"{path}.except[{index}]", f"must be a strict subset of `cidr`: {part} is not in {whole}")


_NO_CIDR = "must be a valid CIDR value, such as 10.9.8.0/24 or 2001:db8::/64"


def cidr(text: object) -> IPv4Network | IPv6Network | None:
    """The network of a CIDR text, with host bits ignored; None for an invalid text."""
    if not isinstance(text, str) or "%" in text:
        return None
    _, slash, prefix = text.partition("/")
    if not slash or not prefix.isascii() or not prefix.isdigit() or prefix != str(int(prefix)):
        return None
    try:
        return IPv6Network(text, strict=False) if ":" in text else IPv4Network(text, strict=False)
    except ValueError:
        return None


def _inside(part: IPv4Network | IPv6Network, whole: IPv4Network | IPv6Network) -> bool:
    """Whether `except` is a strict subset of the block."""
    if isinstance(part, IPv4Network) and isinstance(whole, IPv4Network):
        return part != whole and part.subnet_of(whole)
    if isinstance(part, IPv6Network) and isinstance(whole, IPv6Network):
        return part != whole and part.subnet_of(whole)
    return False


def warn_network_policy(policy: Obj) -> list[str]:
    """Warnings for IPv6 blocks: valid in Kubernetes, but pods here have no IPv6 addresses to match."""
    found = []
    for side, who in SIDES:
        for index, rule in enumerate(get(policy, "spec", side, default=())):
            for number, peer in enumerate(rule.get(who) or ()):
                text = get(peer, "ipBlock", "cidr", default="")
                if isinstance(cidr(text), IPv6Network):
                    path = f"spec.{side}[{index}].{who}[{number}].ipBlock.cidr"
                    found.append(f"{path}: pods have IPv4 addresses only; {text} matches nobody")
    return found
