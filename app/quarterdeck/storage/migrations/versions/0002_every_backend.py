"""Layers, policies, cool-downs, measurements and servers."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_GIVEN = ("backend", "served_name", "path", "url", "hf_path", "cache_location", "load_config")
_FOUND = (
    "size_bytes", "architecture", "parameter_count", "quantization", "context_length", "has_chat_template",
    "capabilities",
)  # fmt: skip


def upgrade() -> None:
    # Columns are added one by one: SQLite changes nothing else without rebuilding the table, and dropping the old table
    # would delete the attempts that refer to it.
    for name in ("format", "source", "family", "residents_group", "expected_hash"):
        op.add_column("model", sa.Column(name, sa.String(), nullable=True))
    op.add_column("model", sa.Column("idle_timeout", sa.Float(), nullable=True))
    op.add_column("model", sa.Column("last_verified", sa.DateTime(timezone=True), nullable=True))
    op.add_column("model", sa.Column("verified_files", sa.JSON(), nullable=True))
    for name, empty in (("curated", "{}"), ("discovered", "{}"), ("aliases", "[]"), ("roles", "[]")):
        op.add_column("model", sa.Column(name, sa.JSON(), nullable=False, server_default=empty))
    for name, value in (
        ("pinned", sa.false()),
        ("installed", sa.true()),
        ("deprecated", sa.false()),
        ("locked", sa.false()),
    ):
        op.add_column("model", sa.Column(name, sa.Boolean(), nullable=False, server_default=value))
    _fill_layers()
    _new_tables()


def _fill_layers() -> None:
    """Until now every model was added by a person; what its file told is the discovered layer."""
    columns = [
        sa.column("name", sa.String),
        sa.column("format", sa.String),
        *map(_column, _GIVEN),
        *map(_column, _FOUND),
    ]
    model = sa.table("model", *columns, sa.column("curated", sa.JSON), sa.column("discovered", sa.JSON))
    connection = op.get_bind()
    for row in connection.execute(sa.select(*columns)).mappings().all():
        kind = "gguf" if row["path"] and row["path"].lower().endswith(".gguf") else None
        given = {name: row[name] for name in _GIVEN if row[name] is not None}
        found = {name: row[name] for name in _FOUND if row[name] is not None} | ({"format": kind} if kind else {})
        change = sa.update(model).where(model.c.name == row["name"])
        connection.execute(change.values(curated=given, discovered=found, format=kind))


def _column(name: str) -> sa.ColumnClause[Any]:
    kinds: dict[str, Any] = {
        "load_config": sa.JSON, "capabilities": sa.JSON, "size_bytes": sa.BigInteger, "parameter_count": sa.BigInteger,
        "context_length": sa.BigInteger, "has_chat_template": sa.Boolean,
    }  # fmt: skip
    return sa.column(name, kinds.get(name, sa.String))


def _new_tables() -> None:
    op.create_table(
        "cooldown",
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["model_name"], ["model.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("model_name"),
    )
    op.create_table(
        "measurement",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("backend", sa.String(), nullable=False),
        sa.Column("architecture", sa.String(), nullable=True),
        sa.Column("config_hash", sa.String(), nullable=False),
        sa.Column("n_ctx", sa.BigInteger(), nullable=True),
        sa.Column("predicted", sa.JSON(), nullable=False),
        sa.Column("measured", sa.JSON(), nullable=False),
        sa.Column("predicted_total", sa.BigInteger(), nullable=False),
        sa.Column("measured_total", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("measurement", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_measurement_model_name"), ["model_name"], unique=False)
    op.create_table(
        "server",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("owner_kind", sa.String(), nullable=False),
        sa.Column("owner_name", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sa.UniqueConstraint("url"),
    )
