"""What edges on other machines are known by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """From hosts that are reached to hosts that have certificates."""
    for name in ("token_address", "identity"):
        op.add_column("edge_hosts", sa.Column(name, _TEXT, nullable=False, server_default=""))
    op.add_column("edge_hosts", sa.Column("certificate_until_ns", sa.BigInteger, nullable=False, server_default="0"))
