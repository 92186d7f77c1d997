"""Database tables: `objects` has the current revision of each object, `history` the text of every revision (replayed by
a watch).

A body is written once, and an update never moves the old text. All of store/ uses them.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text

# Keys are compared byte by byte, so that the keys of one prefix are one range: SQLite's own order, "C" in PostgreSQL.
_KEY = Text().with_variant(Text(collation="C"), "postgresql")
_REVISION = BigInteger().with_variant(Integer(), "sqlite")

TABLES = MetaData()

META = Table("meta", TABLES, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))
"""`format`, `cluster` (the cluster's id), `compacted` (the highest revision whose history is gone) and `key` (the id of
the secret key under which all confidential records are)."""

OBJECTS = Table("objects", TABLES, Column("key", _KEY, primary_key=True), Column("rv", _REVISION, nullable=False))

HISTORY = Table(
    "history",
    TABLES,
    Column("rv", _REVISION, primary_key=True, autoincrement=False),
    Column("key", _KEY, nullable=False),
    Column("type", Text, nullable=False),
    Column("prev", _REVISION, nullable=False),
    Column("body", Text, nullable=False),
)
"""`prev` is the revision that this one replaced, 0 for the first: compaction and selector transitions follow it."""
