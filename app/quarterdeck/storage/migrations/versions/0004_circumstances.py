"""How the machine was when a load failed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("load_attempt", sa.Column("circumstances", sa.JSON(), nullable=True))
