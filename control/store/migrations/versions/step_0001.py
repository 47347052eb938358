"""Organizations, users, credentials, tokens, tasks, the audit trail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, _TEXT, nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False, autoincrement=False) for name in names]


def upgrade() -> None:
    """From nothing."""
    _objects()
    _access()
    _trail()


def _objects() -> None:
    op.create_table(
        "objects",
        *_texts("path", "uid", "kind", "org", "parent", "name"),
        *_numbers("version", "created_ns", "updated_ns"),
        sa.Column("body", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("path"),
        sa.UniqueConstraint("uid", name="objects_uid"),
        sa.UniqueConstraint("kind", "parent", "name", name="objects_name"),
    )
    op.create_index("objects_created", "objects", ["kind", "parent", "created_ns", "path"])
    op.create_index("objects_updated", "objects", ["kind", "parent", "updated_ns", "path"])
    op.create_table(
        "refs",
        *_texts("source", "target", "field"),
        sa.PrimaryKeyConstraint("source", "target", "field"),
        sa.ForeignKeyConstraint(["source"], ["objects.path"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["target"], ["objects.path"]),
    )
    op.create_index("refs_target", "refs", ["target"])


def _access() -> None:
    owner = ["user_uid"], ["objects.uid"]
    op.create_table(
        "credentials",
        *_texts("user_uid", "password_hash"),
        *_numbers("one_time_until_ns"),
        sa.Column("totp_sealed", sa.LargeBinary, nullable=True),
        sa.Column("totp_confirmed", sa.Boolean, nullable=False),
        *_numbers("totp_last_step"),
        sa.PrimaryKeyConstraint("user_uid"),
        sa.ForeignKeyConstraint(*owner, ondelete="CASCADE"),
    )
    op.create_table(
        "sessions",
        *_texts("token_hash", "user_uid", "kind"),
        *_numbers("created_ns", "expires_ns"),
        sa.PrimaryKeyConstraint("token_hash"),
        sa.ForeignKeyConstraint(*owner, ondelete="CASCADE"),
    )
    op.create_index("sessions_user", "sessions", ["user_uid"])
    op.create_index("sessions_end", "sessions", ["expires_ns"])
    op.create_table(
        "api_tokens",
        *_texts("path", "user_uid", "token_hash", "name"),
        *_numbers("created_ns", "expires_ns"),
        sa.PrimaryKeyConstraint("path"),
        sa.ForeignKeyConstraint(*owner, ondelete="CASCADE"),
        sa.UniqueConstraint("token_hash", name="api_tokens_hash"),
        sa.UniqueConstraint("user_uid", "name", name="api_tokens_name"),
    )
    op.create_table("attempts", *_texts("key"), *_numbers("failures", "last_ns"), sa.PrimaryKeyConstraint("key"))
    op.create_index("attempts_last", "attempts", ["last_ns"])


def _trail() -> None:
    op.create_table(
        "tasks",
        *_texts("path", "org", "operation", "status", "initiator", "object"),
        *_numbers("start_ns"),
        sa.Column("end_ns", sa.BigInteger, nullable=True),
        *_texts("error_reason", "error_message"),
        sa.PrimaryKeyConstraint("path"),
    )
    op.create_index("tasks_start", "tasks", ["org", "start_ns", "path"])
    op.create_table(
        "audit",
        *_texts("org"),
        *_numbers("number", "time_ns"),
        *_texts("actor", "method", "object", "outcome", "details", "request_id", "previous_hash", "hash"),
        sa.PrimaryKeyConstraint("org", "number"),
    )
    op.create_table(
        "requests",
        *_texts("actor_uid", "request_id", "digest"),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        *_numbers("created_ns"),
        sa.PrimaryKeyConstraint("actor_uid", "request_id"),
    )
    op.create_index("requests_created", "requests", ["created_ns"])
    op.create_table("facts", *_texts("name", "value"), sa.PrimaryKeyConstraint("name"))
