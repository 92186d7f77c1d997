"""Several processes on one database, and processes that die while they write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ktool.store.store import Store

COUNT = """
import sys
from ktool.store.store import Store
store = Store(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with store.transaction() as tx:
        now = tx.get("core/Thing/default/counter") or {"metadata": {"name": "counter"}, "n": 0}
        tx.put("core/Thing/default/counter", {**now, "n": now["n"] + 1})
print(store.cluster_id)
"""

PAIRS = """
import sys
from ktool.store.store import Store
store = Store(sys.argv[1], keep=200)
n = 0
while True:
    n += 1
    with store.transaction() as tx:
        for side in ("left", "right"):
            tx.put("core/Thing/default/" + side, {"metadata": {"name": side}, "n": n, "text": "x" * 5000})
        for i in range(20):
            tx.put(f"core/Thing/default/{n}-{i}", {"metadata": {"name": f"{n}-{i}"}})
            tx.remove(f"core/Thing/default/{n - 3}-{i}")
    print(n, flush=True)
"""


def run(script: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_processes_make_one_database_together_and_lose_no_update(path):
    """They also race to create the file, the tables and the cluster's id."""
    processes = [run(COUNT, path, 60) for _ in range(3)]
    ended = [(process.communicate(timeout=120), process.returncode) for process in processes]
    assert [code for _, code in ended] == [0, 0, 0], [texts[1] for texts, _ in ended]
    assert len({texts[0] for texts, _ in ended}) == 1
    store = Store(path)
    assert store.get("core/Thing/default/counter")["n"] == 180
    assert [change.rv for change in store.watch("", 0).poll()] == list(range(1, 181))
    store.close()


@pytest.mark.parametrize("after", [0.0, 0.013, 0.05, 0.11, 0.2])
def test_a_process_killed_while_it_writes_leaves_whole_transactions(path, after):
    process = run(PAIRS, path)
    try:
        for _ in range(4):
            said = process.stdout.readline()
            assert said, process.stderr.read()
        time.sleep(after)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        out, _ = process.communicate(timeout=30)
    told = int((out.split() or [said])[-1])
    store = Store(path)
    left, right = store.get("core/Thing/default/left"), store.get("core/Thing/default/right")
    assert left["n"] == right["n"] >= told
    items, head = store.list("")
    assert len(items) == 2 + 3 * 20
    assert head >= max(int(item["metadata"]["resourceVersion"]) for item in items)
    changes = store.watch("", max(0, head - 150)).poll()
    assert [change.rv for change in changes] == sorted(change.rv for change in changes)
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    with store.transaction() as tx:  # and the lock died with it
        tx.put("core/Thing/default/next", {"metadata": {"name": "next"}})
    store.close()


def test_a_watch_finds_what_another_process_commits(path):
    store = Store(path)
    subscription = store.watch("core/Thing/", 0).poll_others()
    process = run(COUNT, path, 5)
    seen = []
    deadline = time.monotonic() + 60
    while len(seen) < 5 and time.monotonic() < deadline:
        subscription.wait(5)
        seen += subscription.poll()
    assert process.wait(60) == 0
    process.communicate()
    assert [change.obj["n"] for change in seen] == [1, 2, 3, 4, 5]
    store.close()


def test_a_second_store_in_this_process_drops_no_lock_of_the_first(tmp_path: Path) -> None:
    """A process that closes a file loses its locks on it (fcntl(2)); another process would then take itself for the
    last user of the database and remove the log that the first store still writes to."""
    path = tmp_path / "ktool.db"
    first = Store(path)
    with first.transaction() as tx:
        tx.put("core/Thing/default/a", {"kind": "Thing", "metadata": {"name": "a", "namespace": "default"}})
    log = Path(f"{path}-wal")
    before = log.stat().st_ino
    Store(path).close()
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT count(*) FROM objects'); c.close()"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=30)
    assert log.exists() and log.stat().st_ino == before
    first.close()
