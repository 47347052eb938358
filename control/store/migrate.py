"""The schema, brought to what this version wants."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from edge.errors import StoreError

_MIGRATION_LOCK = 0x7431_6564_6766  # of PostgreSQL's advisory locks: replicas may start at once


def migrate(engine: sa.Engine) -> None:
    """All or nothing.  Raises StoreError for a schema that is newer than this version."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    with engine.connect() as db:
        writing = db.execution_options(t1edge_writing=True)
        if engine.dialect.name == "postgresql":
            writing.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        found = MigrationContext.configure(writing).get_current_revision()
        if found == scripts.get_current_head():
            return
        if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
            raise StoreError(f"the database was made by a newer version of t1edge (schema {found})")
        config.attributes["connection"] = writing
        command.upgrade(config, "head")
        writing.commit()
