"""Files that a person chose, read and written beside the Qt loop; what goes wrong is told in words."""

from __future__ import annotations

from pathlib import Path

from quarterdeck.errors import AppError
from quarterdeck.gui.threads import in_thread

MIB = 1024**2


async def write(path: Path, content: str | bytes) -> None:
    """Write a text as UTF-8, or bytes as they are. Raises AppError."""
    data = content.encode() if isinstance(content, str) else content
    try:
        await in_thread("write file", lambda: path.write_bytes(data))
    except OSError as error:
        why = f"{path} could not be written: {error.strerror or error}."
        raise AppError("unwritable_file", why, "Choose another folder.") from error


async def read(path: Path, *, most: int) -> str:
    """The text of a file of at most `most` bytes. Raises AppError."""
    try:
        data = await in_thread("read file", lambda: _head(path, most + 1))
        if len(data) > most:
            hint = f"Choose a text of at most {most // MIB} MiB."
            raise AppError("file_too_large", f"{path.name} is too large to be read.", hint)
        return data.decode()
    except OSError as error:
        why = f"{path} could not be read: {error.strerror or error}."
        raise AppError("unreadable_file", why, "Choose another file.") from error
    except UnicodeDecodeError as error:
        raise AppError("not_text", f"{path.name} is not a text in UTF-8.", "Choose another file.") from error


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)
