"""What the sub-commands of `quarterdeck` do with a core."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable

from quarterdeck.client import access, doctor, known_issues, logs, looking, report, routing, text
from quarterdeck.client.api import ApiClient
from quarterdeck.client.connection import Connection, OwnCore, connect
from quarterdeck.client.output import absolute, note, out, plain
from quarterdeck.errors import AppError
from quarterdeck.schemas.events import Topic
from quarterdeck.schemas.hardware import HardwareSample
from quarterdeck.schemas.models import ConfigPatch, ModelCreate
from quarterdeck.settings import folders

Command = Callable[[Connection, argparse.Namespace], Awaitable[int]]

PROGRESS_SECONDS = 0.3


async def run(name: str, arguments: argparse.Namespace, *, start_core: Callable[[], OwnCore]) -> int:
    """Run the command `name`. Returns its exit code; raises AppError."""
    places = folders(arguments.data_dir)
    async with connect(places, url=arguments.url, token=arguments.token, start_core=start_core) as connection:
        return await _COMMANDS[name](connection, arguments)


async def _models(connection: Connection, arguments: argparse.Namespace) -> int:
    return await _MODEL_ACTIONS[arguments.action](connection.client, arguments)


async def _list(client: ApiClient, arguments: argparse.Namespace) -> int:
    models = await client.models()
    out([plain(model) for model in models] if arguments.json else text.model_table(models))
    return 0


async def _add(client: ApiClient, arguments: argparse.Namespace) -> int:
    is_url = arguments.path.startswith(("http://", "https://"))
    new = ModelCreate(
        model_name=arguments.name,
        url=arguments.path if is_url else None,
        path=None if is_url else absolute(arguments.path),
        backend=arguments.backend,
        served_name=arguments.served_name,
        load_config=arguments.load_config,
    )
    added = await client.add_model(new)
    out(plain(added) if arguments.json else f"Added {text.model_line(added)}")
    return 0


async def _remove(client: ApiClient, arguments: argparse.Namespace) -> int:
    await client.remove_model(arguments.name)
    out({"removed": arguments.name} if arguments.json else f"Removed {arguments.name}; its file stays.")
    return 0


async def _show(client: ApiClient, arguments: argparse.Namespace) -> int:
    model, attempts = await client.model(arguments.name), await client.attempts(arguments.name)
    if arguments.json:
        out({**plain(model), "attempts": [plain(attempt) for attempt in attempts]})
    else:
        out(text.model_page(model, attempts))
    return 0


async def _load(connection: Connection, arguments: argparse.Namespace) -> int:
    client = connection.client
    loading = asyncio.ensure_future(client.load(arguments.name, force=arguments.force))
    try:
        while not loading.done():
            await asyncio.wait({loading}, timeout=PROGRESS_SECONDS)
            await _show_progress(client, arguments.name, done=loading.done())
        result = await loading
    except asyncio.CancelledError:
        with contextlib.suppress(AppError):
            await client.cancel(arguments.name)
        raise
    out(plain(result) if arguments.json else f"{result.message} Status: {result.compatibility_status}.")
    if connection.momentary:
        note(
            "No Quarterdeck is running, so this was a test and the model is unloaded again. "
            "Start the app or `quarterdeck serve` to keep it loaded."
        )
    return 0


async def _show_progress(client: ApiClient, name: str, *, done: bool) -> None:
    if not sys.stderr.isatty():
        return
    line = ""
    if not done:
        with contextlib.suppress(AppError):
            line = text.progress_line(await client.model(name))
    sys.stderr.write(f"\r\x1b[K{line}")
    sys.stderr.flush()


async def _unload(connection: Connection, arguments: argparse.Namespace) -> int:
    await connection.client.unload(arguments.name)
    out({"unloaded": arguments.name} if arguments.json else "Unloaded.")
    return 0


async def _current(connection: Connection, arguments: argparse.Namespace) -> int:
    """The model loaded last; with --json its `loaded_models` names all of them."""
    names = (await connection.client.status()).loaded_models
    loaded = [await connection.client.model(name) for name in names]
    if arguments.json:
        out({**plain(loaded[-1]), "loaded_models": names} if loaded else None)
    else:
        out("\n".join(map(text.model_line, loaded)) if loaded else "No model is loaded.")
    return 0


async def _set_status(connection: Connection, arguments: argparse.Namespace) -> int:
    patch = ConfigPatch(compatibility_status=arguments.status)
    if arguments.notes is not None:
        patch = ConfigPatch(compatibility_status=arguments.status, compatibility_notes=arguments.notes)
    model = await connection.client.patch_config(arguments.name, patch)
    out(plain(model) if arguments.json else f"{model.name} is now {model.status}.")
    return 0


async def _status(connection: Connection, arguments: argparse.Namespace) -> int:
    if arguments.markdown:
        return await report.markdown(connection)
    status = await connection.client.status()
    out(plain(status) if arguments.json else text.status_page(status))
    return 0


async def _gpu(connection: Connection, arguments: argparse.Namespace) -> int:
    newest = (await connection.client.hardware())[-1]
    out(plain(newest) if arguments.json else text.hardware_page(newest))
    if arguments.watch:
        async for event in connection.client.events([Topic.GPU]):
            if event.topic is Topic.GPU:
                sample = HardwareSample.model_validate(event.data)
                out(plain(sample) if arguments.json else text.hardware_page(sample))
    return 0


async def _backends(connection: Connection, arguments: argparse.Namespace) -> int:
    client = connection.client
    if arguments.action == "list":
        backends = await client.backends()
        out([plain(backend) for backend in backends] if arguments.json else text.backend_table(backends))
        return 0
    if arguments.name is None:
        raise AppError(
            "backend_required",
            "The name of the backend, or the address of a server to add, is missing.",
            "List them with `quarterdeck backends`.",
        )
    if arguments.action == "add":
        return await looking.add_server(client, arguments)
    if arguments.action == "logs":
        return await logs.show(client, arguments)
    if arguments.action == "remove":
        await client.remove_server(arguments.name)
        out({"removed": arguments.name} if arguments.json else f"Removed {arguments.name}; it goes on running.")
        return 0
    view = await client.backend_action(arguments.name, arguments.action)
    out(plain(view) if arguments.json else text.backend_table([view]))
    return 0


_MODEL_ACTIONS: dict[str, Callable[[ApiClient, argparse.Namespace], Awaitable[int]]] = {
    "list": _list,
    "add": _add,
    "remove": _remove,
    "show": _show,
    "scan": looking.scan,
}

_COMMANDS: dict[str, Command] = {
    "models": _models,
    "load": _load,
    "unload": _unload,
    "current": _current,
    "set_status": _set_status,
    "status": _status,
    "gpu": _gpu,
    "backends": _backends,
    "estimate": looking.estimate,
    "import": looking.import_models,
    "route": routing.route,
    "doctor": doctor.doctor,
    "drift": report.drift,
    "known_issues": known_issues.known_issues,
    "keys": access.keys,
    "snippet": access.snippet,
}
