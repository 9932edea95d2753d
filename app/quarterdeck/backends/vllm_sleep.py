"""Putting a vLLM server to sleep and waking it, where it was started in a way that offers that."""

from __future__ import annotations

from collections.abc import Mapping

from quarterdeck.backends.base import EngineFailed
from quarterdeck.backends.remote import Remote, ServerRefused
from quarterdeck.errors import AppError

SLEEP_SECONDS = 120.0
"""Level 1 copies the weights to main memory."""
WHO = "vLLM"
_NOT_OFFERED = (404, 405)


async def is_asleep(remote: Remote, url: str, headers: Mapping[str, str]) -> bool | None:
    """Whether the server sleeps; None where it does not offer that. Raises AppError when it is not there."""
    try:
        answer = await remote.json("GET", f"{url}/is_sleeping", who=WHO, headers=headers)
    except ServerRefused as refused:
        if refused.upstream_status in _NOT_OFFERED:
            return None
        raise
    return isinstance(answer, dict) and answer.get("is_sleeping") is True


async def put_to_sleep(remote: Remote, url: str, headers: Mapping[str, str], level: int) -> bool:
    """Give the GPU memory back: 1 keeps the weights in main memory, 2 drops them. False where it is not offered."""
    query = {"level": str(level)}
    try:
        await remote.json("POST", f"{url}/sleep", who=WHO, headers=headers, query=query, timeout=SLEEP_SECONDS)
    except ServerRefused as refused:
        if refused.upstream_status in _NOT_OFFERED:
            return False
        raise
    # Without sleep mode the call is accepted and nothing happens.
    return await is_asleep(remote, url, headers) is True


async def wake_up(remote: Remote, url: str, headers: Mapping[str, str], level: int, timeout: float) -> None:
    """Make a sleeping server answer again within `timeout` seconds. Raises EngineFailed."""
    try:
        if level == 2:
            # The weights have a place again before they are read into it; the KV cache comes last.
            await _post(remote, f"{url}/wake_up", headers, timeout, query={"tags": "weights"})
            await _post(remote, f"{url}/collective_rpc", headers, timeout, body={"method": "reload_weights"})
            await _post(remote, f"{url}/wake_up", headers, timeout, query={"tags": "kv_cache"})
        else:
            await _post(remote, f"{url}/wake_up", headers, timeout)
        still = await is_asleep(remote, url, headers)
    except AppError as error:
        raise EngineFailed(None, [error.sentence]) from error
    if still:
        raise EngineFailed(None, ["vLLM was asked to wake up and still sleeps"])


async def _post(
    remote: Remote, url: str, headers: Mapping[str, str], timeout: float, *, query: Mapping[str, str] | None = None,
    body: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    await remote.json("POST", url, who=WHO, headers=headers, query=query, body=body, timeout=timeout)
