"""The tables.  Times are nanoseconds since 1970; migrations lead here, and a test holds the two together."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

# Names are ordered by their bytes, in both databases.
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _text(name: str, *, primary_key: bool = False, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, TEXT, primary_key=primary_key, nullable=nullable)


def _number(name: str, *, primary_key: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=primary_key, nullable=False, autoincrement=False)


def _user() -> sa.Column[str]:
    """Whose it is: it goes with its user."""
    return sa.Column("user_uid", TEXT, sa.ForeignKey("objects.uid", ondelete="CASCADE"), nullable=False)


OBJECTS = sa.Table(
    "objects",
    METADATA,
    _text("path", primary_key=True),
    _text("uid"),
    _text("kind"),
    _text("org"),
    _text("parent"),
    _text("name"),
    _number("version"),
    _number("created_ns"),
    _number("updated_ns"),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False, server_default="0"),
    sa.UniqueConstraint("uid", name="objects_uid"),
    sa.UniqueConstraint("kind", "parent", "name", name="objects_name"),
    sa.Index("objects_created", "kind", "parent", "created_ns", "path"),
    sa.Index("objects_updated", "kind", "parent", "updated_ns", "path"),
    sa.Index("objects_position", "kind", "parent", "position", "path"),
)

# Which object needs which, and by which field; what lies in an object needs it by its "parent".
REFS = sa.Table(
    "refs",
    METADATA,
    sa.Column("source", TEXT, sa.ForeignKey("objects.path", ondelete="CASCADE"), primary_key=True),
    sa.Column("target", TEXT, sa.ForeignKey("objects.path"), primary_key=True),
    _text("field", primary_key=True),
    sa.Index("refs_target", "target"),
)

CREDENTIALS = sa.Table(
    "credentials",
    METADATA,
    sa.Column("user_uid", TEXT, sa.ForeignKey("objects.uid", ondelete="CASCADE"), primary_key=True),
    _text("password_hash"),
    _number("one_time_until_ns"),  # 0: not a one-time password
    sa.Column("totp_sealed", sa.LargeBinary, nullable=True),
    sa.Column("totp_confirmed", sa.Boolean, nullable=False),
    _number("totp_last_step"),
)

SESSIONS = sa.Table(
    "sessions",
    METADATA,
    _text("token_hash", primary_key=True),
    _user(),
    _text("kind"),  # session or enrolment
    _number("created_ns"),
    _number("expires_ns"),
    sa.Index("sessions_user", "user_uid"),
    sa.Index("sessions_end", "expires_ns"),
)

API_TOKENS = sa.Table(
    "api_tokens",
    METADATA,
    _text("path", primary_key=True),
    _user(),
    _text("token_hash"),
    _text("name"),
    _number("created_ns"),
    _number("expires_ns"),
    sa.UniqueConstraint("token_hash", name="api_tokens_hash"),
    sa.UniqueConstraint("user_uid", "name", name="api_tokens_name"),
)

ATTEMPTS = sa.Table(
    "attempts",
    METADATA,
    _text("key", primary_key=True),
    _number("failures"),
    _number("last_ns"),
    sa.Index("attempts_last", "last_ns"),
)

TASKS = sa.Table(
    "tasks",
    METADATA,
    _text("path", primary_key=True),
    _text("org"),
    _text("operation"),
    _text("status"),
    _text("initiator"),
    _text("object"),
    _number("start_ns"),
    sa.Column("end_ns", sa.BigInteger, nullable=True),
    _text("error_reason"),
    _text("error_message"),
    sa.Index("tasks_start", "org", "start_ns", "path"),
)

# One row an edge: how often what it should have was changed, and which of these states it has.
EDGE_STATES = sa.Table(
    "edge_states",
    METADATA,
    sa.Column("path", TEXT, sa.ForeignKey("objects.path", ondelete="CASCADE"), primary_key=True),
    _number("desired"),
    _number("desired_ns"),
    _number("realized"),
    _text("realized_etag"),
    _text("status"),  # PENDING, REALIZED or ERROR
    _text("reason"),
    _text("message"),
    _number("updated_ns"),
    _number("drifts"),  # how often it ran what nobody wanted
    _number("drifted_ns"),  # when that was seen last
)

# Which edge has which address of a provider's network: no two the same.
PUBLIC_ADDRESSES = sa.Table(
    "public_addresses",
    METADATA,
    sa.Column("network", TEXT, sa.ForeignKey("objects.path"), primary_key=True),
    _number("address", primary_key=True),
    sa.Column("edge", TEXT, sa.ForeignKey("objects.path", ondelete="CASCADE"), nullable=False),
    sa.Index("public_addresses_edge", "edge"),
)

# What a task waits for: that an edge has at least this of its states.
TASK_WAITS = sa.Table(
    "task_waits",
    METADATA,
    sa.Column("task", TEXT, sa.ForeignKey("tasks.path", ondelete="CASCADE"), primary_key=True),
    _text("edge", primary_key=True),
    _number("revision"),
    sa.Index("task_waits_edge", "edge"),
)

# Edges that run elsewhere; ``address`` '': not yet, a host has a token to enrol with, for ``token_address``.
EDGE_HOSTS = sa.Table(
    "edge_hosts",
    METADATA,
    sa.Column("path", TEXT, sa.ForeignKey("objects.path", ondelete="CASCADE"), primary_key=True),
    _text("address"),
    _text("token_hash"),  # '': none
    _number("token_until_ns"),
    _text("token_address"),
    _text("identity"),
    _number("certificate_until_ns"),
    sa.Index("edge_hosts_token", "token_hash"),
)

# Where edges ran that are elsewhere by now, or nowhere: what is there still forwards, and is to be cleared.
FORMER_HOSTS = sa.Table(
    "former_hosts",
    METADATA,
    _text("edge", primary_key=True),
    _text("address", primary_key=True),
    _text("identity"),
    _number("since_ns"),
    _text("reason"),  # why it could not be cleared yet, '': nobody has tried
    _text("message"),
)

EVENTS = sa.Table(
    "events",
    METADATA,
    _text("org", primary_key=True),
    _number("number", primary_key=True),
    _number("time_ns"),
    _text("kind"),
    _text("object"),
    _text("details"),
)

AUDIT = sa.Table(
    "audit",
    METADATA,
    _text("org", primary_key=True),
    _number("number", primary_key=True),
    _number("time_ns"),
    _text("actor"),
    _text("method"),
    _text("object"),
    _text("outcome"),
    _text("details"),
    _text("request_id"),
    _text("previous_hash"),
    _text("hash"),
)

REQUESTS = sa.Table(
    "requests",
    METADATA,
    _text("actor_uid", primary_key=True),
    _text("request_id", primary_key=True),
    _text("digest"),
    sa.Column("answer", sa.LargeBinary, nullable=False),
    _number("created_ns"),
    sa.Index("requests_created", "created_ns"),
)

# What a machine is besides what its owner says: wanted and actual power, its size, a first password that nobody took.
MACHINE_STATES = sa.Table(
    "machine_states",
    METADATA,
    sa.Column("path", TEXT, sa.ForeignKey("objects.path", ondelete="CASCADE"), primary_key=True),
    _text("uid"),
    _text("vdc"),
    _text("wanted"),
    _text("power"),
    _number("vcpu"),
    _number("memory_gb"),
    _number("storage_gb"),
    sa.Column("snapshot_ns", sa.BigInteger, nullable=True),
    sa.Column("password", sa.LargeBinary, nullable=True),
    _text("problem"),
    sa.UniqueConstraint("uid", name="machine_states_uid"),
    sa.Index("machine_states_vdc", "vdc"),
)

MACHINE_NICS = sa.Table(
    "machine_nics",
    METADATA,
    sa.Column("path", TEXT, sa.ForeignKey("objects.path", ondelete="CASCADE"), primary_key=True),
    _number("number", primary_key=True),
    _text("network"),
    _text("mac"),
    _text("address", nullable=True),
    sa.UniqueConstraint("mac", name="machine_nics_mac"),
    sa.UniqueConstraint("network", "address", name="machine_nics_address"),
)

# What is to be done with machines, in order; those that are deleted have jobs left.
MACHINE_JOBS = sa.Table(
    "machine_jobs",
    METADATA,
    _number("number", primary_key=True),
    _text("uid"),
    _text("path"),
    _text("action"),
    sa.Index("machine_jobs_uid", "uid", "number"),
)

FACTS = sa.Table("facts", METADATA, _text("name", primary_key=True), _text("value"))
