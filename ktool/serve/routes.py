"""Routes: URL path, query and body of a request, read into values. Pure; the shapes are those of the Kubernetes
API concepts page (resource URIs, list and watch options, dry-run) and of meta/v1 ListOptions and DeleteOptions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import parse_qs, unquote

from ktool.api.errors import ApiError, bad_request
from ktool.api.kind import Kind
from ktool.api.kinds import Kinds
from ktool.api.obj import Obj
from ktool.api.ref import Ref

PATCH_TYPES = {
    "application/merge-patch+json": "merge",
    "application/json-patch+json": "json",
    "application/strategic-merge-patch+json": "strategic",
}

Query = Mapping[str, list[str]]


@dataclass(frozen=True)
class Route:
    """A collection (`name` empty) or an object of a kind. `namespace` is None in a path that names none: the
    collection of all namespaces, or a kind of the cluster."""

    kind: Kind
    namespace: str | None = None
    name: str = ""
    subresource: str = ""
    version: str = ""
    """That of the URL; the stored one where nothing is said."""

    @property
    def api_version(self) -> str:
        return self.kind.in_version(self.version or self.kind.version)

    def shown(self, obj: Obj) -> Obj:
        """A stored object as this URL's version has it."""
        return self.kind.shown(obj, self.version or self.kind.version)

    @property
    def ref(self) -> Ref:
        return Ref(self.kind.gk, self.namespace or "", self.name)


@dataclass(frozen=True)
class ListOptions:
    """meta/v1 ListOptions. `timeout` in seconds, None for no end."""

    labels: str = ""
    fields: str = ""
    watch: bool = False
    since: str = ""
    timeout: float | None = None
    bookmarks: bool = False


@dataclass(frozen=True)
class DeleteOptions:
    """meta/v1 DeleteOptions. `grace` in seconds, None for the kind's own; `uid` is preconditions.uid."""

    grace: int | None = None
    propagation: str = "Background"
    uid: str = ""
    dry_run: bool = False


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def parse(path: str, kinds: Kinds) -> Route:
    """The route of a path (without its query). Raises ApiError 404 where no kind of `kinds` has such a URL."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if any(not part or "/" in part or "\0" in part for part in parts):
        raise no_such_path()
    if parts[0] == "api" and len(parts) > 2:
        root, rest = f"/api/{parts[1]}", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        root, rest = f"/apis/{parts[1]}/{parts[2]}", parts[3:]
    else:
        raise no_such_path()
    namespace = None
    if rest[0] == "namespaces" and len(rest) > 2 and not _belongs_to_namespace(rest, root, kinds):
        namespace, rest = rest[1], rest[2:]
    found = kinds.at(root, rest[0])
    if found is None or len(rest) > 3:
        raise no_such_path()
    kind, version = found
    name, subresource = [*rest[1:], "", ""][:2]
    if subresource and subresource not in kind.subresources:
        raise no_such_path()
    if kind.namespaced != (namespace is not None) and (namespace is not None or name):
        raise no_such_path()
    return Route(kind, namespace, name, subresource, version)


def _belongs_to_namespace(rest: list[str], root: str, kinds: Kinds) -> bool:
    """Whether `namespaces/NAME/word` is a subresource of the Namespace itself and not a collection inside it."""
    found = kinds.at(root, "namespaces")
    return found is not None and len(rest) == 3 and rest[2] in found[0].subresources


# --- the query ---------------------------------------------------------------------------------------------------


def query(text: str) -> Query:
    """The parameters of a query string; of a repeated one, all values in order (`command` of exec)."""
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=1000, errors="strict")
    except ValueError:
        raise bad_request("the query of the URL is not readable")


def word(query: Query, name: str) -> str:
    return query[name][0] if name in query else ""


def flag(query: Query, name: str) -> bool:
    """True for `true`, `1` or the bare name; false where it is absent, `false` or `0`."""
    if name not in query:
        return False
    value = query[name][0].lower()
    if value in ("true", "1", "", "t"):
        return True
    if value in ("false", "0", "f"):
        return False
    raise bad_request(f"{name} is true or false, not {value!r}")


def number(query: Query, name: str) -> int | None:
    """A whole number that is not negative, or None where it is absent."""
    text = word(query, name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise bad_request(f"{name} is a whole number, not {text!r}")
    return int(text)


def seconds(query: Query, name: str) -> float | None:
    """A span of time; parts of a second may be asked for, which Kubernetes' whole numbers do not allow."""
    text = word(query, name)
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text):
        raise bad_request(f"{name} is a number of seconds, not {text!r}")
    return float(text)


