"""Configuration files in git: their state, and commit, revert and stash of exactly these files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from quarterdeck.errors import AppError

PATIENCE_S = 20.0
MESSAGE = "Keep the configuration as it is in use"
_STASH = "quarterdeck: set aside"


class GitState(StrEnum):
    """What git says of a file; `none` where there is no repository."""

    NONE = "none"
    CLEAN = "clean"
    MODIFIED = "modified"
    STAGED = "staged"
    UNTRACKED = "untracked"
    IGNORED = "ignored"


@dataclass(frozen=True)
class GitFile:
    """`last` is the newest commit that touched the file: short id, date and subject."""

    state: GitState
    root: Path | None = None
    last: str = ""

    @property
    def uncommitted(self) -> bool:
        return self.state in (GitState.MODIFIED, GitState.STAGED, GitState.UNTRACKED)


async def state_of(path: Path) -> GitFile:
    """The state of one file; `none` also where git is not installed."""
    root = await _root(path)
    if root is None:
        return GitFile(GitState.NONE)
    said = await _git(root, "status", "--porcelain=v1", "-z", "--ignored", "--", str(path))
    last = await _git(root, "log", "-1", "--format=%h %cs %s", "--", str(path))
    return GitFile(_state(said.out if said.code == 0 else ""), root, last.out.strip() if last.code == 0 else "")


async def difference(path: Path) -> str:
    """What changed since the last commit, as a patch; empty for a file that git does not know."""
    root = await _root(path)
    if root is None:
        return ""
    return (await _git(root, "diff", "--no-color", "--no-ext-diff", "HEAD", "--", str(path))).out


async def head(path: Path) -> str | None:
    """The file as it was committed last; None where there is no such version."""
    root = await _root(path)
    if root is None:
        return None
    said = await _git(root, "show", f"HEAD:{_inside(root, path)}")
    return said.out if said.code == 0 else None


async def commit(paths: Sequence[Path], message: str = MESSAGE) -> str:
    """Commit these files and nothing else; answers the short id. Raises AppError."""
    root = await _need(paths)
    names = [str(path) for path in paths]
    _well(await _git(root, "add", "--", *names), "added")
    _well(await _git(root, "commit", "--quiet", "-m", message, "--", *names), "committed")
    return (await _git(root, "rev-parse", "--short", "HEAD")).out.strip()


async def revert(paths: Sequence[Path]) -> None:
    """Bring the files back to the last commit. Raises AppError, also for a file that was never committed."""
    root = await _need(paths)
    _well(await _git(root, "checkout", "--quiet", "HEAD", "--", *(str(path) for path in paths)), "brought back")


async def stash(paths: Sequence[Path]) -> str:
    """Set the changes of these files aside; answers the id of what was set aside. Raises AppError."""
    root = await _need(paths)
    names = [str(path) for path in paths]
    before = (await _git(root, "rev-parse", "--quiet", "--verify", "refs/stash")).out.strip()
    _well(await _git(root, "stash", "push", "--quiet", "--include-untracked", "-m", _STASH, "--", *names), "set aside")
    after = (await _git(root, "rev-parse", "--quiet", "--verify", "refs/stash")).out.strip()
    if after == before:
        raise AppError("nothing_changed", "There is no change to set aside.", "", status=409)
    return after


async def unstash(root: Path, id: str) -> None:
    """Bring back what was set aside under `id`. Raises AppError when it is gone or does not fit any more."""
    listed = await _git(root, "stash", "list", "--format=%H %gd")
    name = next((line.split(" ", 1)[1] for line in listed.out.splitlines() if line.startswith(f"{id} ")), None)
    if name is None:
        raise AppError("stash_gone", "What was set aside is no longer there.", "Look at “git stash list”.", status=409)
    _well(await _git(root, "stash", "pop", "--quiet", name), "brought back")


@dataclass(frozen=True)
class _Said:
    code: int
    out: str
    err: str


async def _root(path: Path) -> Path | None:
    folder = path.parent
    if shutil.which("git") is None or not await asyncio.to_thread(folder.is_dir):
        return None
    said = await _git(folder, "rev-parse", "--show-toplevel")
    return Path(said.out.strip()) if said.code == 0 and said.out.strip() else None


async def _need(paths: Sequence[Path]) -> Path:
    root = await _root(paths[0])
    if root is None:
        raise AppError("no_repository", f"{paths[0]} is in no git repository.", "Make one with “git init”.", status=409)
    return root


async def _git(folder: Path, *arguments: str) -> _Said:
    """Run git there. It never asks anybody for anything, and runs nothing that the repository brings but its hooks."""
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_EDITOR": ":"}
    process = await asyncio.create_subprocess_exec(
        "git", "-C", str(folder), "-c", "core.fsmonitor=false", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=environment,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate()
    except TimeoutError:
        raise AppError("git_hangs", "git did not answer in time.", "Try it in a terminal.", status=504) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return _Said(process.returncode or 0, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def _state(porcelain: str) -> GitState:
    mark = porcelain[:2]
    if not mark.strip("\0"):
        return GitState.CLEAN
    if mark in ("??", "!!"):
        return GitState.UNTRACKED if mark == "??" else GitState.IGNORED
    return GitState.MODIFIED if mark[1] != " " else GitState.STAGED


def _inside(root: Path, path: Path) -> str:
    return os.path.relpath(path.resolve(), root.resolve())


def _well(said: _Said, done: str) -> None:
    if said.code == 0:
        return
    reason = " ".join((said.err or said.out).split())[:300]
    if "tell me who you are" in reason or "empty ident" in reason:
        raise AppError(
            "git_unknown_author",
            "git does not know who you are, so it commits nothing.",
            "Tell it once: git config --global user.name NAME, and user.email ADDRESS.",
            status=409,
        )
    raise AppError("git_failed", f"The file could not be {done}: {reason}", "Try it in a terminal.", status=409)
