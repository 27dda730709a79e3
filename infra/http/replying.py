"""A connection that answers requests by bytes, without the library."""

from collections.abc import Callable

from infra.http.budget import Budget
from infra.http.connection import Connection
from infra.http.direct import Target
from infra.http.limits import Limits
from infra.http.problems import failure
from infra.http.raw import response_bytes


class ReplyingConnection(Connection):
    """Invariant: at most one direct request is under way, and its answer is written once at most."""

    __slots__ = ("_forget", "is_replying")

    def __init__(self, limits: Limits, budget: Budget) -> None:
        super().__init__(limits, budget)
        self.is_replying = False
        """A request is handled directly."""
        self._forget: Callable[[], object] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        forget, self._forget = self._forget, None
        self.is_replying = False
        if forget is not None:
            forget()

    def request_ended(self, *, is_last: bool = False) -> None:
        """The answer to the request under way is written. Another one may begin, unless it ``is_last``."""
        raise NotImplementedError

    def handled(self, target: Target, body: bytes) -> bool:
        """Handle a request directly. False: its handler leaves it to the library, and nothing was done."""
        self.is_free = False
        self.is_replying = True
        try:
            taken = target.handler(body, self)
        except Exception as error:  # noqa: BLE001 - a fault in any handler is answered, and logged
            problem = failure(target.method, target.path, error, appended="unknown")
            if self.is_replying:
                self.is_replying = False
                self._forget = None
                # The handler may have kept the reply: sent later, it would answer another request.
                self.end(problem)
            taken = True
        if not taken:
            self.is_replying = False
            self._forget = None
        return taken

    def send(self, status: int, headers: str, body: bytes) -> None:
        """Answer the direct request under way. ``headers`` are lines, each with its end."""
        if not self.is_replying:
            return
        self.is_replying = False
        self._forget = None
        if not self.is_closing and not self.wire.is_closing():
            self.wire.write(response_bytes(status, headers, body))
            self.request_ended()

    def when_gone(self, forget: Callable[[], object]) -> None:
        """``forget`` is called when the client goes away before the answer is sent."""
        self._forget = forget
