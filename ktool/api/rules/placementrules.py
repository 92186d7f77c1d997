"""Validation of pod placement (node selector, affinity, tolerations, spread) and of label selectors, beyond their
schema.

rules/podrules, shapes/workload and shapes/networkpolicy call it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ktool.api.errors import Cause
from ktool.api.rules import names

DUPLICATE, FORBIDDEN, REQUIRED = "FieldValueDuplicate", "FieldValueForbidden", "FieldValueRequired"
REQUIRED_DURING = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED_DURING = "preferredDuringSchedulingIgnoredDuringExecution"


def placement_causes(spec: Mapping[str, Any], path: str) -> list[Cause]:
    """Validate nodeSelector, tolerations, topologySpreadConstraints and affinity."""
    causes: list[Cause] = []
    if selector := spec.get("nodeSelector"):
        causes += names.label_causes(selector, f"{path}.nodeSelector")
    for index, toleration in enumerate(spec.get("tolerations") or ()):
        causes += _toleration(toleration, f"{path}.tolerations[{index}]")
    if constraints := spec.get("topologySpreadConstraints"):
        causes += _spread(constraints, f"{path}.topologySpreadConstraints")
    if affinity := spec.get("affinity"):
        causes += _affinity(affinity, f"{path}.affinity")
    return causes


def selector_causes(selector: Mapping[str, Any] | None, path: str) -> list[Cause]:
    """Validate a meta/v1 LabelSelector."""
    if not selector:
        return []
    causes = names.label_causes(selector.get("matchLabels") or {}, f"{path}.matchLabels")
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        causes += _requirement(expression, f"{path}.matchExpressions[{index}]")
    return causes


def _requirement(requirement: Mapping[str, Any], path: str) -> Iterator[Cause]:
    operator, values = requirement["operator"], requirement.get("values") or []
    if problem := names.label_key(requirement["key"]):
        yield Cause(f"{path}.key", f'"{requirement["key"]}" {problem}')
    if operator in ("In", "NotIn") and not values:
        yield Cause(f"{path}.values", f"is required with operator {operator}", REQUIRED)
    elif operator in ("Exists", "DoesNotExist") and values:
        yield Cause(f"{path}.values", f"may not be set with operator {operator}", FORBIDDEN)
    elif operator in ("Gt", "Lt") and (len(values) != 1 or not re.fullmatch(r"-?\d+", values[0])):
        yield Cause(f"{path}.values", f"must be one whole number in quotes with operator {operator}")
    for index, value in enumerate(values):
        if operator in ("In", "NotIn") and (problem := names.label_value(value)):
            yield Cause(f"{path}.values[{index}]", f'"{value}" {problem}')


def _toleration(toleration: Mapping[str, Any], path: str) -> Iterator[Cause]:
    key, operator = toleration.get("key", ""), toleration.get("operator") or "Equal"
    if key and (problem := names.label_key(key)):
        yield Cause(f"{path}.key", f'"{key}" {problem}')
    if not key and operator != "Exists":
        yield Cause(f"{path}.operator", "must be Exists where there is no key")
    if operator == "Exists" and toleration.get("value"):
        yield Cause(f"{path}.value", "must be empty with operator Exists")
    if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
        yield Cause(f"{path}.effect", "must be NoExecute where tolerationSeconds is set")


def _spread(constraints: Sequence[Mapping[str, Any]], path: str) -> Iterator[Cause]:
    seen = set()
    for index, constraint in enumerate(constraints):
        here = f"{path}[{index}]"
        pair = (constraint["topologyKey"], constraint["whenUnsatisfiable"])
        if pair in seen:
            yield Cause(here, f"there are two constraints for {pair[0]} with {pair[1]}", DUPLICATE)
        seen.add(pair)
        if problem := names.label_key(pair[0]):
            yield Cause(f"{here}.topologyKey", f'"{pair[0]}" {problem}')
        if constraint.get("minDomains") is not None and pair[1] != "DoNotSchedule":
            yield Cause(f"{here}.minDomains", "may be set with whenUnsatisfiable: DoNotSchedule only")
        yield from selector_causes(constraint.get("labelSelector"), f"{here}.labelSelector")


def _affinity(affinity: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if node := affinity.get("nodeAffinity"):
        here = f"{path}.nodeAffinity"
        if (required := node.get(REQUIRED_DURING)) is not None:
            terms = required["nodeSelectorTerms"]
            if not terms:
                message = "must have at least one term"
                yield Cause(f"{here}.{REQUIRED_DURING}.nodeSelectorTerms", message, REQUIRED)
            for index, term in enumerate(terms):
                yield from _node_term(term, f"{here}.{REQUIRED_DURING}.nodeSelectorTerms[{index}]")
        for index, wish in enumerate(node.get(PREFERRED_DURING) or ()):
            yield from _node_term(wish["preference"], f"{here}.{PREFERRED_DURING}[{index}].preference")
    for member in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(member) or {}
        for index, term in enumerate(rules.get(REQUIRED_DURING) or ()):
            yield from _pod_term(term, f"{path}.{member}.{REQUIRED_DURING}[{index}]")
        for index, wish in enumerate(rules.get(PREFERRED_DURING) or ()):
            yield from _pod_term(
                wish["podAffinityTerm"], f"{path}.{member}.{PREFERRED_DURING}[{index}].podAffinityTerm"
            )


def _node_term(term: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for index, requirement in enumerate(term.get("matchExpressions") or ()):
        yield from _requirement(requirement, f"{path}.matchExpressions[{index}]")
    for index, requirement in enumerate(term.get("matchFields") or ()):
        here = f"{path}.matchFields[{index}]"
        if requirement["key"] != "metadata.name":
            yield Cause(f"{here}.key", f'must be metadata.name, not "{requirement["key"]}"')
        if requirement["operator"] not in ("In", "NotIn") or len(requirement.get("values") or ()) != 1:
            yield Cause(here, "must compare one value with In or NotIn")


def _pod_term(term: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if problem := names.label_key(term["topologyKey"]):
        yield Cause(f"{path}.topologyKey", f'"{term["topologyKey"]}" {problem}')
    for member in ("labelSelector", "namespaceSelector"):
        yield from selector_causes(term.get(member), f"{path}.{member}")
    for index, namespace in enumerate(term.get("namespaces") or ()):
        if problem := names.dns_label(namespace):
            yield Cause(f"{path}.namespaces[{index}]", f'"{namespace}" {problem}')
