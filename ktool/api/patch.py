"""Patches: JSON merge patch (RFC 7386), JSON patch (RFC 6902), Kubernetes' strategic merge patch, and the three-way
merge of `kubectl apply`.

The verbs of registry/ apply them, control/rehearsal and logic/workload/rollback too. No function changes its arguments:
parts that a patch leaves alone are shared with the target, and the target itself is returned where nothing changes.
Source for the strategic part: k8s.io/apimachinery/pkg/util/strategicpatch and kubernetes/community,
sig-api-machinery/strategic-merge-patch.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ktool.api.errors import ApiError, bad_request
from ktool.api.obj import Obj
from ktool.api.schema import Field

# --- JSON merge patch --------------------------------------------------------------------------------------------


def merge(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386): members of `patch` replace those of `target`, objects are merged, null
    removes."""
    if not isinstance(patch, dict):
        return patch
    result = before = target if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            if name in result:
                result = _without(result, name, before)
            continue
        old = before.get(name)
        new = merge(old, value)
        if name not in before or not same(new, old):
            result = _with(result, name, new, before)
    return result


def difference(before: Any, after: Any) -> Any:
    """The JSON merge patch (RFC 7386) from `before` to `after`, two objects without nulls."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return after
    patch: Obj = {name: None for name in before if name not in after}
    for name, value in after.items():
        if name not in before:
            patch[name] = value
        elif not same(before[name], value):
            patch[name] = difference(before[name], value)
    return patch


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal; unlike `==`, true is not 1."""
    if left is right:
        return True
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def _with(result: Obj, name: str, value: Any, original: Obj) -> Obj:
    """`result` with one member set; copied first where it is still the original."""
    result = dict(result) if result is original else result
    result[name] = value
    return result


def _without(result: Obj, name: str, original: Obj) -> Obj:
    result = dict(result) if result is original else result
    del result[name]
    return result


# --- JSON patch --------------------------------------------------------------------------------------------------


def json_patch(target: Any, operations: Any) -> Any:
    """Apply a JSON patch (RFC 6902): add, remove, replace, move, copy and test, in order. ApiError 400 for a malformed
    operation, 422 for a missing path or a failed test. `target` is never changed."""
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations")
    for index, operation in enumerate(operations):
        if not isinstance(operation, dict) or not isinstance(operation.get("op"), str):
            raise bad_request(f"operation {index} of the JSON patch has no op")
        target = _operate(target, operation, index)
    return target


def _operate(target: Any, operation: Obj, index: int) -> Any:
    name = operation["op"]
    path = _pointer(operation, "path", index)
    if name in ("add", "replace", "test"):
        if "value" not in operation:
            raise bad_request(f"operation {index} of the JSON patch ({name}) has no value")
        value = operation["value"]
        if name == "test":
            if not same(_look(target, path, index), value):
                raise _unprocessable(f"operation {index}: the value at {operation['path']} is not the one tested for")
            return target
        if name == "replace":
            _look(target, path, index)
        return _set(target, path, value, index, insert=name == "add")
    if name == "remove":
        return _remove(target, path, index)
    if name in ("move", "copy"):
        source = _pointer(operation, "from", index)
        value = _look(target, source, index)
        if name == "move":
            if path[: len(source)] == source and path != source:
                raise bad_request(f"operation {index} of the JSON patch moves a value into itself")
            target = _remove(target, source, index)
        return _set(target, path, value, index, insert=True)
    raise bad_request(
        f'operation {index} of the JSON patch: "{name}" is none of add, remove, replace, move, copy, test'
    )


def _pointer(operation: Obj, member: str, index: int) -> list[str]:
    """RFC 6901: `/spec/containers/0`, with ~1 for a slash and ~0 for a tilde."""
    text = operation.get(member)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise bad_request(f'operation {index} of the JSON patch: "{member}" must be a path that begins with /')
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:]]


def _look(target: Any, path: Sequence[str], index: int) -> Any:
    for step in path:
        if isinstance(target, dict) and step in target:
            target = target[step]
        elif isinstance(target, list):
            target = target[_position(target, step, index, len(target) - 1)]
        else:
            raise _missing(path, index)
    return target


def _position(items: list[Any], step: str, index: int, last: int) -> int:
    if step == "-" and last == len(items):
        return last
    if not step.isascii() or not step.isdigit() or (step != "0" and step[0] == "0") or int(step) > last:
        raise _unprocessable(f'operation {index}: the list has no element "{step}"')
    return int(step)


