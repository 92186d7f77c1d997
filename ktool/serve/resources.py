"""The verbs of the REST API that answer with one document: each a function of registry, route and request.

Verbs and codes follow the Kubernetes API concepts page and the API conventions (verbs on resources, response codes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ktool.api.errors import ApiError, bad_request, method_not_allowed
from ktool.api.marks import DOMAIN
from ktool.api.obj import Obj, get
from ktool.api.ref import Ref
from ktool.registry import apply as applying
from ktool.registry.registry import Registry
from ktool.serve import routes
from ktool.serve.routes import Query, Route


@dataclass(frozen=True)
class Request:
    """One request, read whole."""

    method: str
    path: str
    query: Query
    content_type: str
    body: bytes


Answer = tuple[int, Any]
"""The HTTP code and the document."""


def answer(registry: Registry, route: Route, request: Request) -> Answer:
    """Do what a request for a collection, an object or a subresource asks. Raises ApiError."""
    if route.subresource:
        verb = _SUBRESOURCES.get((request.method, route.subresource))
    else:
        verb = _VERBS.get((request.method, bool(route.name)))
    if verb is None:
        raise method_not_allowed(f"{request.method} is not understood for {request.path}")
    return verb(registry, route, request)


def apply(registry: Registry, request: Request) -> Answer:
    """The one extension to Kubernetes' API: `{objects, dryRun, strict}` applied in one transaction, all or nothing."""
    body = routes.object_body(request.body)
    objects = body.get("objects")
    if not isinstance(objects, list) or not all(isinstance(obj, dict) for obj in objects):
        raise bad_request("objects is a list of objects")
    for name in ("dryRun", "strict"):
        if not isinstance(body.get(name, False), bool):
            raise bad_request(f"{name} is true or false")
    done = applying.apply(registry, objects, dry_run=body.get("dryRun", False), strict=body.get("strict", False))
    results = [
        {"ref": ref.key, "outcome": outcome, "object": obj, "warnings": list(warnings)}
        for ref, outcome, obj, warnings in done
    ]
    return 200, {"apiVersion": f"{DOMAIN}/v1", "kind": "ApplyResult", "results": results}


def as_list(route: Route, items: list[Obj], resource_version: str) -> Obj:
    return {
        "apiVersion": route.api_version,
        "kind": f"{route.kind.name}List",
        "metadata": {"resourceVersion": resource_version},
        "items": [route.shown(item) for item in items],
    }


def _list(registry: Registry, route: Route, request: Request) -> Answer:
    options = routes.list_options(request.query)
    items, version = registry.list(route.kind.gk, route.namespace, labels=options.labels, fields=options.fields)
    return 200, as_list(route, items, version)


def _create(registry: Registry, route: Route, request: Request) -> Answer:
    if route.kind.namespaced and route.namespace is None:
        raise method_not_allowed(f"{route.kind.plural} are created in a namespace: POST to {route.kind.path('NAME')}")
    obj = routes.addressed(routes.object_body(request.body), route)
    return 201, route.shown(registry.create(obj, dry_run=routes.dry_run(request.query)))


def _delete_collection(registry: Registry, route: Route, request: Request) -> Answer:
    options = routes.list_options(request.query)
    how = _delete_options(request)
    if how.uid:
        raise bad_request("a collection has no uid to ask for")
    items, version = registry.list(route.kind.gk, route.namespace, labels=options.labels, fields=options.fields)
    gone = []
    for obj in items:
        try:
            gone.append(registry.delete(Ref.of(obj), grace=how.grace, propagation=how.propagation, dry_run=how.dry_run))
        except ApiError as error:
            if error.code != 404:  # gone in the meantime is what was asked for
                raise
    return 200, as_list(route, gone, version)


def _get(registry: Registry, route: Route, request: Request) -> Answer:
    return 200, _shown(route, registry.get(route.ref, route.subresource))


def _update(registry: Registry, route: Route, request: Request) -> Answer:
    obj = routes.addressed(routes.object_body(request.body), route)
    dry_run = routes.dry_run(request.query)
    done = registry.update(obj, subresource=route.subresource, dry_run=dry_run, ref=route.ref)
    return 200, _shown(route, done)


def _patch(registry: Registry, route: Route, request: Request) -> Answer:
    kind = routes.patch_type(request.content_type)
    patch = routes.json_body(request.body)
    dry_run = routes.dry_run(request.query)
    done = registry.patch(
        route.ref, patch, type=kind, subresource=route.subresource, dry_run=dry_run, version=route.version
    )
    return 200, _shown(route, done)


def _delete(registry: Registry, route: Route, request: Request) -> Answer:
    how = _delete_options(request)
    gone = registry.delete(route.ref, grace=how.grace, propagation=how.propagation, uid=how.uid, dry_run=how.dry_run)
    return 200, route.shown(gone)


def _shown(route: Route, obj: Obj) -> Obj:
    """A Scale has one version."""
    return obj if route.subresource == "scale" else route.shown(obj)


def _bind(registry: Registry, route: Route, request: Request) -> Answer:
    """core/v1 Binding: put a Pod on the node that `target` names."""
    body = routes.object_body(request.body)
    node = get(body, "target", "name")
    if not node or not isinstance(node, str) or get(body, "target", "kind", default="Node") != "Node":
        raise bad_request("the target of a Binding is a Node with a name")
    registry.bind(route.ref, node, str(get(body, "metadata", "uid", default="")))
    return 201, {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success", "code": 201}


def _delete_options(request: Request) -> routes.DeleteOptions:
    body = routes.object_body(request.body) if request.body.strip() else None
    return routes.delete_options(request.query, body)


_VERBS: dict[tuple[str, bool], Callable[[Registry, Route, Request], Answer]] = {
    ("GET", False): _list,
    ("POST", False): _create,
    ("DELETE", False): _delete_collection,
    ("GET", True): _get,
    ("PUT", True): _update,
    ("PATCH", True): _patch,
    ("DELETE", True): _delete,
}
"""By method and whether the path names an object."""

_SUBRESOURCES: dict[tuple[str, str], Callable[[Registry, Route, Request], Answer]] = {
    ("GET", "status"): _get,
    ("PUT", "status"): _update,
    ("PATCH", "status"): _patch,
    ("GET", "scale"): _get,
    ("PUT", "scale"): _update,
    ("PATCH", "scale"): _patch,
    ("POST", "binding"): _bind,
}
"""By method and subresource."""
