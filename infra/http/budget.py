"""How many bytes of requests a node keeps in memory, of all connections together."""

from infra.http.problems import HttpProblem


class Budget:
    """Counts bytes of requests that have come and are not answered yet. Invariant: at most ``most``."""

    __slots__ = ("_most", "held")

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def move(self, change: int) -> bool:
        """Count ``change`` bytes more, or fewer where it is negative. False, and nothing is counted: too many."""
        if change > 0 and self.held + change > self._most:
            return False
        self.held += change
        assert self.held >= 0
        return True

    def overloaded(self) -> HttpProblem:
        """What a client is told whose bytes were not counted."""
        return overloaded(f"requests with {self.held} bytes are under way; nothing was appended")


def overloaded(detail: str) -> HttpProblem:
    return HttpProblem(503, "overloaded", detail, headers={"Retry-After": "1"})
