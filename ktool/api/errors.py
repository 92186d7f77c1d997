"""Errors of the API and of the command line: ApiError in the shape of Kubernetes' metav1.Status, UserError for stderr.

Every layer raises ApiError; serve/ and client/ carry it over HTTP; cli/main turns UserError into text and an exit code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cause:
    """One invalid field, with the reason (metav1.StatusCause): `field` is a path like `spec.containers[0].image`."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class ApiError(Exception):
    """A refused request, with the HTTP code and reason Kubernetes gives for it (meta/v1 Status, StatusReason)."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        kind: str = "",
        name: str = "",
        causes: Sequence[Cause] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.kind, self.name, self.causes, self.retry_after = kind, name, tuple(causes), retry_after

    def to_status(self) -> dict[str, Any]:
        details: dict[str, Any] = {}
        if self.name:
            details["name"] = self.name
        if self.kind:
            details["kind"] = self.kind
        if self.causes:
            details["causes"] = [{"field": c.field, "message": c.message, "reason": c.reason} for c in self.causes]
        if self.retry_after is not None:
            details["retryAfterSeconds"] = self.retry_after
        return {
            "apiVersion": "v1",
            "kind": "Status",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": details,
            "code": self.code,
        }

    @classmethod
    def from_status(cls, status: dict[str, Any]) -> ApiError:
        details = status.get("details") or {}
        causes = [
            Cause(c.get("field", ""), c.get("message", ""), c.get("reason", "")) for c in details.get("causes") or ()
        ]
        return cls(
            int(status.get("code") or 500),
            str(status.get("reason") or "InternalError"),
            str(status.get("message") or "the server gave no reason"),
            kind=details.get("kind", ""),
            name=details.get("name", ""),
            causes=causes,
            retry_after=details.get("retryAfterSeconds"),
        )


def not_found(plural: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{plural} "{name}" not found', kind=plural, name=name)


def already_exists(plural: str, name: str) -> ApiError:
    return ApiError(409, "AlreadyExists", f'{plural} "{name}" already exists', kind=plural, name=name)


def conflict(plural: str, name: str, why: str = "") -> ApiError:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {plural} "{name}": {why}'
    return ApiError(409, "Conflict", message, kind=plural, name=name)


def invalid(kind: str, name: str, causes: Iterable[Cause]) -> ApiError:
    causes = tuple(causes)
    text = "; ".join(str(cause) for cause in causes)
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {text}', kind=kind, name=name, causes=causes)


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def forbidden(message: str) -> ApiError:
    return ApiError(403, "Forbidden", message)


def method_not_allowed(message: str) -> ApiError:
    return ApiError(405, "MethodNotAllowed", message)


def expired(message: str = "the history before this resourceVersion has been compacted; list again") -> ApiError:
    return ApiError(410, "Expired", message)


def unavailable(message: str, retry_after: int = 1) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message, retry_after=retry_after)


def is_not_found(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.reason == "NotFound"


def is_already_exists(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.reason == "AlreadyExists"


def is_conflict(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.reason == "Conflict"


# --- what ends a command ------------------------------------------------------------

DONE = 0
ERROR = 1
USAGE = 2
ROLLED_BACK = 3
PARTIAL = 4
LOCKED = 5
TIMEOUT = 6
INTERRUPTED = 130
TERMINATED = 143


class UserError(Exception):
    """A command cannot continue. `message` is one plain sentence, or several lines of them, for stderr."""

    def __init__(self, message: str, code: int = ERROR) -> None:
        super().__init__(message)
        self.message, self.exit_code = message, code


class UsageError(UserError):
    """A command line that cannot be parsed or makes no sense."""

    def __init__(self, message: str) -> None:
        super().__init__(message, USAGE)


class JsonPathError(ValueError):
    """A JSONPath template that cannot be parsed or evaluated. The message is one plain sentence."""
