"""Says what a file that is not GGUF looks like, so that people know what they have in hand."""

from __future__ import annotations

HEAD_BYTES = 512
OLD_GGML = "an old GGML model"

_AGAIN_AS_GGUF = "Download the model as GGUF."

# First bytes (lower case, leading space and byte-order mark removed), what they mean, what to do.
_KINDS: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    (
        (b"<!doctype", b"<html", b"<?xml", b"<head"),
        "a web page",
        "The download saved a page instead of the file. Download it again with the direct link.",
    ),
    (
        (b"version https://git-lfs",),
        "a Git LFS pointer",
        "Fetch the real file with “git lfs pull”, or download it from the model's page.",
    ),
    (
        (b"lmgg", b"fmgg", b"tjgg"),
        OLD_GGML,
        f"GGML files are no longer supported. {_AGAIN_AS_GGUF}",
    ),
    ((b"pk\x03\x04",), "a ZIP archive or PyTorch checkpoint", f"Unpack it if it is an archive. {_AGAIN_AS_GGUF}"),
    ((b"\x80\x02", b"\x80\x03", b"\x80\x04"), "a PyTorch checkpoint", _AGAIN_AS_GGUF),
    ((b"\x1f\x8b", b"7z\xbc\xaf", b"\xfd7zxz", b"\x28\xb5\x2f\xfd"), "a compressed archive", "Unpack it first."),
    ((b"{", b"["), "JSON text", "Choose the model file itself, which ends in .gguf."),
)


def describe(head: bytes) -> tuple[str, str]:
    """What the first bytes of a file look like (empty when nothing known), and what to do about it."""
    if len(head) > 9 and head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") < 1 << 32:
        return "a safetensors file", f"Use an engine that reads safetensors. {_AGAIN_AS_GGUF}"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").lower()
    for beginnings, looks_like, hint in _KINDS:
        if start.startswith(beginnings):
            return looks_like, hint
    if not any(head):
        return "a file of zeros", "The download was interrupted before its first bytes arrived. Download it again."
    return "", "Choose a file that ends in .gguf, or download the model again."
