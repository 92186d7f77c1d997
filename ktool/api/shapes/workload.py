"""Pod template rules shared by workload kinds (Deployment, ReplicaSet): defaults and validation.
kinds/ calls it.
"""

from __future__ import annotations

from ktool.api.errors import Cause
from ktool.api.obj import Obj, annotations_of, get, labels
from ktool.api.rules import names
from ktool.api.rules.placementrules import selector_causes
from ktool.api.rules.podrules import pod_annotation_causes
from ktool.api.selector import from_label_selector
from ktool.api.shapes.podspec import default_pod_spec, validate_pod_spec


def default_template(obj: Obj) -> Obj:
    """The object with the defaults of core/v1 PodSpec filled in at spec.template.spec."""
    spec = get(obj, "spec", "template", "spec")
    if not isinstance(spec, dict):
        return obj
    template = {**obj["spec"]["template"], "spec": default_pod_spec(spec)}
    return {**obj, "spec": {**obj["spec"], "template": template}}


def template_causes(obj: Obj, old: Obj | None) -> list[Cause]:
    """Validate by the rules of apps/v1: the selector matches the template's labels and is immutable; restartPolicy is
    Always."""
    return selector_and_template_causes(obj, old, ("Always",))


def selector_and_template_causes(obj: Obj, old: Obj | None, policies: tuple[str, ...]) -> list[Cause]:
    """The same for any workload: `policies` are the restart policies that its pods may have."""
    spec = get(obj, "spec", default={})
    template = spec.get("template") or {}
    causes = names.label_causes(labels(template), "spec.template.metadata.labels")
    causes += names.annotation_causes(annotations_of(template), "spec.template.metadata.annotations")
    causes += pod_annotation_causes(annotations_of(template), "spec.template.metadata.annotations")
    causes += _selector_causes(spec.get("selector") or {}, labels(template))
    if old is not None and get(old, "spec", "selector") != spec.get("selector"):
        causes.append(Cause("spec.selector", "field is immutable; delete the object and create it anew"))
    pod = get(template, "spec", default={})
    if (policy := pod.get("restartPolicy", "Always")) not in policies:
        allowed = " or ".join(f'"{one}"' for one in policies)
        causes.append(Cause("spec.template.spec.restartPolicy", f'must be {allowed}, not "{policy}"'))
    return causes + validate_pod_spec(pod, "spec.template.spec")


def _selector_causes(selector: Obj, wanted: dict[str, str]) -> list[Cause]:
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        return [Cause("spec.selector", "must not be empty: it says which pods are this object's")]
    if causes := selector_causes(selector, "spec.selector"):
        return causes
    if not from_label_selector(selector).matches(wanted):
        return [Cause("spec.template.metadata.labels", "`selector` does not match template `labels`")]
    return []
