"""What logs and sentences tell, read beside the loop and kept, since the same is asked at every look."""

from __future__ import annotations

import asyncio
from functools import lru_cache

from quarterdeck.diagnosis.matcher import diagnose_text
from quarterdeck.schemas.diagnosis import Diagnosis
from quarterdeck.schemas.models import AttemptView

_MOST_KEPT = 200

_read = lru_cache(_MOST_KEPT)(diagnose_text)


async def of_attempt(attempt: AttemptView) -> Diagnosis | None:
    """The log of the attempt read anew, since rules get better; None where it does not tell the cause on record."""
    told = await asyncio.to_thread(
        _read,
        attempt.log_tail,
        attempt.backend,
        exit_code=attempt.exit_code,
        signal=attempt.signal,
        nvml=attempt.circumstances.nvml if attempt.circumstances else None,
    )
    return told if told.failure_class == attempt.failure_class else None


async def of_sentence(text: str, service: str) -> Diagnosis:
    """What an error means that a server or a client was told."""
    return await asyncio.to_thread(_read, text, service)
