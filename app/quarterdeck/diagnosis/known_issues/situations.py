"""What is known of a model, a server, a request or a failure, as the known issues are asked about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from quarterdeck.schemas.backends import BackendView
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import RequestView


class Fact(StrEnum):
    """Something that holds, beside names and words, and that some entries depend on."""

    STREAMING = "streaming"
    TOOLS = "tools"
    IMAGES = "images"
    SYSTEM_MESSAGE = "system_message"
    EMPTY_KEY = "empty_key"
    NO_MODELS = "no_models"
    MANY_MODELS = "many_models"
    TWIN_IDS = "twin_ids"
    STARTING = "starting"
    HOLDS_MEMORY = "holds_memory"
    CONFIG_CHANGED = "config_changed"
    STUCK_TESTING = "stuck_testing"
    ALL_INCOMPATIBLE = "all_incompatible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One thing to be explained. What is empty is not known, and never counts for or against an entry.

    `subject` is as in ProblemView · `services` are the programs that take part, engines and clients alike · `versions`
    of those · `model` holds everything that the model is called, its family and its quantisation · `lines` of a log or
    an error, oldest first · `failure_class` and `known_issue` come from the diagnosis.
    """

    subject: str = ""
    services: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    lines: Sequence[str] = ()
    failure_class: str | None = None
    known_issue: str | None = None
    facts: frozenset[Fact] = frozenset()


def of_model(view: ModelView, *, service: str = "", version: str | None = None) -> Situation:
    """A model as it is registered. `service` is what serves it, where its backend does not say that."""
    engine = service or view.backend
    facts = {Fact.IMAGES} if "vision" in view.capabilities else set()
    return Situation(
        subject=f"model:{view.name}",
        services=[engine],
        versions={engine: version} if version else {},
        model=words_of(view),
        lines=view.last_error.splitlines() if view.last_error else (),
        facts=frozenset(facts),
    )


def of_server(view: BackendView, *, lines: Sequence[str] = (), facts: frozenset[Fact] = frozenset()) -> Situation:
    """A backend, with the newest lines of its log. A server of a known kind may still bear another product's name."""
    names = [name for name in (view.kind, view.name, view.title) if name]
    told = [text for text in (view.detail, view.last_error) if text]
    return Situation(
        subject=f"server:{view.name}",
        services=names,
        versions=dict.fromkeys(names, view.version) if view.version else {},
        lines=[*lines, *told],
        facts=facts,
    )


def of_request(view: RequestView, model: ModelView | None, *, server: str = "") -> Situation:
    """A request of a client; `server` is the product that answered it, where that is known."""
    return Situation(
        subject=f"model:{view.model}",
        services=[name for name in (view.backend, server) if name],
        model=words_of(model) if model else view.model,
        lines=view.error.splitlines() if view.error else (),
        facts=frozenset({Fact.STREAMING}) if view.stream else frozenset(),
    )


def words_of(view: ModelView) -> str:
    """Everything that a model is called, one after the other."""
    words = (view.name, view.served_name, view.hf_path, view.family, view.architecture, view.quantization, view.format)
    return " ".join(dict.fromkeys(word for word in words if word))