def dry_run(query: Query) -> bool:
    """Whether `dryRun=All` was given: the only value there is."""
    for value in query.get("dryRun", ()):
        if value not in ("All", ""):
            raise bad_request(f"dryRun is All or absent, not {value!r}")
    return word(query, "dryRun") == "All"


def list_options(query: Query) -> ListOptions:
    return ListOptions(
        labels=word(query, "labelSelector"),
        fields=word(query, "fieldSelector"),
        watch=flag(query, "watch"),
        since=word(query, "resourceVersion"),
        timeout=seconds(query, "timeoutSeconds"),
        bookmarks=flag(query, "allowWatchBookmarks"),
    )


def delete_options(query: Query, body: Obj | None) -> DeleteOptions:
    """From the body of a DELETE, or from the query where there is no body, as the API server does."""
    body = body or {}
    grace = body.get("gracePeriodSeconds", number(query, "gracePeriodSeconds"))
    if grace is not None and (not isinstance(grace, int) or isinstance(grace, bool) or grace < 0):
        raise bad_request(f"gracePeriodSeconds is a whole number of seconds, not {grace!r}")
    propagation = body.get("propagationPolicy") or word(query, "propagationPolicy") or "Background"
    if propagation not in ("Background", "Foreground", "Orphan"):
        raise bad_request(f"propagationPolicy is Background, Foreground or Orphan, not {propagation!r}")
    preconditions = body.get("preconditions") or {}
    if not isinstance(preconditions, dict) or preconditions.get("resourceVersion"):
        raise bad_request("of the preconditions of a DELETE, only uid is understood")
    asked = body.get("dryRun") or query.get("dryRun") or []
    if not isinstance(asked, list) or any(value not in ("All", "") for value in asked):
        raise bad_request(f'dryRun is ["All"] or absent, not {asked!r}')
    return DeleteOptions(grace, propagation, str(preconditions.get("uid") or ""), "All" in asked)


# --- the body ----------------------------------------------------------------------------------------------------


def json_body(body: bytes) -> Any:
    """The JSON value of a body. Raises ApiError 400 where it is none, and for the values that JSON has no word for
    (NaN, Infinity) and the strings that UTF-8 has no bytes for (lone surrogates), which Python would let through."""
    try:
        value = json.loads(body, parse_constant=_no_constant)
        if b"\\u" in body:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise bad_request(f"the body of the request is not JSON: {why}")
    return value


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON value")


def object_body(body: bytes) -> Obj:
    value = json_body(body)
    if not isinstance(value, dict):
        raise bad_request("the body of the request is not a JSON object")
    return value


def addressed(obj: Obj, route: Route) -> Obj:
    """The object of a body, with what the URL says and the body leaves out (kind, apiVersion, namespace, name) put
    in. Raises ApiError 400 where the two disagree."""
    metadata = obj.get("metadata") or {}
    kind, version = (
        ("Scale", "autoscaling/v1") if route.subresource == "scale" else (route.kind.name, route.api_version)
    )
    if not isinstance(metadata, dict):
        raise bad_request("metadata is not an object")
    for field, told, urls in (
        ("kind", obj.get("kind"), kind),
        ("apiVersion", obj.get("apiVersion"), version),
        ("namespace", metadata.get("namespace"), route.namespace),
        ("name", metadata.get("name"), route.name),
    ):
        if told and urls and told != urls:
            raise bad_request(
                f"the {field} of the object ({told}) does not match the {field} the URL was made for ({urls})"
            )
    metadata = dict(metadata)
    if route.namespace:
        metadata["namespace"] = route.namespace
    if route.name:
        metadata["name"] = route.name
    return {**obj, "apiVersion": version, "kind": kind, "metadata": metadata}


def patch_type(content_type: str) -> str:
    """Which patch a Content-Type announces: merge, json or strategic. Raises ApiError 415 for any other."""
    plain = content_type.partition(";")[0].strip().lower()
    if plain not in PATCH_TYPES:
        known = ", ".join(PATCH_TYPES)
        message = f"the body of the request was in an unknown format - accepted media types include: {known}"
        raise ApiError(415, "UnsupportedMediaType", message)
    return PATCH_TYPES[plain]


def manager(query: Query, user_agent: str) -> str:
    """The field manager that a request names, or the program that its User-Agent names, as in Kubernetes."""
    return word(query, "fieldManager") or user_agent.partition("/")[0].strip() or "unknown"
