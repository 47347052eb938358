"""The order of objects, and what edges should have and have."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, _TEXT, nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False, autoincrement=False) for name in names]


def upgrade() -> None:
    """From organizations and users to what they own."""
    op.add_column("objects", sa.Column("position", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("objects_position", "objects", ["kind", "parent", "position", "path"])
    op.create_table(
        "edge_states",
        *_texts("path"),
        *_numbers("desired", "desired_ns", "realized"),
        *_texts("realized_etag", "status", "reason", "message"),
        *_numbers("updated_ns"),
        sa.PrimaryKeyConstraint("path"),
        sa.ForeignKeyConstraint(["path"], ["objects.path"], ondelete="CASCADE"),
    )
    op.create_table(
        "public_addresses",
        *_texts("network"),
        *_numbers("address"),
        *_texts("edge"),
        sa.PrimaryKeyConstraint("network", "address"),
        sa.ForeignKeyConstraint(["network"], ["objects.path"]),
        sa.ForeignKeyConstraint(["edge"], ["objects.path"], ondelete="CASCADE"),
    )
    op.create_index("public_addresses_edge", "public_addresses", ["edge"])
    op.create_table(
        "task_waits",
        *_texts("task", "edge"),
        *_numbers("revision"),
        sa.PrimaryKeyConstraint("task", "edge"),
        sa.ForeignKeyConstraint(["task"], ["tasks.path"], ondelete="CASCADE"),
    )
    op.create_index("task_waits_edge", "task_waits", ["edge"])
