"""Whatever is written, the objects are what a dict would hold, and replaying the history gives the same."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktool.store.store import Store

KEYS = [f"core/Thing/default/{name}" for name in "abc"]

operation = st.tuples(st.sampled_from(["put", "put", "remove"]), st.sampled_from(KEYS), st.integers(0, 3))
transaction = st.tuples(
    st.lists(operation, min_size=1, max_size=6), st.sampled_from(["commit", "commit", "fail", "drop"])
)


class _Failed(Exception):
    pass


def apply(store: Store, model: dict[str, int], operations, ending: str) -> dict[str, int]:
    """Run one transaction on both, and give the model as it is afterwards."""
    new = dict(model)
    try:
        with store.transaction() as tx:
            for verb, key, size in operations:
                if verb == "put":
                    tx.put(key, {"metadata": {"name": key[-1]}, "size": size})
                    new[key] = size
                else:
                    assert (tx.remove(key) is None) == (key not in new)
                    new.pop(key, None)
                assert {o["metadata"]["name"]: o["size"] for o in tx.list("core/Thing/")} == {
                    k[-1]: v for k, v in new.items()
                }
            if ending == "drop":
                tx.discard()
            if ending == "fail":
                raise _Failed
    except _Failed:
        pass
    return new if ending == "commit" else model


def replayed(state: dict[str, int], changes) -> dict[str, int]:
    state = dict(state)
    for change in changes:
        if change.type == "DELETED":
            assert change.before["size"] == state.pop(change.key)
        else:
            assert (change.type == "MODIFIED") == (change.key in state)
            assert (change.before and change.before["size"]) == state.get(change.key)
            state[change.key] = change.obj["size"]
        assert change.obj["metadata"]["resourceVersion"] == str(change.rv)
    return state


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(transaction, max_size=12), st.integers(3, 40))
def test_objects_and_history_agree_with_a_dict(tmp_path_factory, transactions, keep):
    path = tmp_path_factory.mktemp("db") / "ktool.db"
    store = Store(path, keep=keep)
    live = store.watch("", 0)
    model: dict[str, int] = {}
    states = {0: model}
    for operations, ending in transactions:
        model = apply(store, model, operations, ending)
        states[store.head()] = model
        found = {f"core/Thing/default/{o['metadata']['name']}": o["size"] for o in store.list("core/Thing/")[0]}
        assert found == model
    changes = live.poll()
    assert [change.rv for change in changes] == sorted({change.rv for change in changes})
    assert replayed({}, changes) == model
    fresh = Store(path)
    for since, state in states.items():
        if store.head() - since <= keep:
            assert replayed(state, fresh.watch("", since).poll()) == model
    store.close()
    fresh.close()
