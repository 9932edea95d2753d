"""Versions of the database: up to date, older, newer, damaged, somebody else's."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import Session, SQLModel, select

from quarterdeck.errors import AppError
from quarterdeck.settings import Folders
from quarterdeck.storage import engines, migrate
from quarterdeck.storage.database import FILE_NAME, Database
from quarterdeck.storage.tables import LoadAttempt, Model

DUMPS = Path(__file__).parent / "versions"


def opened(places: Folders) -> Database:
    database = Database(places)
    database.open()
    return database


def make(places: Folders, name: str = "tiny") -> Path:
    """A closed database of the present version with one model in it."""
    database = opened(places)
    database.run_blocking(
        lambda session: session.add(Model(name=name, backend="embedded", served_name=name, layer="curated"))
    )
    database.close()
    return places.data / FILE_NAME


def restamp(file: Path, revision: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def names(session: Session) -> list[str]:
    return sorted(session.exec(select(Model.name)))


def refusal(places: Folders) -> AppError:
    database = Database(places)
    with pytest.raises(AppError) as caught:
        database.open()
    database.close()
    return caught.value


def test_the_migrations_make_exactly_the_tables_of_the_models(tmp_path: Path) -> None:
    engine = engines.sqlite_engine(tmp_path / "made.db", 5)
    with engine.begin() as connection:
        migrate.upgrade(connection)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differences = compare_metadata(context, SQLModel.metadata)
        command.check(migrate.alembic_config(connection))
        foreign_keys = sa.inspect(connection).get_foreign_keys("load_attempt")
        made = connection.execute(sa.text("SELECT sql FROM sqlite_master WHERE name='load_attempt'")).scalar()
    engine.dispose()
    assert differences == []
    assert foreign_keys[0]["options"] == {"ondelete": "CASCADE"}
    assert "AUTOINCREMENT" in str(made)


def test_file_names_tell_the_same_versions_as_the_migrations_themselves() -> None:
    scripts = ScriptDirectory(str(migrate.MIGRATIONS))
    told = [script.revision for script in scripts.walk_revisions()][::-1]
    assert migrate.revisions() == told
    assert scripts.get_heads() == told[-1:]


def test_a_stored_dump_exists_of_every_version() -> None:
    assert sorted(dump.stem for dump in DUMPS.glob("*.sql")) == migrate.revisions()


@pytest.mark.parametrize("dump", sorted(DUMPS.glob("*.sql")), ids=lambda dump: dump.stem)
def test_every_stored_version_can_be_opened_with_its_content(places: Folders, dump: Path) -> None:
    places.data.mkdir()
    with closing(sqlite3.connect(places.data / FILE_NAME)) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))
    database = Database(places)
    report = database.open()
    found = database.run_blocking(lambda session: session.get_one(Model, "old friend"))
    attempts = database.run_blocking(lambda session: len(session.exec(select(LoadAttempt)).all()))
    database.close()
    assert attempts == 1
    assert (found.status, found.notes, found.load_config) == ("degraded", "zwölf\nZeilen", {"ctx_size": 2048})
    assert (report.backup is None) == (dump.stem == migrate.revisions()[-1])


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Gives the program one more migration than it has; its body is the argument."""
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    for file in ("env.py", "script.py.mako"):
        (folder / file).write_text((migrate.MIGRATIONS / file).read_text())
    for version in (migrate.MIGRATIONS / "versions").glob("*.py"):
        (folder / "versions" / version.name).write_text(version.read_text())
    head = migrate.revisions()[-1]

    def add(body: str) -> None:
        text = f"from alembic import op\nrevision = '9000'\ndown_revision = '{head}'\ndef upgrade():\n    {body}\n"
        (folder / "versions" / "9000_next.py").write_text(text)
        monkeypatch.setattr(migrate, "MIGRATIONS", folder)

    return add


def test_an_older_database_is_backed_up_before_it_is_migrated(
    places: Folders, next_version: Callable[[str], None]
) -> None:
    make(places)
    head = migrate.revisions()[-1]
    next_version("op.execute(\"UPDATE model SET notes = 'migrated'\")")
    database = Database(places)
    report = database.open()
    notes = database.run_blocking(lambda session: session.exec(select(Model.notes)).all())
    database.close()
    assert notes == ["migrated"]
    assert report.backup is not None
    with closing(sqlite3.connect(report.backup)) as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchall() == [(head,)]
        assert copy.execute("SELECT name, notes FROM model").fetchall() == [("tiny", "")]
    assert Database(places).open().backup is None


