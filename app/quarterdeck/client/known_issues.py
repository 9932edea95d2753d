"""The sub-command about known issues."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from quarterdeck.client.api import ApiClient
from quarterdeck.client.connection import Connection
from quarterdeck.client.output import note, out, plain
from quarterdeck.errors import AppError
from quarterdeck.schemas.known_issues import ImportedIssues, KnownIssue


async def known_issues(connection: Connection, arguments: argparse.Namespace) -> int:
    """List, show, add, export or remove. Exit code 1 when nothing of a page could be taken over."""
    client = connection.client
    words: list[str] = arguments.words
    if arguments.action == "list":
        return _list(await client.known_issues(" ".join(words)), arguments)
    if arguments.action == "export":
        sys.stdout.write(await client.export_known_issues(own=not arguments.all))
        return 0
    if len(words) != 1:
        needed = "the file of the page, or - for standard input" if arguments.action == "add" else "the id of an entry"
        raise AppError("name_required", f"It needs {needed}.", "List the ids with `quarterdeck known-issues`.")
    if arguments.action == "add":
        return await _add(client, words[0], arguments)
    if arguments.action == "show":
        issue = await _one(client, words[0])
        out(plain(issue) if arguments.json else entry(issue))
        return 0
    await client.remove_known_issue(words[0])
    out({"removed": words[0]} if arguments.json else f"Removed {words[0]}.")
    return 0


def _list(found: list[KnownIssue], arguments: argparse.Namespace) -> int:
    if arguments.json:
        out([plain(issue) for issue in found])
        return 0
    width = max((len(issue.id) for issue in found), default=0)
    lines = [f"{issue.id:<{width}}  {issue.title}{_marks(issue)}" for issue in found]
    out("\n".join(lines) or "No known issue holds these words.")
    return 0


async def _one(client: ApiClient, id: str) -> KnownIssue:
    found = next((issue for issue in await client.known_issues() if issue.id == id), None)
    if found is None:
        raise AppError(
            "unknown_issue", f"There is no known issue “{id}”.", "List them with `quarterdeck known-issues`."
        )
    return found


async def _add(client: ApiClient, file: str, arguments: argparse.Namespace) -> int:
    answer = await client.import_known_issues(await asyncio.to_thread(_page, file))
    taken = bool(answer.added or answer.replaced)
    out(plain(answer) if arguments.json else imported(answer))
    if not arguments.json:
        for problem in answer.problems:
            note(problem)
    return 0 if taken else 1


def _page(file: str) -> str:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).expanduser().read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise AppError("file_missing", f"{file} cannot be read: {error.strerror}.", "Check its name.") from error
    except UnicodeDecodeError as error:
        raise AppError("not_utf8", f"{file} is not a text in UTF-8.", "Save it as UTF-8 and add it again.") from error


def imported(answer: ImportedIssues) -> str:
    """What came of a page, in a sentence for each."""
    lines = [f"Added {id}." for id in answer.added] + [f"Replaced {id}." for id in answer.replaced]
    if answer.problems:
        lines.append(f"{len(answer.problems)} could not be read:")
    return "\n".join(lines)


def entry(issue: KnownIssue) -> str:
    """One entry, to be read."""
    parts = [f"{issue.title}{_marks(issue)}", issue.cause]
    parts += [f"{' × '.join(each.services)}\n{_indented(each.effect)}" for each in issue.affected]
    if issue.workarounds:
        parts.append("What helps")
        parts += [f"{number}. {step}" for number, step in enumerate(issue.workarounds, 1)]
    told = {
        "Versions": issue.versions,
        "Checked": issue.checked.isoformat() if issue.checked else "",
        "Source": issue.source,
    }
    parts.append("\n".join(f"{name}: {text}" for name, text in told.items() if text))
    return "\n\n".join(part for part in parts if part)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _marks(issue: KnownIssue) -> str:
    marks = ["mended in newer versions"] if issue.still_applies is False else []
    marks += ["your own"] if issue.own else []
    return f" ({', '.join(marks)})" if marks else ""