def _set(target: Any, path: Sequence[str], value: Any, index: int, insert: bool) -> Any:
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(target, dict):
        if rest and step not in target:
            raise _missing(path, index)
        return {**target, step: _set(target[step], rest, value, index, insert) if rest else value}
    if isinstance(target, list):
        position = _position(target, step, index, len(target) if insert and not rest else len(target) - 1)
        if rest:
            new = [_set(target[position], rest, value, index, insert)]
            return [*target[:position], *new, *target[position + 1 :]]
        return [*target[:position], value, *target[position if insert else position + 1 :]]
    raise _missing(path, index)


def _remove(target: Any, path: Sequence[str], index: int) -> Any:
    if not path:
        return None
    step, rest = path[0], path[1:]
    if isinstance(target, dict) and step in target:
        if rest:
            return {**target, step: _remove(target[step], rest, index)}
        return {name: value for name, value in target.items() if name != step}
    if isinstance(target, list):
        position = _position(target, step, index, len(target) - 1)
        kept = [_remove(target[position], rest, index)] if rest else []
        return [*target[:position], *kept, *target[position + 1 :]]
    raise _missing(path, index)


def _missing(path: Sequence[str], index: int) -> ApiError:
    return _unprocessable(f"operation {index}: there is nothing at /{'/'.join(path)}")


def _unprocessable(message: str) -> ApiError:
    return ApiError(422, "Invalid", f"the JSON patch cannot be applied: {message}")


# --- strategic merge patch ---------------------------------------------------------------------------------------

DIRECTIVE, RETAIN = "$patch", "$retainKeys"
DELETE_PRIMITIVES, ELEMENT_ORDER = "$deleteFromPrimitiveList/", "$setElementOrder/"


def strategic(target: Any, patch: Any, schema: Field | None) -> Any:
    """Apply a strategic merge patch: like `merge`, but lists with a merge key in `schema` are merged element by
    element. Understands $patch (delete, replace, merge), $retainKeys, $deleteFromPrimitiveList and $setElementOrder.
    ApiError 400 where an element lacks its merge key or a directive is unknown."""
    if not isinstance(patch, dict):
        return patch
    directive = patch.get(DIRECTIVE)
    if directive == "replace":
        return {name: value for name, value in patch.items() if name != DIRECTIVE}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f'"{directive}" is none of the $patch directives delete, replace and merge')
    before: Obj = target if isinstance(target, dict) else {}
    result = before
    retain = patch.get(RETAIN)
    if isinstance(retain, list):
        for name in [name for name in before if name not in retain]:
            result = _without(result, name, before)
    for name, value in patch.items():
        if name.startswith(DELETE_PRIMITIVES):
            result = _delete_primitives(result, name.removeprefix(DELETE_PRIMITIVES), value, before)
        elif name.startswith("$"):
            continue
        elif value is None:
            if name in result:
                result = _without(result, name, before)
        else:
            old = result.get(name)
            new = _strategic_member(old, value, child_of(schema, name))
            if name not in result or not same(new, old):
                result = _with(result, name, new, before)
    return _ordered(result, patch, schema, before)


def child_of(schema: Field | None, name: str) -> Field | None:
    """The field of a member: of an object by the member's name, of a map the one that all values share."""
    if schema is None:
        return None
    return schema.items if schema.type == "map" else schema.fields.get(name)


def _strategic_member(old: Any, value: Any, field: Field | None) -> Any:
    if isinstance(value, dict):
        return strategic(old, value, field)
    if not isinstance(value, list) or field is None:
        return value
    items: list[Any] = old if isinstance(old, list) else []
    if field.format == "set":
        return [*items, *(item for item in value if item not in items)]
    if field.merge_key:
        return _strategic_list(items, value, field)
    return value


def _strategic_list(items: list[Any], patch: list[Any], field: Field) -> list[Any]:
    if any(isinstance(entry, dict) and entry.get(DIRECTIVE) == "replace" for entry in patch):
        return [entry for entry in patch if not (isinstance(entry, dict) and entry.get(DIRECTIVE) == "replace")]
    keys = field.merge_key.split(",")
    result = list(items)
    for entry in patch:
        if not isinstance(entry, dict) or keys[0] not in entry:
            raise bad_request(f"an element of the list has no {keys[0]}, by which it would be merged")
        if entry.get(DIRECTIVE) == "delete":
            result = [item for item in result if not _matches(item, entry, keys)]
            continue
        wanted = key_of(entry, field)
        at = next((n for n, item in enumerate(result) if key_of(item, field) == wanted), None)
        if at is None:
            result.append(strategic({}, entry, field.items))
        else:
            result[at] = strategic(result[at], entry, field.items)
    return result


def _matches(item: Any, entry: Obj, keys: Sequence[str]) -> bool:
    return isinstance(item, dict) and all(item.get(key) == entry[key] for key in keys if key in entry)


