"""DNS messages: encodes one query over TCP and decodes its answer (RFC 1035, sections 4.1 and 4.2.2).

node/network/netprobe sends them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

TYPES = {"A": 1, "TXT": 16}
_IN, _RECURSE, _HEADER = 1, 0x0100, struct.Struct("!HHHHHH")
_CODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


@dataclass(frozen=True)
class Answer:
    """A decoded answer. `code` is NOERROR or the word for the error; `addresses` those of A records; `size` that of the
    message."""

    code: str
    addresses: tuple[str, ...] = ()
    size: int = 0


def question(name: str, type_: str = "A") -> bytes:
    """The query for this name, with its length prefix. ValueError for an invalid name."""
    parts = [part.encode("ascii") for part in name.rstrip(".").split(".")]
    if not all(0 < len(part) < 64 for part in parts) or len(name) > 253:
        raise ValueError(f"{name!r} is no DNS name")
    labels = b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
    message = _HEADER.pack(1, _RECURSE, 1, 0, 0, 0) + labels + struct.pack("!HH", TYPES[type_], _IN)
    return struct.pack("!H", len(message)) + message


def answer(message: bytes) -> Answer:
    """Decode a message without its length prefix. ValueError for a malformed one."""
    try:
        _, flags, questions, records, _, _ = _HEADER.unpack_from(message)
        code = flags & 0xF
        if not flags & 0x8000:
            raise ValueError("it is no answer")
        at = _HEADER.size
        for _ in range(questions):
            at = _behind_name(message, at) + 4
        addresses = []
        for _ in range(records):
            at = _behind_name(message, at)
            type_, _, _, length = struct.unpack_from("!HHIH", message, at)
            at += 10
            if type_ == TYPES["A"] and length == 4:
                addresses.append(str(IPv4Address(message[at : at + 4])))
            at += length
        if at > len(message):
            raise ValueError("it is cut off")
    except (struct.error, IndexError):
        raise ValueError("it is cut off") from None
    return Answer(_CODES.get(code, f"code {code}") if code else "NOERROR", tuple(addresses), len(message))


def _behind_name(message: bytes, at: int) -> int:
    while message[at]:
        if message[at] & 0xC0:  # a pointer to where the rest stands
            return at + 2
        at += message[at] + 1
    return at + 1
