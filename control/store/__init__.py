"""Where the control plane keeps what it was told: SQLite in a directory, or PostgreSQL by URL.

Objects, tasks, audit records and whatever else a request changes are one transaction, a :class:`WriteUnit`; there is
one writer at a time, so that a unit sees nothing change below it.  What was acknowledged is on the disk.
"""

from __future__ import annotations

from control.store.database import Store
from control.store.reader import Reader
from control.store.records import AuditRecord, EventRecord, Record, TaskRecord, TokenRecord
from control.store.unit import Actor, WriteUnit

__all__ = ["Actor", "AuditRecord", "EventRecord", "Reader", "Record", "Store", "TaskRecord", "TokenRecord", "WriteUnit"]
