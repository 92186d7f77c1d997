"""`apply --rollback-on-failure`: what does not come up goes back to its last good revision."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ktool.api.errors import DONE, ERROR, ROLLED_BACK, TIMEOUT
from ktool.api.obj import controlled_by
from ktool.api.ref import Ref
from ktool.cli.plumbing import errors
from ktool.cli.plumbing.converge import watch
from ktool.follow.wait import shown

if TYPE_CHECKING:
    from ktool.app import Session
    from ktool.registry.client import Client


def converge_or_return(session: Session, refs: Sequence[Ref], timeout: float) -> int:
    """Wait as `converge` does. Workloads that fail, or are not ready in time, return to the newest revision that was
    complete once. The exit code: ROLLED_BACK where that was all that went wrong."""
    began = time.time()
    waited = watch(session, refs, timeout, sys.stderr)
    if waited.exit_code not in (ERROR, TIMEOUT):
        return waited.exit_code
    wrong = dict.fromkeys([*waited.failed, *waited.pending])
    back = [ref for ref in wrong if _returned(session.client, ref, began)]
    if not back:
        return waited.exit_code
    again = watch(session, back, timeout, sys.stderr).exit_code
    if again != DONE:
        return again
    return ROLLED_BACK if len(back) == len(wrong) else waited.exit_code


def _returned(client: Client, ref: Ref, began: float) -> bool:
    """Whether a workload was given the template of its last good revision; False where it keeps none. A revision that
    was complete before the command began is not left: what breaks later was no rollout."""
    workload = client.kinds[ref.gk].workload
    if workload is None or workload.history is None:
        return False
    obj = client.get(ref)
    records = [one for one in client.list(workload.history.records, ref.namespace).items if controlled_by(one, obj)]
    recovery = workload.history.recover(obj, records, began)
    if recovery is None:
        errors.say(f"error: {shown(ref)} cannot be rolled back: no other revision of it was ever complete")
        return False
    for target, patch in recovery.patches:
        client.patch(target, patch)
    print(f"{shown(ref)} rolled back to revision {recovery.number}", flush=True)
    return True
