"""A worker that Prefect does not hear from ends its processes before others start them again."""

from __future__ import annotations

import pytest

from tests.support.eventually import eventually
from vibesurf_blocks.worker import fence
from vibesurf_blocks.worker.fence import FENCE_SECONDS, Fence
from vibesurf_blocks.worker.recovery import WORKER_SILENCE


def test_a_worker_ends_its_processes_before_others_take_it_for_dead() -> None:
    longest = FENCE_SECONDS + fence._SIGN_SECONDS + fence._ANSWER_SECONDS
    assert longest < WORKER_SILENCE


@pytest.mark.parametrize(
    ("arrives", "at_risk", "ends"),
    [(False, True, True), (False, False, False), (True, True, False)],
    ids=["cut-off", "alone", "heard"],
)
async def test_only_who_is_cut_off_from_others_ends_its_processes(
    monkeypatch: pytest.MonkeyPatch, arrives: bool, at_risk: bool, ends: bool
) -> None:
    looks = signs = ended = 0
    # A clock of its own: each look takes a second.
    monkeypatch.setattr(fence, "monotonic", lambda: float(looks))
    monkeypatch.setattr(fence, "_SIGN_SECONDS", 0.001)

    async def sign() -> None:
        nonlocal signs
        signs += 1
        if not arrives:
            raise OSError("no route to host")

    def end() -> int:
        nonlocal ended
        ended += 1
        return 1

    def asked() -> bool:
        nonlocal looks
        looks += 1
        return at_risk

    async def enough() -> bool:
        return looks > 20 or ended > 0

    watch = Fence(sign, asked, end)
    watch.start()
    await eventually(enough, timeout=30)
    await watch.stop()
    assert (ended > 0) is ends
    assert (signs > 0) is at_risk
