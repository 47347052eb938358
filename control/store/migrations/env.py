"""What Alembic runs: the steps, inside of the transaction of whoever opens the store."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
