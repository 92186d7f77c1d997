"""Workload algorithms: rollouts, revisions, rollback, adoption, scale-down and pod counts. The workload kinds plan with
them.
"""
