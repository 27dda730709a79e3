"""Why a request did not get the answer wanted. Each error that a node, or its absence, may cause is a NodeError."""

from typing import Literal

Truth = Literal["no", "yes", "unknown"]
"""Whether the messages of an append are in the log."""

Retry = Literal["safe", "same-key", "no"]
"""What may be done about it: send the same again; send it again with the idempotency key it had, or accept a second
copy; or nothing, since it would fail again."""


class NodeError(Exception):
    """A request without the answer wanted. Its text is one line for people, and may hold what the node sent.

    `appended` tells whether the messages of an append are in the log; "no" for every other request.
    `retry_after_s` is how long the node wants to be left alone, 0 when it does not say.
    """

    def __init__(self, text: str, appended: Truth, retry: Retry = "no", retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.appended = appended
        self.retry = retry
        self.retry_after_s = retry_after_s


class UnreachableError(NodeError):
    """There was no connection to the node, or no whole answer on it in time."""


class NoConnectionError(UnreachableError):
    """Nobody took the connection, so nothing was sent."""


class UnexpectedAnswerError(NodeError):
    """The answer is not one that a ReplicatedLog node gives."""


class AnswerTooLongError(UnexpectedAnswerError):
    """An answer above 16 MiB, not read further."""


class LogChangedError(NodeError):
    """The node that was followed has another log now, whose offsets mean other messages."""


class RefusedError(NodeError):
    """The node answered with a problem (RFC 9457). `code` is for programs; "" when the node gave none."""

    def __init__(
        self,
        title: str,
        detail: str,
        status: int,
        code: str,
        appended: Truth,
        retry: Retry = "no",
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(f"{title}: {detail}" if detail else title, appended, retry, retry_after_s)
        self.title = title
        self.detail = detail
        self.status = status
        self.code = code


class KeyReusedError(RefusedError):
    """The idempotency key belongs to other messages, which are in the log. These can't be appended with this key."""


class EndMismatchError(RefusedError):
    """The log did not end where the append should have gone. It ends at `end_offset`; nothing was appended."""

    end_offset: int | None = None


class NotHereInTimeError(RefusedError):
    """The node did not hold the offset to be waited for in time. Its log ends at `end_offset`."""

    end_offset: int | None = None


class NotReachedInTimeError(NodeError):
    """The messages are in the master's log from `offset` on, and will be replicated; fewer than w nodes held them in
    time."""

    def __init__(self, offset: int, acked: tuple[str, ...], missing: tuple[str, ...], retry: Retry = "no") -> None:
        by = ", ".join(missing) or "enough nodes"
        super().__init__(f"Appended at offset {offset}, not acknowledged in time by {by}.", "yes", retry)
        self.offset = offset
        self.acked = acked
        self.missing = missing
