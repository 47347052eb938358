"""How often edges ran what nobody wanted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """From edges that are changed back to edges of which that is told."""
    for name in ("drifts", "drifted_ns"):
        op.add_column("edge_states", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
