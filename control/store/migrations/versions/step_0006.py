"""Hosts that still run what they should not run any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """From hosts that are forgotten to hosts that are cleared."""
    op.create_table(
        "former_hosts",
        *(sa.Column(name, _TEXT, nullable=False) for name in ("edge", "address", "identity")),
        sa.Column("since_ns", sa.BigInteger, nullable=False),
        *(sa.Column(name, _TEXT, nullable=False) for name in ("reason", "message")),
        sa.PrimaryKeyConstraint("edge", "address"),
    )
