"""The version of a database: which one it has, whether we know it, and bringing it up to ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from quarterdeck.errors import AppError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

MIGRATIONS = Path(__file__).parent / "migrations"


def revisions() -> list[str]:
    """All versions we know, oldest first: the leading number of each migration's file name."""
    return sorted(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def stored_revision(connection: Connection) -> str | None:
    """The version of a database by plain SQL (Alembic is slow to import); None when it has none yet."""
    import sqlalchemy as sa

    inspector = sa.inspect(connection)
    if not inspector.has_table("alembic_version"):
        return None
    row = connection.execute(sa.text("SELECT version_num FROM alembic_version")).first()
    return None if row is None else str(row[0])


def has_tables(connection: Connection) -> bool:
    import sqlalchemy as sa

    return bool(sa.inspect(connection).get_table_names())


def check_known(revision: str | None, place: str) -> None:
    """Raise AppError `database_too_new` for a version that this program does not know."""
    known = revisions()
    if revision is not None and revision not in known:
        raise AppError(
            "database_too_new",
            f"A newer Quarterdeck has written the database {place}: version {revision}, this one knows {known[-1]}.",
            "Update Quarterdeck, or start it with another data folder (--data-dir). Nothing was changed.",
            status=500,
        )


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration without an alembic.ini; its commands then work on `connection`."""
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config


def upgrade(connection: Connection) -> None:
    """Bring the database to our version, within the transaction of `connection`."""
    from alembic import command

    command.upgrade(alembic_config(connection), "head")
