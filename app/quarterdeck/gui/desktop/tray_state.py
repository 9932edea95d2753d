"""What the tray says, worked out from the store without Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from quarterdeck.gui.presenters import text

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store
    from quarterdeck.schemas.models import ModelView


class Line(NamedTuple):
    """One entry of the menu: what it is about, and its words."""

    key: str
    words: str


class TrayState(NamedTuple):
    """Icon shape (idle, loading, loaded, warn or error), tool-tip and the changing parts of the menu."""

    shape: str
    tip: str
    address: str
    loading: tuple[Line, ...]
    loaded: tuple[Line, ...]
    backends: tuple[Line, ...]
    quit_words: str


def tray_state(store: Store) -> TrayState:
    """Summarise the store for the tray."""
    loading, loaded = store.loading(), store.loaded()
    url = store.status.public_url if store.status and store.connected else None
    return TrayState(
        shape=_shape(store, loading, loaded),
        tip=_tip(store, loading, loaded),
        address=f"Clients use {url}/v1" if url else "No address for clients",
        loading=tuple(Line(model.name, loading_words(model)) for model in loading),
        loaded=tuple(Line(model.name, f"Unload {model.name}") for model in loaded),
        backends=tuple(
            Line(backend.name, f"Restart {backend.title}")
            for backend in store.backends.values()
            if "restart" in backend.actions
        ),
        quit_words=quit_words(len(loading), len(loaded)) if store.owns_core else "Quit",
    )


def loading_words(model: ModelView) -> str:
    if model.phase.value == "queued":
        return f"Waiting to load {model.name}"
    if model.phase.value == "cancelling":
        return f"Cancelling {model.name}…"
    fraction = model.progress.fraction if model.progress else None
    return f"Loading {model.name}…" + ("" if fraction is None else f" {fraction * 100:.0f} %")


def quit_words(loading: int, loaded: int) -> str:
    """Says what quitting does to what runs."""
    deeds = []
    if loading:
        deeds.append("stop loading")
    if loaded:
        deeds.append(f"unload {loaded} model{'s' if loaded > 1 else ''}")
    return f"Quit ({', '.join(deeds)})" if deeds else "Quit"


def _shape(store: Store, loading: list[ModelView], loaded: list[ModelView]) -> str:
    if not store.connected:
        return "error" if store.last_error else "idle"
    if loading:
        return "loading"
    if store.issues:
        return "error" if any(issue.severity == "error" for issue in store.issues.values()) else "warn"
    return "loaded" if loaded else "idle"


def _tip(store: Store, loading: list[ModelView], loaded: list[ModelView]) -> str:
    if not store.connected:
        return "Quarterdeck – the core does not answer" if store.last_error else "Quarterdeck – starting"
    lines = ["Quarterdeck"]
    lines += [loading_words(model) for model in loading]
    lines += [f"{model.name} is loaded" for model in loaded]
    lines += [f"{model.name} sleeps" for model in store.sleeping()]
    if not loading and not loaded:
        lines.append("No model is loaded")
    lines += [issue.sentence for issue in store.issues.values()]
    lines += _memory_lines(store)
    return "\n".join(lines)


def _memory_lines(store: Store) -> list[str]:
    sample = store.samples[-1] if store.samples else (store.status.hardware if store.status else None)
    if sample is None:
        return []
    known = [
        (gpu.memory_used, gpu.memory_total)
        for gpu in sample.gpus
        if gpu.memory_used is not None and gpu.memory_total is not None
    ]
    return [f"GPU memory {text.size(used)} of {text.size(total)}" for used, total in known]
