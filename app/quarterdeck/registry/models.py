"""The registry: which models exist, with the facts that their files state."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import AppError
from quarterdeck.registry.gguf import GgufHeader
from quarterdeck.registry.names import clean_name
from quarterdeck.registry.parts import read_model
from quarterdeck.registry.starter import STARTER_NAME, starter_file
from quarterdeck.schemas.jsontext import config_hash, parse_load_config, to_text
from quarterdeck.schemas.models import ModelCreate, ModelView, Retest, Status
from quarterdeck.storage.database import Database

if TYPE_CHECKING:
    from sqlmodel import Session

    from quarterdeck.storage.tables import Model

EMBEDDED = "embedded"
OPENAI_COMPATIBLE = "openai-compatible"
CURATED = "curated"
STARTER_OFFERED = "starter_offered"

_EMBEDDING_ARCHITECTURES = frozenset(
    {
        "bert", "modern-bert", "neo-bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "eurobert",
        "gemma-embedding", "t5encoder",
    }
)  # fmt: skip
_EMBEDDING_POOLING = (1, 2, 3)
_RANK_POOLING = 4

_log = logging.getLogger(__name__)


class Registry:
    """The models a person has. `hardware` is the fingerprint of this machine, set by the core once it is known."""

    def __init__(self, database: Database, backends: tuple[str, ...] = (EMBEDDED,)) -> None:
        self._database = database
        self._backends = backends
        self.hardware = ""

    async def list(self) -> list[ModelView]:
        """All models in the order of their names; a model whose file is gone is listed all the same."""

        def work(session: Session) -> list[ModelView]:
            from sqlmodel import select

            from quarterdeck.storage.tables import Model

            return [self._view(row) for row in session.exec(select(Model).order_by(Model.name))]

        return await self._database.run(work)

    async def get(self, name: str) -> ModelView:
        """Raises AppError `unknown_model` (404)."""
        return await self._database.run(lambda session: self._view(_row(session, name)))

    async def add(self, new: ModelCreate) -> ModelView:
        """Register a model. Raises AppError: `duplicate_model` (409), or what is wrong with name, file or config."""
        name = clean_name(new.model_name)
        config = parse_load_config(new.load_config)
        served_name = clean_name(new.served_name) if new.served_name and new.served_name.strip() else name
        backend = self._backend(new)
        await self._database.run(lambda session: _check_free(session, name, served_name))
        facts: dict[str, Any] = {}
        if new.url is None:
            path = await asyncio.to_thread(_local_file, new)
            facts = {"path": str(path), **_facts(await asyncio.to_thread(read_model, path))}
        values = {
            "name": name,
            "backend": backend,
            "served_name": served_name,
            "layer": CURATED,
            "url": new.url.strip() if new.url else None,
            "hf_path": new.hf_path,
            "cache_location": new.cache_location,
            "load_config": config,
            **facts,
        }
        return await self._database.run(lambda session: self._insert(session, values))

    async def remove(self, name: str) -> None:
        """Forget a model and its attempts; its file stays. Raises AppError `unknown_model` (404)."""
        await self._database.run(lambda session: session.delete(_row(session, name)))

    async def seed_starter(self) -> ModelView | None:
        """Offer the starter model once, and follow it when the installation moved; the view if anything changed."""
        path = await asyncio.to_thread(starter_file)
        if path is None:
            return None
        if await self._database.run(_was_offered):
            return await self._follow_starter(path)
        try:
            header = await asyncio.to_thread(read_model, path)
        except AppError as error:
            _log.warning("the starter model is not offered: %s", error.sentence)
            return None
        values = {
            "name": STARTER_NAME,
            "backend": EMBEDDED,
            "served_name": STARTER_NAME,
            "layer": CURATED,
            "path": str(path),
            **_facts(header),
        }
        return await self._database.run(lambda session: self._offer(session, values))

    def _backend(self, new: ModelCreate) -> str:
        if new.url is not None and (new.path is not None or not new.url.strip()):
            raise AppError(
                "bad_source",
                "A model is either a local file or a running server.",
                "Give a path or an address, not both.",
            )
        backend = (new.backend or "").strip() or (EMBEDDED if new.url is None else OPENAI_COMPATIBLE)
        if backend not in self._backends:
            raise AppError(
                "unknown_backend",
                f"There is no backend named “{backend}”.",
                f"Choose one of these: {', '.join(self._backends)}.",
            )
        if new.url is not None and backend == EMBEDDED:
            raise AppError(
                "bad_source",
                "The embedded engine loads files; it cannot use a running server.",
                "Give the path of a .gguf file, or choose another backend.",
            )
        return backend

    async def _follow_starter(self, path: Path) -> ModelView | None:
        """Give the starter model its new path when its file is no longer where it was."""

        def work(session: Session) -> ModelView | None:
            from quarterdeck.storage.tables import Model

            row = session.get(Model, STARTER_NAME)
            if row is None or row.path is None:
                return None
            old = Path(row.path)
            if old == path or old.name != path.name or old.exists():
                return None
            row.path = str(path)
            return self._view(row)

        return await self._database.run(work)

    def _offer(self, session: Session, values: dict[str, Any]) -> ModelView | None:
        from quarterdeck.storage.tables import Memory, Model

        session.add(Memory(key=STARTER_OFFERED, value=True))
        if session.get(Model, values["name"]) is not None:
            return None
        return self._insert(session, values)

    def _insert(self, session: Session, values: dict[str, Any]) -> ModelView:
        from quarterdeck.storage.tables import Model

        _check_free(session, values["name"], values["served_name"])
        row = Model(**values)
        session.add(row)
        session.flush()
        return self._view(row)

    def _view(self, row: Model) -> ModelView:
        same = set(ModelView.model_fields) & set(type(row).model_fields) - {"load_config"}
        stored = {field: getattr(row, field) for field in same}
        return ModelView(**stored, load_config=to_text(row.load_config), retest=self._retest(row))

    def _retest(self, row: Model) -> Retest | None:
        """Why the status may no longer hold."""
        if row.status is Status.UNKNOWN:
            return None
        if row.status_hardware and self.hardware and row.status_hardware != self.hardware:
            return Retest.HARDWARE
        if row.status_config_hash and row.status_config_hash != config_hash(row.load_config):
            return Retest.CONFIG
        return None


def _row(session: Session, name: str) -> Model:
    from quarterdeck.storage.tables import Model

    row = session.get(Model, name)
    if row is None:
        raise AppError(
            "unknown_model",
            f"There is no model named “{name}”.",
            "Look at the list of models for its exact name, or add it.",
            status=404,
        )
    return row


def _check_free(session: Session, name: str, served_name: str) -> None:
    from sqlmodel import or_, select

    from quarterdeck.storage.tables import Model

    if session.get(Model, name) is not None:
        raise AppError(
            "duplicate_model",
            f"There is already a model named “{name}”.",
            "Choose another name, or remove that model first.",
            status=409,
        )
    names = (name, served_name)
    clash = session.exec(select(Model).where(or_(Model.served_name.in_(names), Model.name == served_name))).first()  # type: ignore[attr-defined]
    if clash is not None:
        taken = served_name if served_name in (clash.name, clash.served_name) else name
        raise AppError(
            "duplicate_model",
            f"Clients already reach the model “{clash.name}” under the name “{taken}”.",
            "Choose another name.",
            status=409,
        )


def _was_offered(session: Session) -> bool:
    from quarterdeck.storage.tables import Memory

    return session.get(Memory, STARTER_OFFERED) is not None


def _local_file(new: ModelCreate) -> Path:
    """The absolute path of the file that is meant (blocking)."""
    if new.path is not None and new.path.strip():
        return _absolute(new.path)
    if new.hf_path is None or not new.hf_path.strip():
        raise AppError("bad_source", "Neither a file nor a server was given.", "Give the path of a .gguf file.")
    local = _absolute(new.hf_path)
    if not os.path.isfile(local):  # noqa: PTH113 (no error for an impossible path)
        raise AppError(
            "download_unsupported",
            f"“{new.hf_path.strip()}” is not a local file, and downloading models is not yet possible.",
            "Download the .gguf file yourself, then give its path.",
        )
    return local


def _absolute(text: str) -> Path:
    """`text` as an absolute path; links are kept, because caches store files under names that say nothing."""
    return Path(os.path.abspath(os.path.expanduser(text.strip())))  # noqa: PTH100, PTH111 (no error for an unknown ~user)


def _facts(header: GgufHeader) -> dict[str, Any]:
    return {
        "size_bytes": header.size_bytes,
        "architecture": header.architecture,
        "parameter_count": header.parameter_count,
        "quantization": header.quantization,
        "context_length": header.context_length,
        "has_chat_template": header.has_chat_template,
        "capabilities": _capabilities(header),
    }


def _capabilities(header: GgufHeader) -> list[str]:
    if header.pooling_type == _RANK_POOLING:
        return ["rerank"]
    if header.architecture in _EMBEDDING_ARCHITECTURES or header.pooling_type in _EMBEDDING_POOLING:
        return ["embeddings"]
    return ["chat"] if header.has_chat_template else ["completion"]
