"""The `quarterdeck` command. Every sub-command is a thin call into the client or the core."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import TYPE_CHECKING

from quarterdeck import __version__
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.settings import Folders, Settings, folders, load_settings

if TYPE_CHECKING:
    from quarterdeck.core import Core
    from quarterdeck.core_thread import CoreThread

Handler = Callable[[argparse.Namespace], int]

STOPPED = 130
"""The exit code of programs that Ctrl-C ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0 done, 1 failed (reason on stderr), 130 stopped with Ctrl-C; argparse ends with 2."""
    # Not as defaults of the parser: those would win, in a command, over what stands before the command.
    start = argparse.Namespace(run=_app, data_dir=None, url=None, token=None)
    arguments = _parser().parse_args(argv, start)
    try:
        return int(arguments.run(arguments))
    except AppError as error:
        print(error.sentence, error.hint, sep="\n", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        # The reader of our output has what it wanted; closing stdout again would complain a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--data-dir", type=Path, default=argparse.SUPPRESS, help="folder for everything that is written"
    )
    shared.add_argument("--url", default=argparse.SUPPRESS, help="control address of a running core")
    shared.add_argument("--token", default=argparse.SUPPRESS, help="token of the core at --url")
    parser = argparse.ArgumentParser(
        prog="quarterdeck", description="Control panel for language models on your own machine.", parents=[shared]
    )
    parser.add_argument("--version", action="version", version=f"quarterdeck {__version__}")
    parser.add_argument("--minimized", action="store_true", help="start in the tray")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, handler: Handler, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, parents=[shared])
        sub.set_defaults(run=handler)
        return sub

    serve = command("serve", _serve, "Run the core without a window.")
    serve.add_argument("--host", help="address for clients (default 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port for clients (default 8100)")
    _add_model_commands(command, shared)
    status = command("status", _remote("status"), "Show the state of the whole.")
    form = status.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON document")
    form.add_argument("--markdown", action="store_true", help="print the status report as a page")
    drift = command("drift", _remote("drift"), "Show configuration files, and where declared and running differ.")
    drift.add_argument("--json", action="store_true", help="print one JSON document")
    gpu = command("gpu", _remote("gpu"), "Show what the graphs show.")
    gpu.add_argument("--json", action="store_true", help="print one JSON document")
    gpu.add_argument("--watch", action="store_true", help="go on until Ctrl+C")
    diagnose = command("diagnose", _diagnose, "Say why a log shows a failure, and what helps.")
    diagnose.add_argument("file", help="the log; - for standard input")
    diagnose.add_argument("--service", default="", help="who wrote it, such as vllm or open-webui")
    diagnose.add_argument("--json", action="store_true", help="print one JSON document")
    _add_backend_command(command)
    _add_looking_commands(command)
    _add_access_commands(command)
    _add_known_issues_command(command)
    _add_doctor_command(command)
    entry = command("desktop-entry", _desktop_entry, "Add Quarterdeck to the application menu, or remove it.")
    entry.add_argument("action", choices=["install", "remove"])
    entry.add_argument("--autostart", action="store_true", help="with install: also start at login")
    return parser


def _add_backend_command(command: Callable[[str, Handler, str], argparse.ArgumentParser]) -> None:
    backends = command("backends", _remote("backends"), "List, start, restart or stop backends, or read their logs.")
    actions = ["list", "start", "restart", "stop", "reload", "logs", "add", "remove"]
    backends.add_argument("action", nargs="?", default="list", choices=actions)
    backends.add_argument("name", nargs="?", help="name of the backend; with add: base address of a server")
    backends.add_argument("--name", dest="called", metavar="NAME", help="with add: what to call the server")
    kinds = [kind.value for kind in BackendKind]
    backends.add_argument("--kind", choices=kinds, help="with add: what it is; without it, the server is asked")
    backends.add_argument("--unit", help="with add: systemd user unit that runs it")
    backends.add_argument("--container", help="with add: Docker container that runs it")
    form = backends.add_mutually_exclusive_group()
    form.add_argument("-f", "--follow", action="store_true", help="with logs: go on until Ctrl+C")
    form.add_argument("--json", action="store_true", help="print one JSON document")


def _add_looking_commands(command: Callable[[str, Handler, str], argparse.ArgumentParser]) -> None:
    estimate = command("estimate", _remote("estimate"), "Say how much memory a model needs and whether it fits.")
    estimate.add_argument("path", help="a .gguf file, a folder of safetensors, or the name of a model")
    estimate.add_argument("--ctx", type=int, help="context length in tokens")
    estimate.add_argument("--parallel", type=int, help="requests answered side by side")
    estimate.add_argument("--kv-type", help="number format of the KV cache, such as f16 or q8_0")
    estimate.add_argument("--backend", help="engine that would run it")
    estimate.add_argument("--json", action="store_true", help="print one JSON document")
    route = command("route", _remote("route"), "Say which model answers to a name, and why.")
    route.add_argument("name", help="the name that a client would ask for")
    route.add_argument(
        "--down", action="append", default=[], metavar="NAME", help="as if this backend or model were down; repeatable"
    )
    route.add_argument(
        "--need", action="append", default=[], metavar="WORD", help="as if vision or tools were needed; repeatable"
    )
    route.add_argument("--json", action="store_true", help="print one JSON document")
    importing = command("import", _remote("import"), "Take over models from a file of another program.")
    importing.add_argument(
        "file",
        nargs="?",
        help="model_registry.json, LiteLLM or llama-swap YAML, or an Ollama Modelfile; without it: list followed files",
    )
    importing.add_argument("--format", help="what the file is, where that cannot be told from it")
    importing.add_argument("--dry-run", action="store_true", help="only say what would happen")
    importing.add_argument("--follow", action="store_true", help="read the file again whenever it changes")
    importing.add_argument("--unfollow", action="store_true", help="read the file no longer; its models stay")
    importing.add_argument("--json", action="store_true", help="print one JSON document")


def _add_access_commands(command: Callable[[str, Handler, str], argparse.ArgumentParser]) -> None:
    keys = command("keys", _remote("keys"), "List, add or revoke API keys of clients.")
    keys.add_argument("action", nargs="?", default="list", choices=["list", "add", "revoke"])
    keys.add_argument("name", nargs="?", help="name of the key")
    keys.add_argument("--model", action="append", default=[], help="with add: a model it is for (default all)")
    keys.add_argument("--admin", action="store_true", help="with add: it opens the control API too")
    keys.add_argument("--expires", type=datetime.fromisoformat, help="with add: its end, such as 2027-12-31")
    keys.add_argument("--requests", type=int, help="with add: requests a minute")
    keys.add_argument("--tokens", type=int, help="with add: tokens a minute")
    keys.add_argument("--concurrency", type=int, help="with add: requests at the same time")
    profiles = ["default", "fail-fast", "patient"]
    keys.add_argument("--profile", default="default", choices=profiles, help="with add: its time limits")
    keys.add_argument("--json", action="store_true", help="print one JSON document")
    snippet = command("snippet", _remote("snippet"), "Print the configuration for a web server in front.")
    snippet.add_argument("server", choices=["nginx", "apache", "caddy"])
    snippet.add_argument("--json", action="store_true", help="print one JSON document")


def _add_doctor_command(command: Callable[[str, Handler, str], argparse.ArgumentParser]) -> None:
    doctor = command("doctor", _remote("doctor"), "Examine a connection step by step, or all that are known.")
    what = doctor.add_mutually_exclusive_group()
    # Not under its own name: --url names a core.
    what.add_argument("address", nargs="?", metavar="URL", help="base address as entered in a client")
    what.add_argument("--backend", metavar="NAME", help="a backend by its name")
    what.add_argument("--client", metavar="NAME", help="the connection that a client program would use")
    doctor.add_argument("--key", help="API key to send")
    doctor.add_argument(
        "--origin", help="address of a web page that should be able to ask, such as http://localhost:3000"
    )
    doctor.add_argument("--model", help="model to ask; without it only one that is loaded is asked")
    doctor.add_argument("--websocket", metavar="PATH", help="path of a WebSocket to open, such as /ws/socket.io")
    doctor.add_argument("--json", action="store_true", help="print one JSON document")


def _add_known_issues_command(command: Callable[[str, Handler, str], argparse.ArgumentParser]) -> None:
    text = "List what is known not to get on, or show, add, export or remove entries."
    known = command("known-issues", _remote("known_issues"), text)
    known.add_argument("action", nargs="?", default="list", choices=["list", "show", "add", "export", "remove"])
    known.add_argument("words", nargs="*", help="with list: words to find; with show and remove: id; with add: file")
    known.add_argument("--all", action="store_true", help="with export: the entries that come with Quarterdeck too")
    known.add_argument("--json", action="store_true", help="print one JSON document")


def _add_model_commands(
    command: Callable[[str, Handler, str], argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    models = command("models", _remote("models"), "List models, or add, remove, show and scan for them.")
    models.add_argument("--json", action="store_true", default=False, help="print one JSON document")
    actions = models.add_subparsers(title="actions", metavar="ACTION")
    json_again = argparse.ArgumentParser(add_help=False)
    json_again.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=text, description=text, parents=[shared, json_again])
        sub.set_defaults(action=name)
        return sub

    models.set_defaults(action="list")
    action("list", "List all models.")
    add = action("add", "Add a model.")
    add.add_argument("name")
    add.add_argument(
        "--path", required=True, help="a .gguf file, a folder of safetensors, or the base address of a running server"
    )
    add.add_argument("--backend", help="engine that runs it")
    add.add_argument("--served-name", help="id under which the engine knows it")
    add.add_argument("--load-config", help="JSON object with engine options")
    action("remove", "Forget a model; its file stays.").add_argument("name")
    action("show", "Show one model with its load attempts.").add_argument("name")
    action("scan", "Find models in folders, known caches and running servers.").add_argument(
        "folders", nargs="*", type=Path
    )
    load = command("load", _remote("load"), "Load a model.")
    load.add_argument("name")
    load.add_argument("--force", action="store_true", help="also when it is marked incompatible")
    load.add_argument("--json", action="store_true", help="print one JSON document")
    unload = command("unload", _remote("unload"), "Unload a model.")
    unload.add_argument("name", nargs="?")
    unload.add_argument("--json", action="store_true", help="print one JSON document")
    current = command("current", _remote("current"), "Show which model is loaded.")
    current.add_argument("--json", action="store_true", help="print one JSON document")
    set_status = command("set-status", _remote("set_status"), "Set a model's status by hand.")
    set_status.add_argument("name")
    set_status.add_argument("status", help="unknown, compatible, degraded or incompatible")
    set_status.add_argument("--notes", help="replaces the notes")
    set_status.add_argument("--json", action="store_true", help="print one JSON document")


def _remote(name: str) -> Handler:
    """A command that speaks to a core: the one given, the one that runs, or one of its own for this moment."""

    def run(arguments: argparse.Namespace) -> int:
        from quarterdeck.client import commands

        return asyncio.run(commands.run(name, arguments, start_core=lambda: _own_core(arguments)))

    return run


def _own_core(arguments: argparse.Namespace) -> CoreThread:
    from quarterdeck.core_thread import CoreThread

    return CoreThread(load_settings(arguments.data_dir), public=False, on_recovered=_tell_recovered).start()


def _diagnose(arguments: argparse.Namespace) -> int:
    from quarterdeck.client import diagnosing
    from quarterdeck.diagnosis.matcher import diagnose_stream

    return diagnosing.run(arguments, diagnose_stream)


def _serve(arguments: argparse.Namespace) -> int:
    from quarterdeck import core_thread
    from quarterdeck.control.own_log import log_to_console

    overrides = {name: getattr(arguments, name) for name in ("host", "port") if getattr(arguments, name) is not None}
    log_to_console()
    core_thread.run(core_thread.serve(load_settings(arguments.data_dir, overrides), _announce))
    return 0


def _announce(core: Core) -> None:
    _tell_recovered(core.recovered)
    print(f"listening on {core.public_url}", flush=True)


def _tell_recovered(recovered: Sequence[object]) -> None:
    if not recovered:
        return
    print(f"{len(recovered)} model(s) were being tested when Quarterdeck ended:", file=sys.stderr)
    for each in recovered:
        print(f"  {each.model_name} is now {each.status}", file=sys.stderr)  # type: ignore[attr-defined]
    print("Cleanup finished.", file=sys.stderr)


def _app(arguments: argparse.Namespace) -> int:
    from quarterdeck.gui.app import run_app

    places = folders(arguments.data_dir)
    _keep_early_log()
    url, token = _other_core(arguments, places)
    return run_app(
        folders=places,
        settings=_settings_for_window(arguments),
        start_core=None if url else lambda: _core_for_window(arguments),
        url=url,
        token=token,
        minimized=arguments.minimized,
    )


def _settings_for_window(arguments: argparse.Namespace) -> Settings:
    """The settings, or the defaults where they cannot be read: the window opens and shows the core's own error."""
    try:
        return load_settings(arguments.data_dir).settings
    except AppError:
        return Settings()


