"""Which of several forms of an answer a client wants."""

from collections.abc import Sequence

from aiohttp import web


def preferred(request: web.Request, offered: Sequence[str]) -> str:
    """The one of ``offered`` that the client's Accept names with the highest q, the first named of equals.

    The first of ``offered`` when it names none: an answer in another form says more than a refusal.
    """
    best, best_q = offered[0], 0.0
    for named in ",".join(request.headers.getall("Accept", ())).lower().split(","):
        media_type, *parameters = (part.strip() for part in named.split(";"))
        q = next((_q(parameter[2:]) for parameter in parameters if parameter.startswith("q=")), 1.0)
        if q > best_q:
            if media_type in offered:
                best, best_q = media_type, q
            elif media_type in {"*/*", "application/*"}:
                best, best_q = offered[0], q
    return best


def _q(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0
