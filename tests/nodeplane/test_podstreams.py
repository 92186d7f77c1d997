"""Logs and exec need a right of their own, and no node is reached without it."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.api.errors import ApiError
from ktool.api.ref import POD, Ref
from ktool.node.base import LogOptions
from ktool.nodeplane.podstreams import open_exec, open_logs
from ktool.registry.registry import Registry
from ktool.registry.request import Actor, Attributes
from ktool.store.store import Store
from tests.registry.builders import pod
from tests.registry.kinds_for_tests import small_kinds

P = Ref(POD, "default", "p")
JANE = Actor("jane")


class Backend:
    """Opens nothing, and says what it was asked for."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def logs(self, pod: Any, container: str, options: LogOptions) -> Any:
        self.opened.append(f"logs {container}")
        return iter(())

    def exec(self, pod: Any, container: str, argv: Any, *, stdin: bool, tty: bool) -> Any:
        self.opened.append(f"exec {container}")


@pytest.fixture
def registry(store: Store) -> Registry:
    """Jane may read pods, and whatever else `allowed` has."""
    Registry(store, small_kinds()).create(pod(nodeName="n1"))
    return Registry(store, small_kinds(), policies=[lambda asked, actor: asked in ALLOWED])


ALLOWED: set[Attributes] = {Attributes("get", POD, "default", "p")}


@pytest.mark.parametrize("stream", ["log", "exec"])
def test_a_stream_is_refused_before_its_node_is_reached(
    registry: Registry, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    jane, backend = registry.as_(JANE), Backend()

    def open_() -> None:
        if stream == "log":
            open_logs(jane, backend, P, "", LogOptions())
        else:
            open_exec(jane, backend, P, "", ["ls"], stdin=False, tty=False)

    assert jane.get(P)["metadata"]["name"] == "p"
    with pytest.raises(ApiError) as error:
        open_()
    assert error.value.code == 403 and f'"pods/{stream}"' in error.value.message
    assert backend.opened == []
    verb = "get" if stream == "log" else "create"
    monkeypatch.setattr(f"{__name__}.ALLOWED", {Attributes(verb, POD, "default", "p", stream)})
    open_()
    assert len(backend.opened) == 1
