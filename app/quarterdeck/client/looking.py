"""The sub-commands that look before anything is loaded: estimate, import, scan."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from quarterdeck.client import text
from quarterdeck.client.api import ApiClient
from quarterdeck.client.connection import Connection
from quarterdeck.client.output import absolute, note, out, plain
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import BackendKind, Owner, OwnerKind, ServerCreate
from quarterdeck.schemas.discovery import ImportAction, ImportRequest
from quarterdeck.schemas.estimate import EstimateRequest


async def estimate(connection: Connection, arguments: argparse.Namespace) -> int:
    """Of a file or folder, or of a registered model where no such file exists."""
    is_file = await asyncio.to_thread(Path(absolute(arguments.path)).exists)
    request = EstimateRequest(
        path=absolute(arguments.path) if is_file else None,
        model_name=None if is_file else arguments.path,
        backend=arguments.backend,
        n_ctx=arguments.ctx,
        parallel=arguments.parallel,
        kv_type=arguments.kv_type,
    )
    found = await connection.client.estimate(request)
    out(plain(found) if arguments.json else text.estimate_page(found))
    return 0


async def import_models(connection: Connection, arguments: argparse.Namespace) -> int:
    """Exit code 1 when the file names nothing that could be taken."""
    if arguments.file is None or arguments.unfollow:
        return await _follows(connection.client, arguments)
    request = ImportRequest(
        path=absolute(arguments.file), format=arguments.format, apply=not arguments.dry_run, follow=arguments.follow
    )
    done = await connection.client.import_models(request)
    out(plain(done) if arguments.json else text.import_page(done, applied=request.apply))
    for warning in done.warnings:
        note(warning)
    useful = bool(done.servers) or any(entry.action is not ImportAction.SKIP for entry in done.entries)
    return 0 if useful else 1


async def _follows(client: ApiClient, arguments: argparse.Namespace) -> int:
    """The followed files, without the one that is followed no longer."""
    if arguments.file is not None:
        await client.unfollow(absolute(arguments.file))
    files = await client.follows()
    out([plain(file) for file in files] if arguments.json else text.follows_page(files))
    return 0


async def scan(client: ApiClient, arguments: argparse.Namespace) -> int:
    """Look into the folders named, the known places and for running servers; broken files are named, passed over."""
    for folder in arguments.folders:
        if not await asyncio.to_thread(folder.expanduser().is_dir):
            raise AppError("folder_missing", f"{folder} is not a folder.", "Name folders that hold models.")
    found = await client.scan([absolute(str(folder)) for folder in arguments.folders])
    out(plain(found) if arguments.json else text.scan_page(found))
    for each in found.passed_over:
        note(f"passed over {each.where}: {each.reason}")
    return 0


async def add_server(client: ApiClient, arguments: argparse.Namespace) -> int:
    owner = None
    if arguments.unit or arguments.container:
        kind = OwnerKind.SYSTEMD if arguments.unit else OwnerKind.DOCKER
        owner = Owner(kind=kind, name=arguments.unit or arguments.container)
    kind_given = BackendKind(arguments.kind) if arguments.kind else None
    new = ServerCreate(url=arguments.name, name=arguments.called, kind=kind_given, owner=owner)
    added = await client.add_server(new)
    out(plain(added) if arguments.json else f"Added {added.name}: {added.title}, {added.state}.")
    return 0