def _other_core(arguments: argparse.Namespace, places: Folders) -> tuple[str | None, str | None]:
    """Address and token of the core the window shall attach to, or nothing; cheap, because the first frame waits."""
    if arguments.url is not None:
        from quarterdeck.client.connection import token_for

        return arguments.url, token_for(arguments.token, places)
    if not places.lock_file.exists():
        return None, None
    from quarterdeck.client.discovery import find_core

    running = find_core(places)
    return (running.control_url, running.token) if running else (None, None)


def _keep_early_log() -> None:
    """Hold what the window logs until the core has a log file for it."""
    root = logging.getLogger("quarterdeck")
    root.setLevel(logging.INFO)
    root.addHandler(MemoryHandler(1000, flushLevel=logging.CRITICAL + 1))


def _core_for_window(arguments: argparse.Namespace) -> CoreThread:
    from quarterdeck.core_thread import CoreThread

    return CoreThread(load_settings(arguments.data_dir), public=True, on_recovered=_tell_recovered).start()


def _desktop_entry(arguments: argparse.Namespace) -> int:
    from quarterdeck.gui.desktop import entry

    paths = entry.install(autostart=arguments.autostart) if arguments.action == "install" else entry.remove()
    for path in paths:
        print(("wrote " if arguments.action == "install" else "removed ") + str(path))
    return 0
