"""The scheduler: which node each pending pod goes to. Filters, scores and messages are kube-scheduler's."""

from ktool.logic.schedule.model import Decision
from ktool.logic.schedule.place import GATED, place

__all__ = ["GATED", "Decision", "place"]
