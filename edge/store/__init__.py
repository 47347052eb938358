"""Where the revisions of a served edge are kept: what was acknowledged is on the disk.

A store knows nothing of what a document means: it has a text, who asked for it, and whether it is confirmed.  Writing
goes through one thread, which puts all that waits into one transaction and answers after the disk has (SQLite in WAL
mode, ``synchronous=FULL``: one ``fdatasync`` for each transaction).  :class:`MemoryStore` is the same without a disk.
"""

from __future__ import annotations

from edge.store.database import RevisionStore
from edge.store.memory import MemoryStore
from edge.store.revision import RevisionInfo, Store, StoredRevision, is_longer, packed, unpacked

__all__ = ["MemoryStore", "RevisionInfo", "RevisionStore", "Store", "StoredRevision", "is_longer", "packed", "unpacked"]
