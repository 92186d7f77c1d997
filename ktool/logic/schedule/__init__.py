"""The scheduler: chooses a node for each pending pod, with the filters, scores and messages of kube-scheduler.

control/scheduler calls `place`; control/rehearsal and logic/workload/stopfirst ask it too.
"""

from ktool.logic.schedule.model import Decision
from ktool.logic.schedule.place import GATED, place

__all__ = ["GATED", "Decision", "place"]