def key_of(item: Any, field: Field) -> tuple[str, ...]:
    """The merge key's value in a list element; a missing member counts with its default."""
    if not isinstance(item, dict):
        return (str(item),)
    members = field.items.fields if field.items is not None else {}
    key = []
    for name in field.merge_key.split(","):
        value = item.get(name)
        if value is None and name in members:
            value = members[name].default
        key.append(str(value))
    return tuple(key)


def _delete_primitives(result: Obj, name: str, values: Any, before: Obj) -> Obj:
    items = result.get(name)
    if not isinstance(items, list) or not isinstance(values, list):
        return result
    kept = [item for item in items if item not in values]
    return result if len(kept) == len(items) else _with(result, name, kept, before)


def _ordered(result: Obj, patch: Obj, schema: Field | None, before: Obj) -> Obj:
    """Order lists by $setElementOrder; elements that it does not name stay behind the one they followed."""
    for directive, order in patch.items():
        if not directive.startswith(ELEMENT_ORDER) or not isinstance(order, list):
            continue
        name = directive.removeprefix(ELEMENT_ORDER)
        field, items = child_of(schema, name), result.get(name)
        if field is None or not isinstance(items, list):
            continue
        wanted = [key_of(entry, field) for entry in order]
        ordered = in_order(items, [key_of(item, field) for item in items], wanted)
        if not same(ordered, items):
            result = _with(result, name, ordered, before)
    return result


def in_order(items: Sequence[Any], keys: Sequence[Any], wanted: Sequence[Any]) -> list[Any]:
    """`items` (identified by `keys`), those of `wanted` in that order; each other item stays behind the one it
    followed."""
    rank = {key: position for position, key in enumerate(wanted)}
    groups: list[tuple[float, list[Any]]] = [(-1, [])]
    for item, key in zip(items, keys, strict=True):
        if key in rank:
            groups.append((rank[key], [item]))
        else:
            groups[-1][1].append(item)
    return [item for _, group in sorted(groups, key=lambda group: group[0]) for item in group]


# --- three-way merge ---------------------------------------------------------------------------------------------


def three_way(last_applied: Any, modified: Mapping[str, Any], live: Mapping[str, Any], schema: Field | None) -> Obj:
    """The three-way merge of `kubectl apply`: fields in `modified` are set on `live`, fields in `last_applied` but no
    longer in `modified` are removed, and fields that others set since stay. Lists with a merge key are merged element
    by element in the order of `modified`. Returns `live` itself where nothing changes."""
    return _three_way(last_applied if isinstance(last_applied, dict) else {}, dict(modified), dict(live), schema, live)


def _three_way(last: Obj, modified: Obj, live: Obj, schema: Field | None, original: Any) -> Obj:
    result = {}
    retained = schema is not None and schema.retain_keys
    for name, old in live.items():
        if modified.get(name) is None and (last.get(name) is not None or name in modified or retained):
            continue
        result[name] = old
    for name, value in modified.items():
        if value is None:
            continue
        old = live.get(name)
        new = _three_way_value(last.get(name), value, old, child_of(schema, name))
        result[name] = old if old is not None and same(new, old) else new
    unchanged = len(result) == len(original) and all(
        name in original and original[name] is value for name, value in result.items()
    )
    found: Obj = original if unchanged else result
    return found


def _three_way_value(last: Any, value: Any, live: Any, field: Field | None) -> Any:
    if isinstance(value, dict):
        old = live if isinstance(live, dict) else {}
        return _three_way(last if isinstance(last, dict) else {}, value, old, field, old)
    if not isinstance(value, list) or field is None or not isinstance(live, list):
        return value
    if field.format == "set":
        removed = [item for item in last if item not in value] if isinstance(last, list) else []
        kept = [item for item in live if item not in removed]
        return [*kept, *(item for item in value if item not in kept)]
    if field.merge_key:
        return _three_way_list(last if isinstance(last, list) else [], value, live, field)
    return value


def _three_way_list(last: list[Any], modified: list[Any], live: list[Any], field: Field) -> list[Any]:
    wanted = {key_of(item, field): item for item in modified}
    if len(wanted) != len(modified):
        return modified  # two elements with one key cannot be merged; validation names them
    before = {key_of(item, field): item for item in last}
    result, keys = [], []
    for item in live:
        key = key_of(item, field)
        if key in wanted:
            item = _three_way_value(before.get(key), wanted[key], item, field.items)
        elif key in before:
            continue
        result.append(item)
        keys.append(key)
    for key, item in wanted.items():
        if key not in keys:
            result.append(item)
            keys.append(key)
    return in_order(result, keys, list(wanted))
