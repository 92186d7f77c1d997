"""Table of verbs: where each lives, and its line in `ktool --help`. `main` and completion read it."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import typer


class Entry(NamedTuple):
    """Where a verb lives, and its line in `ktool --help`: known without importing its module."""

    module: str
    help: str
    section: str


SECTIONS = ("Apply and change", "Look", "Pods", "Cluster", "This program")

COMMANDS = {
    "apply": Entry("verbs.apply", "Make the cluster match manifests: files, folders or stdin.", SECTIONS[0]),
    "create": Entry("verbs.create", "Create objects from manifests; refuse those that exist.", SECTIONS[0]),
    "secret": Entry("secret.secret", "Create, list, show, change, copy, rotate and seal Secrets.", SECTIONS[0]),
    "delete": Entry("verbs.delete", "Delete objects by name, label or manifest.", SECTIONS[0]),
    "diff": Entry("verbs.diff", "Show what apply would change.", SECTIONS[0]),
    "scale": Entry("verbs.scale", "Set the number of replicas.", SECTIONS[0]),
    "rollout": Entry("rollout.rollout", "Follow, hold, restart and undo the rollout of a workload.", SECTIONS[0]),
    "set": Entry("verbs.set", "Change images, environment or resources of a workload.", SECTIONS[0]),
    "get": Entry("verbs.get", "Show one or many objects.", SECTIONS[1]),
    "describe": Entry("verbs.describe", "Show the details of objects with their events.", SECTIONS[1]),
    "events": Entry("verbs.events", "List events, oldest first.", SECTIONS[1]),
    "explain": Entry("verbs.explain", "Document the fields of a kind.", SECTIONS[1]),
    "api-resources": Entry("verbs.api_resources", "List the kinds of objects.", SECTIONS[1]),
    "logs": Entry("verbs.logs", "Print the logs of containers.", SECTIONS[2]),
    "exec": Entry("verbs.exec", "Run a command in a container.", SECTIONS[2]),
    "node": Entry("node.node", "Add, list, show and remove nodes.", SECTIONS[3]),
    "network": Entry("verbs.network", "Show, set and check how pods of different nodes reach each other.", SECTIONS[3]),
    "lab": Entry("verbs.lab", "A real cluster of several nodes on this machine, to try things.", SECTIONS[3]),
    "drift": Entry("verbs.drift", "Name what on the nodes is not as desired.", SECTIONS[3]),
    "serve": Entry("verbs.serve", "Run the control plane in the foreground.", SECTIONS[3]),
    "lock": Entry("verbs.lock", "Show or break the lock of the control plane.", SECTIONS[3]),
    "completion": Entry("verbs.completion", "Print the completion script of a shell.", SECTIONS[4]),
    "version": Entry("verbs.version", "Show the versions of program and server.", SECTIONS[4]),
}


def load(name: str) -> Any:
    """The command of a verb, with its module imported now."""
    module = importlib.import_module(f"ktool.cli.{COMMANDS[name].module}")
    command = typer.main.get_command(module.app)
    command.name = name
    return command
