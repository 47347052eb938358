"""Machines: what they are besides what is said of them, their addresses, what is to be done with them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, _TEXT, nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False, autoincrement=False) for name in names]


def upgrade() -> None:
    """From networks to what is on them."""
    op.create_table(
        "machine_states",
        *_texts("path", "uid", "vdc", "wanted", "power"),
        *_numbers("vcpu", "memory_gb", "storage_gb"),
        sa.Column("snapshot_ns", sa.BigInteger, nullable=True),
        sa.Column("password", sa.LargeBinary, nullable=True),
        *_texts("problem"),
        sa.PrimaryKeyConstraint("path"),
        sa.ForeignKeyConstraint(["path"], ["objects.path"], ondelete="CASCADE"),
        sa.UniqueConstraint("uid", name="machine_states_uid"),
    )
    op.create_index("machine_states_vdc", "machine_states", ["vdc"])
    op.create_table(
        "machine_nics",
        *_texts("path"),
        *_numbers("number"),
        *_texts("network", "mac"),
        sa.Column("address", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("path", "number"),
        sa.ForeignKeyConstraint(["path"], ["objects.path"], ondelete="CASCADE"),
        sa.UniqueConstraint("mac", name="machine_nics_mac"),
        sa.UniqueConstraint("network", "address", name="machine_nics_address"),
    )
    op.create_table(
        "machine_jobs",
        *_numbers("number"),
        *_texts("uid", "path", "action"),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("machine_jobs_uid", "machine_jobs", ["uid", "number"])
