"""Layers, policies, cool-downs, measurements and servers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Columns are added one by one: SQLite changes nothing else without rebuilding the table, and dropping the old table
    # would delete the attempts that refer to it.
    for name in ("format", "source", "family", "residents_group", "expected_hash"):
        op.add_column("model", sa.Column(name, sa.String(), nullable=True))
    op.add_column("model", sa.Column("idle_timeout", sa.Float(), nullable=True))
    op.add_column("model", sa.Column("last_verified", sa.DateTime(timezone=True), nullable=True))
    for name, empty in (("curated", "{}"), ("discovered", "{}"), ("aliases", "[]"), ("roles", "[]")):
        op.add_column("model", sa.Column(name, sa.JSON(), nullable=False, server_default=empty))
    for name, value in (
        ("pinned", sa.false()),
        ("installed", sa.true()),
        ("deprecated", sa.false()),
        ("locked", sa.false()),
    ):
        op.add_column("model", sa.Column(name, sa.Boolean(), nullable=False, server_default=value))
    _new_tables()


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
