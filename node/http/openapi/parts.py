"""What the descriptions of all requests are made of: schemas, parameters, answers and problems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from infra.http.problems import PROBLEM_JSON
from node.http.reading.query import MAX_OFFSET

Json = dict[str, Any]

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
TEXT: Final = "text/plain"
EVENTS: Final = "text/event-stream"


def obj(properties: Mapping[str, Json], *, optional: Sequence[str] = (), **keywords: Any) -> Json:
    """An object with these properties and no others; all but the ``optional`` ones are always there."""
    required = [name for name in properties if name not in optional]
    return {
        "type": "object",
        "properties": dict(properties),
        **({"required": required} if required else {}),
        "additionalProperties": False,
        **keywords,
    }


def text(description: str = "", **keywords: Any) -> Json:
    return {"type": "string", **({"description": description} if description else {}), **keywords}


def whole(description: str = "", *, least: int = 0, **keywords: Any) -> Json:
    return {
        "type": "integer",
        "minimum": least,
        **({"description": description} if description else {}),
        **keywords,
    }


def array(items: Json) -> Json:
    return {"type": "array", "items": items}


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


OFFSET: Final = whole(maximum=MAX_OFFSET)
EMPTY: Final[Json] = {}


def query(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def header(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "header", "description": description, "schema": schema}


def content(**forms: Json) -> Json:
    """Bodies by the names of the media types above, in lower case: ``content(json=schema)``."""
    types = {"json": JSON, "ndjson": NDJSON, "text": TEXT, "events": EVENTS, "bytes": "application/octet-stream"}
    return {types[name]: {"schema": schema} for name, schema in forms.items()}


def answer(description: str, body: Json | None = None, headers: Sequence[str] = ()) -> Json:
    """``headers`` are names of the document's headers; one that ends in ? may be missing."""
    return {
        "description": description,
        **({"headers": {name.rstrip("?"): header_ref(name) for name in headers}} if headers else {}),
        **({"content": body} if body is not None else {}),
    }


def header_ref(name: str) -> Json:
    kind = "optional-" if name.endswith("?") else ""
    return {"$ref": f"#/components/headers/{kind}{name.rstrip('?')}"}


@dataclass(frozen=True, slots=True)
class Problem:
    """Problems of one status that look alike. ``appended`` is None where the field is missing.

    ``fields`` are those that all of them have, ``sometimes`` those that some have.
    """

    codes: Sequence[str]
    retry: str
    appended: str | None = None
    fields: Mapping[str, Json] = field(default_factory=dict)
    sometimes: Mapping[str, Json] = field(default_factory=dict)
    headers: Sequence[str] = ()

    def schema(self, status: int) -> Json:
        return obj(
            {
                "type": text(pattern="^urn:replog:problem:"),
                "title": text(),
                "status": {"const": status},
                "detail": text(),
                "code": {"enum": list(self.codes)},
                **({"appended": {"const": self.appended}} if self.appended else {}),
                "retry": {"const": self.retry},
                **self.fields,
                **self.sometimes,
            },
            optional=list(self.sometimes),
        )


Problems = Mapping[int, Sequence[Problem]]


def refusals(*all_problems: Problems) -> Json:
    """The answers that are problems, by status."""
    by_status: dict[int, list[Problem]] = {}
    for problems in all_problems:
        for status, some in problems.items():
            by_status.setdefault(status, []).extend(some)
    return {str(status): _refusal(status, some) for status, some in sorted(by_status.items())}


def _refusal(status: int, problems: Sequence[Problem]) -> Json:
    schemas = [problem.schema(status) for problem in problems]
    # A header that not all of these problems have is optional for the status.
    names = {name for problem in problems for name in problem.headers}
    always = [
        name if all(name in problem.headers for problem in problems) else f"{name.rstrip('?')}?" for name in names
    ]
    codes = [f"`{code}`" for problem in problems for code in problem.codes]
    body = {PROBLEM_JSON: {"schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas}}}
    return answer(", ".join(codes), body, sorted(always))
