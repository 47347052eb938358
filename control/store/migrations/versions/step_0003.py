"""Where edges are that run elsewhere, and what has happened."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """From wanted states to who brings them about."""
    op.create_table(
        "edge_hosts",
        *(sa.Column(name, _TEXT, nullable=False) for name in ("path", "address", "token_hash")),
        sa.Column("token_until_ns", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("path"),
        sa.ForeignKeyConstraint(["path"], ["objects.path"], ondelete="CASCADE"),
    )
    op.create_index("edge_hosts_token", "edge_hosts", ["token_hash"])
    op.create_table(
        "events",
        sa.Column("org", _TEXT, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        *(sa.Column(name, _TEXT, nullable=False) for name in ("kind", "object", "details")),
        sa.PrimaryKeyConstraint("org", "number"),
    )
