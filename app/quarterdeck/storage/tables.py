"""The tables. Importing this module loads SQLModel, so only the database's thread and its work functions do."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from quarterdeck.schemas.models import CauseKind, Outcome, Status


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A moment in UTC; SQLite keeps no time zone, so it is taken off and put back here."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _word(kind: type[StrEnum]) -> Any:
    """A column type that stores an enumeration by its word, as plain text on every database."""
    return sa.Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        length=16,
        values_callable=lambda words: [w.value for w in words],
    )


def now() -> datetime:
    return datetime.now(UTC)


class Model(SQLModel, table=True):
    """A registered model. Sizes in bytes, context in tokens, times in seconds.

    The columns hold the effective values; `curated` and `discovered` hold what each layer says, by column name, and
    curated wins. `status_hardware` and `status_config_hash` say under which hardware and load_config the status was
    earned. `expected_hash` belongs to the version lock; `verified_files` holds the files as they were when it was last
    verified, by name: size in bytes, time of change and hash.
    """

    __tablename__: ClassVar[str] = "model"

    name: str = Field(primary_key=True)
    backend: str
    served_name: str
    layer: str
    path: str | None = None
    url: str | None = None
    hf_path: str | None = None
    cache_location: str | None = None
    status: Status = Field(default=Status.UNKNOWN, sa_type=_word(Status), index=True)
    notes: str = ""
    load_config: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    status_hardware: str | None = None
    status_config_hash: str | None = None
    good_in_a_row: int = 0
    total_loads: int = 0
    last_loaded: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_error: str | None = None
    size_bytes: int | None = Field(default=None, sa_type=sa.BigInteger)
    architecture: str | None = None
    parameter_count: int | None = Field(default=None, sa_type=sa.BigInteger)
    quantization: str | None = None
    context_length: int | None = Field(default=None, sa_type=sa.BigInteger)
    has_chat_template: bool | None = None
    capabilities: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    format: str | None = None
    source: str | None = None
    family: str | None = None
    curated: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON, sa_column_kwargs={"server_default": "{}"})
    discovered: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON, sa_column_kwargs={"server_default": "{}"})
    aliases: list[str] = Field(default_factory=list, sa_type=sa.JSON, sa_column_kwargs={"server_default": "[]"})
    roles: list[str] = Field(default_factory=list, sa_type=sa.JSON, sa_column_kwargs={"server_default": "[]"})
    group: str | None = Field(default=None, sa_column_kwargs={"name": "residents_group"})
    pinned: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    idle_timeout: float | None = None
    client_policy: dict[str, Any] = Field(
        default_factory=dict, sa_type=sa.JSON, sa_column_kwargs={"server_default": "{}"}
    )
    installed: bool = Field(default=True, sa_column_kwargs={"server_default": sa.true()})
    deprecated: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    locked: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    expected_hash: str | None = None
    last_verified: datetime | None = Field(default=None, sa_type=UtcDateTime)
    verified_files: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON)
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class Cooldown(SQLModel, table=True):
    """A model that failed is left alone until `until`; `failures` in a row make the wait grow."""

    __tablename__: ClassVar[str] = "cooldown"

    model_name: str = Field(primary_key=True, foreign_key="model.name", ondelete="CASCADE")
    failures: int = 0
    until: datetime = Field(sa_type=UtcDateTime)


class Measurement(SQLModel, table=True):
    """The memory of one real load, predicted and measured, in bytes; what the estimate learns from."""

    __tablename__: ClassVar[str] = "measurement"

    id: int | None = Field(default=None, primary_key=True)
    model_name: str = Field(index=True)
    backend: str
    architecture: str | None = None
    config_hash: str
    n_ctx: int | None = Field(default=None, sa_type=sa.BigInteger)
    predicted: dict[str, int] = Field(default_factory=dict, sa_type=sa.JSON)
    measured: dict[str, int] = Field(default_factory=dict, sa_type=sa.JSON)
    predicted_total: int = Field(sa_type=sa.BigInteger)
    measured_total: int = Field(sa_type=sa.BigInteger)
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class Server(SQLModel, table=True):
    """A server that a person made known; its key, if it has one, is kept with the secrets."""

    __tablename__: ClassVar[str] = "server"

    name: str = Field(primary_key=True)
    kind: str
    url: str = Field(unique=True)
    owner_kind: str = "other"
    owner_name: str | None = None
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class ApiKey(SQLModel, table=True):
    """A key of a client; its text is never stored, only its SHA-256. `models` empty means all."""

    __tablename__: ClassVar[str] = "api_key"

    name: str = Field(primary_key=True)
    hash: str = Field(unique=True)
    begins_with: str
    models: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    admin: bool = False
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    profile: str = "default"
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class LoadAttempt(SQLModel, table=True):
    """One attempt to load a model; written before anything is started, completed when its end is known."""

    __tablename__: ClassVar[str] = "load_attempt"
    # Ids are never used twice, so that an event about an old attempt cannot mean a new one.
    __table_args__ = {"sqlite_autoincrement": True}

    id: int | None = Field(default=None, primary_key=True)
    model_name: str = Field(foreign_key="model.name", ondelete="CASCADE", index=True)
    backend: str
    load_config: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    config_hash: str
    hardware: str
    forced: bool = False
    boot_id: str
    app_pid: int
    engine_pid: int | None = None
    engine_create_time: float | None = None
    engine_port: int | None = None
    started_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    load_seconds: float | None = None
    outcome: Outcome = Field(default=Outcome.RUNNING, sa_type=_word(Outcome), index=True)
    status_before: Status = Field(sa_type=_word(Status))
    status_after: Status | None = Field(default=None, sa_type=_word(Status))
    failure_class: str | None = None
    cause_kind: CauseKind | None = Field(default=None, sa_type=_word(CauseKind))
    error: str | None = None
    hint: str | None = None
    exit_code: int | None = None
    signal: str | None = None
    log_tail: str = ""
    circumstances: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON)


class Memory(SQLModel, table=True):
    """What the app remembers between runs, by key; settings of a person live in config.toml instead."""

    __tablename__: ClassVar[str] = "setting"

    key: str = Field(primary_key=True)
    value: Any = Field(default=None, sa_type=sa.JSON)
    changed_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class StoredEvent(SQLModel, table=True):
    """An event that outlives the run. Ids are milliseconds since the epoch or later, hence 64 bits."""

    __tablename__: ClassVar[str] = "event"

    id: int = Field(primary_key=True, sa_type=sa.BigInteger, sa_column_kwargs={"autoincrement": False})
    topic: str = Field(max_length=16)
    type: str = Field(max_length=32)
    at: datetime = Field(sa_type=UtcDateTime)
    data: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
