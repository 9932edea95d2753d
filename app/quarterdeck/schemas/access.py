"""API keys of clients, and what clients are told to connect."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class KeyCreate(BaseModel):
    """A new API key. Empty `models` means all; limits of null are none; `profile` names its time limits.

    An `admin` key opens the control API too.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    models: list[str] = Field(default_factory=list)
    admin: bool = False
    expires_at: datetime | None = None
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    concurrency: int | None = Field(default=None, ge=1)
    profile: str = "default"


class KeyView(KeyCreate):
    """A key as it is shown: never its text, only how it begins."""

    begins_with: str
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


class NewKey(BaseModel):
    """A key that was just made: the only time that its text is told."""

    key: str
    view: KeyView


class Profile(BaseModel):
    """Time limits of a client, in seconds; 0 means none. `retries` counts further tries before the first token."""

    name: str
    connect: float
    first_token: float
    idle: float
    total: float
    retries: int


class ConnectGuide(BaseModel):
    """What one client program needs: settings to copy (`fields`: label → value) and lines to paste (`snippet`)."""

    client: str
    title: str
    dialect: str
    fields: dict[str, str] = Field(default_factory=dict)
    snippet: str = ""
    notes: list[str] = Field(default_factory=list)


class ConnectTest(BaseModel):
    """Whether a client with these settings would be answered: each step with its outcome in words."""

    model_config = ConfigDict(extra="forbid")

    client: str
    ok: bool
    steps: list[ConnectStep] = Field(default_factory=list)


class ConnectStep(BaseModel):
    """One step of a connection test."""

    title: str
    ok: bool
    sentence: str
    hint: str = ""


class ProxySnippet(BaseModel):
    """A piece of configuration for a web server in front of Quarterdeck that does not hold streams back."""

    server: str
    text: str


ConnectTest.model_rebuild()
