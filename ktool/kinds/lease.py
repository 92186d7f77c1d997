"""Lease (coordination.k8s.io/v1): who may act, and until when. ktool's control planes hold one of their own."""

from __future__ import annotations

from ktool.api.kind import Column, Kind, Looks, Names, Version
from ktool.api.obj import get
from ktool.api.shapes.build import INT32_MAX, integer, obj, string, time
from ktool.api.shapes.meta import resource
from ktool.logic.printercolumns import AGE, NAME

SCHEMA = resource(
    spec=obj(
        "Who holds it.",
        {
            "holderIdentity": string("Who holds it; empty when it is free."),
            "leaseDurationSeconds": integer("Seconds after renewTime when it is free.", minimum=1, maximum=INT32_MAX),
            "acquireTime": time("When its holder took it."),
            "renewTime": time("When its holder last renewed it."),
            "leaseTransitions": integer("How often it went to another holder.", minimum=0),
            "strategy": string("How the next holder is chosen.", acted=False),
            "preferredHolder": string("Who should hold it next.", acted=False),
        },
    )
)

KIND = Kind(
    Names("coordination.k8s.io", "Lease", "leases"),
    (Version("v1", SCHEMA),),
    looks=Looks(
        columns=(
            NAME,
            Column("HOLDER", lambda obj, now: get(obj, "spec", "holderIdentity", default="")),
            AGE,
        ),
        events=False,
    ),
    apply_order=90,
)
