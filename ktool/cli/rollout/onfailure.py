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
from ktool.logic.workload import revisions, rollback
from ktool.logic.workload.kinds import DEPLOYMENT, REPLICA_SET

if TYPE_CHECKING:
    from ktool.app import Session
    from ktool.registry.client import Client


def converge_or_return(session: Session, refs: Sequence[Ref], timeout: float) -> int:
    """Wait as `converge` does. Deployments that fail, or are not ready in time, return to the newest revision that was
    complete once. The exit code: ROLLED_BACK where that was all that went wrong."""
    began = time.time()
    waited = watch(session, refs, timeout, sys.stderr)
    if waited.exit_code not in (ERROR, TIMEOUT):
        return waited.exit_code
    wrong = dict.fromkeys([*waited.failed, *waited.pending])
    back = [ref for ref in wrong if ref.gk == DEPLOYMENT and _return(session.client, ref, began)]
    if not back:
        return waited.exit_code
    again = watch(session, back, timeout, sys.stderr).exit_code
    if again != DONE:
        return again
    return ROLLED_BACK if len(back) == len(wrong) else waited.exit_code


def _return(client: Client, ref: Ref, began: float) -> bool:
    """Give a Deployment the template of its last good revision; False where there is none. A revision that was
    complete before the command began is not left: what breaks later was no rollout."""
    deployment = client.get(ref)
    sets = [rs for rs in client.list(REPLICA_SET, ref.namespace).items if controlled_by(rs, deployment)]
    new = revisions.find_new(deployment, sets)
    done = rollback.completed(new) if new is not None else 0.0
    good = rollback.last_good(sets, new) if new is not None and not 0 < done < began - 1 else None
    if good is None or new is None:
        errors.say(f"error: {shown(ref)} cannot be rolled back: no other revision of it was ever complete")
        return False
    if done:
        client.patch(Ref.of(new), rollback.FORGET)
    client.patch(ref, rollback.patch(deployment, good))
    print(f"{shown(ref)} rolled back to revision {revisions.revision(good)}", flush=True)
    return True