def test_three_backups_are_kept(places: Folders, next_version: Callable[[str], None]) -> None:
    file = make(places)
    head = migrate.revisions()[-1]
    next_version("pass")
    for number in range(5):
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE model SET notes = ?", (str(number),))
        restamp(file, head)
        database = Database(places)
        backup = database.open().backup
        database.close()
        assert backup is not None
    kept = []
    for copy in backup.parent.iterdir():
        with closing(sqlite3.connect(copy)) as connection:
            kept += connection.execute("SELECT notes FROM model").fetchone()
    assert sorted(kept) == ["2", "3", "4"]


def test_a_migration_that_fails_changes_nothing(places: Folders, next_version: Callable[[str], None]) -> None:
    make(places)
    next_version("op.execute('CREATE TABLE extra (id INTEGER)'); raise RuntimeError('stop')")
    database = Database(places)
    with pytest.raises(RuntimeError, match="stop"):
        database.open()
    database.close()
    with closing(sqlite3.connect(places.data / FILE_NAME)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone() == (0,)
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() != ("9000",)


def test_a_newer_database_is_refused_and_left_alone(places: Folders) -> None:
    file = make(places)
    restamp(file, "9999")
    before = file.read_bytes()
    error = refusal(places)
    assert error.code == "database_too_new"
    assert "9999" in error.sentence
    assert "Update" in error.hint
    assert file.read_bytes() == before
    assert [path.name for path in places.data.iterdir()] == [FILE_NAME]


def test_the_database_of_another_program_is_refused(places: Folders) -> None:
    places.data.mkdir()
    with closing(sqlite3.connect(places.data / FILE_NAME)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    assert refusal(places).code == "database_foreign"


def test_an_up_to_date_database_is_opened_without_alembic(places: Folders) -> None:
    make(places)
    program = (
        "import sys; from pathlib import Path; from quarterdeck.settings import Folders\n"
        "from quarterdeck.storage.database import Database\n"
        "folder = Path(sys.argv[1]); database = Database(Folders(folder, folder)); database.open(); database.close()\n"
        "print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, places.data], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def overwrite(file: Path, at: int, with_bytes: bytes) -> None:
    with file.open("r+b") as stream:
        stream.seek(at)
        stream.write(with_bytes)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(
            lambda file: file.write_bytes(b"these are not the bytes you are looking for" * 99), id="no database"
        ),
        pytest.param(lambda file: file.write_bytes(b"x"), id="one byte"),
        pytest.param(lambda file: file.write_bytes(file.read_bytes()[:3000]), id="cut short"),
        pytest.param(lambda file: file.write_bytes(file.read_bytes()[:20480]), id="pages missing"),
        pytest.param(lambda file: overwrite(file, 4096, b"\xff" * 8192), id="pages overwritten"),
        pytest.param(lambda file: overwrite(file, 40, b"\xff" * 60), id="header overwritten"),
    ],
)
def test_a_damaged_database_is_set_aside_and_reported(places: Folders, damage: Callable[[Path], object]) -> None:
    file = make(places)
    damage(file)
    content = file.read_bytes()
    (places.data / f"{FILE_NAME}-wal").write_bytes(b"left behind")
    database = Database(places)
    report = database.open()
    found = database.run_blocking(names)
    database.close()
    assert found == []
    assert report.created
    assert report.quarantined is not None
    assert report.quarantined.name.startswith("quarterdeck.damaged-")
    assert report.quarantined.suffix == ".db"
    assert report.quarantined.read_bytes() == content
    assert not (places.data / f"{FILE_NAME}-wal").exists()
    assert Database(places).open() == (False, None, None)


def test_two_damaged_databases_of_one_moment_are_both_kept(places: Folders) -> None:
    kept = set()
    for text in (b"first" * 50, b"second" * 50):
        places.data.mkdir(exist_ok=True)
        (places.data / FILE_NAME).write_bytes(text)
        database = Database(places)
        quarantined = database.open().quarantined
        database.close()
        assert quarantined is not None
        kept.add(quarantined)
    assert {path.read_bytes() for path in kept} == {b"first" * 50, b"second" * 50}


def test_an_empty_file_is_a_new_database(places: Folders) -> None:
    places.data.mkdir()
    (places.data / FILE_NAME).touch()
    database = Database(places)
    assert database.open() == (True, None, None)
    database.close()
