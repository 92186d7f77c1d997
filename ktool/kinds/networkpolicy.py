"""NetworkPolicy (networking.k8s.io/v1): which pods may talk to whom. logic/network/policy makes the nodes' rules
for it."""

from __future__ import annotations

from ktool.api.kind import Column, Kind, Looks, Names, Rules, Version
from ktool.api.obj import Obj, get, name
from ktool.api.selector import from_label_selector
from ktool.api.shapes.meta import resource
from ktool.api.shapes.networkpolicy import (
    NETWORK_POLICY_SPEC,
    default_network_policy,
    validate_network_policy,
    warn_network_policy,
)
from ktool.api.units.duration import age

SCHEMA = resource(spec=NETWORK_POLICY_SPEC)


def _selector(policy: Obj, now: float) -> str:
    return from_label_selector(get(policy, "spec", "podSelector", default={})).text or "<none>"


KIND = Kind(
    Names("networking.k8s.io", "NetworkPolicy", "networkpolicies", short=("netpol",)),
    (Version("v1", SCHEMA),),
    rules=Rules(default=default_network_policy, validate=validate_network_policy, warn=warn_network_policy),
    looks=Looks(
        columns=(
            Column("NAME", lambda obj, now: name(obj)),
            Column("POD-SELECTOR", _selector),
            Column("AGE", age),
        )
    ),
    apply_order=20,
)
