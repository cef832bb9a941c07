"""Many that ask at once share a read, and nobody gets an answer older than the question."""

from __future__ import annotations

import asyncio

import pytest

from vibesurf_blocks.api.shared_read import SharedRead


class Source:
    """Counts its reads, each of which ends when it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.reading = asyncio.Event()
        self.error: Exception | None = None
        self.gate = asyncio.Event()

    async def read(self) -> int:
        self.begun += 1
        self.reading.set()
        mine = self.begun
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return mine


async def test_those_who_ask_during_a_read_share_the_next_one() -> None:
    source = Source()
    shared = SharedRead(source.read)
    first = asyncio.create_task(shared())
    await source.reading.wait()
    later = [asyncio.create_task(shared()) for _ in range(20)]
    asyncio.get_running_loop().call_soon(source.gate.set)  # once all have asked
    assert await first == 1
    assert await asyncio.gather(*later) == [2] * 20
    assert source.begun == 2


async def test_an_answer_is_never_kept_for_a_later_question() -> None:
    source = Source()
    source.gate.set()
    shared = SharedRead(source.read)
    assert [await shared(), await shared(), await shared()] == [1, 2, 3]


async def test_an_error_reaches_everybody_who_asked_and_nobody_else() -> None:
    source = Source()
    source.error = RuntimeError("no answer")
    source.gate.set()
    shared = SharedRead(source.read)
    answers = await asyncio.gather(*(shared() for _ in range(5)), return_exceptions=True)
    assert answers == [source.error] * 5
    source.error = None
    assert await shared() == 2


async def test_who_gives_up_waiting_disturbs_nobody() -> None:
    source = Source()
    shared = SharedRead(source.read)
    impatient, patient = asyncio.create_task(shared()), asyncio.create_task(shared())
    await source.reading.wait()
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    source.gate.set()
    assert await patient == 1
