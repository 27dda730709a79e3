"""A secondary's request to the master for the batches that it lacks."""

from replicated_log.timings import Timings


class OutstandingFetch:
    """Invariant: at most one fetch is outstanding, that of the id that was asked with last.

    The first one may take ``timings.fetch_s``. Each timeout doubles the next one, up to ``timings.max_fetch_s``, and
    each answer sets it by the time it took: a slow way is not asked in vain.
    """

    def __init__(self, timings: Timings) -> None:
        self._timings = timings
        self._request_id: str | None = None
        self._asked_at = 0.0
        self._timeout_s = self._timings.fetch_s

    def __bool__(self) -> bool:
        return self._request_id is not None

    @property
    def deadline(self) -> float | None:
        """When it is given up; None when there is none."""
        return None if self._request_id is None else self._asked_at + self._timeout_s

    def ask(self, request_id: str, now: float) -> None:
        assert self._request_id is None
        self._request_id = request_id
        self._asked_at = now

    def answered(self, request_id: str, now: float) -> bool:
        """Whether this request is the outstanding one, which has its answer now."""
        if request_id != self._request_id:
            return False
        self._request_id = None
        self._timeout_s = min(max(self._timings.fetch_s, 2 * (now - self._asked_at)), self._timings.max_fetch_s)
        return True

    def given_up(self, now: float) -> bool:
        """Whether the outstanding fetch has timed out, and is outstanding no more."""
        if self.deadline is None or now < self.deadline:
            return False
        self._request_id = None
        self._timeout_s = min(2 * self._timeout_s, self._timings.max_fetch_s)
        return True

    def forget(self) -> None:
        """Wait for no answer: the master that was asked is gone, or is followed no more."""
        self._request_id = None

    def begin_anew(self) -> None:
        """There is another connection: how long answers took on the last one says nothing about it."""
        self._request_id = None
        self._timeout_s = self._timings.fetch_s
