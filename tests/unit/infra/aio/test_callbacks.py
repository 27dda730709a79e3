"""What a callback raises ends the task that waits for that."""

import asyncio
import sqlite3

import pytest

from infra.aio.callbacks import Callbacks


async def test_what_a_callback_raises_is_raised_by_who_waits_and_only_the_first() -> None:
    callbacks = Callbacks()
    called: list[str] = []

    def note(text: str) -> None:
        called.append(text)
        if text != "fine":
            raise RuntimeError(text)

    waits = asyncio.create_task(callbacks.failed())
    watched = callbacks.watched(note)
    for text in ("fine", "first", "second"):
        asyncio.get_running_loop().call_soon(watched, text)
    with pytest.raises(RuntimeError, match="first"):
        await waits
    assert called == ["fine", "first", "second"]


async def test_what_failed_before_somebody_waits_is_raised_then() -> None:
    callbacks = Callbacks()
    callbacks.watched(fail)(RuntimeError("no disk"))
    with pytest.raises(RuntimeError, match="no disk"):
        await callbacks.failed()


@pytest.mark.parametrize(
    ("error", "is_a_bug"), [(RuntimeError("no disk"), True), (sqlite3.OperationalError("no disk"), False)]
)
async def test_what_fails_when_nobody_waits_any_more_is_logged(
    error: Exception, is_a_bug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    callbacks = Callbacks()
    waits = asyncio.create_task(callbacks.failed())
    await asyncio.sleep(0)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    callbacks.watched(fail)(error)
    assert "no disk" in caplog.text
    assert ("Traceback" in caplog.text) is is_a_bug


def fail(error: Exception) -> None:
    raise error
