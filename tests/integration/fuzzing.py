"""Requests made from the OpenAPI document, good ones and bad ones, and their answers held against it."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode, Response, SerializationContext
from schemathesis.checks import CheckContext
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

Operation = APIOperation[Any, Any, Any, Any]
AnyCase = Case[Any]

SHORT_S = 0.02
"""What a request that may wait is given, whatever it asks for: nobody waits for records that do not come."""
EXAMPLES = 100
"""Requests of one operation and kind in a row."""
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SOME_RECORDS = 20
FORMS = [None, "application/json", "application/x-ndjson", "text/plain", "application/*;q=0.5, */*;q=0.1"]
"""What is accepted. Not events: their answer has no end."""


def requests_wanted() -> int:
    """``FUZZ_REQUESTS`` in the environment asks for more, or fewer."""
    return int(os.environ.get("FUZZ_REQUESTS", "20000"))


@schemathesis.serializer("application/x-ndjson")
def serialize_lines(_: SerializationContext, value: Any) -> bytes:
    """Lines that can be read, out of any text."""
    lines = value.splitlines() if isinstance(value, str) else [value]
    return "".join(json.dumps(line) + "\n" for line in lines).encode(errors="surrogatepass")


class Fuzzer:
    """Sends each request to all nodes, and counts their answers by status."""

    def __init__(self, document: dict[str, Any], urls: Sequence[str]) -> None:
        self.counts: dict[str, Counter[int]] = {url: Counter() for url in urls}
        self._schema = schemathesis.openapi.from_dict(document)
        self._operations = [result.ok() for result in self._schema.get_all_operations() if isinstance(result, Ok)]
        self._session = requests.Session()
        self._session.trust_env = False

    def run(self, wanted: int) -> None:
        """Send so many requests, and what it takes to end the round. Raises when an answer is not as described."""
        with self._session:
            for case in self._bounds():
                self._send(case, None)
            while sum(counts.total() for counts in self.counts.values()) < wanted:
                for operation in self._operations:
                    for mode in _modes(operation):
                        self._send_some(operation, mode)

    def _bounds(self) -> Iterator[AnyCase]:
        """Each value at its bounds, and just beyond, one after the other."""
        for operation in self._operations:
            yield from self._schema.iter_coverage_cases(
                operation,
                generation_modes=list(GenerationMode),
                generation_config=self._schema.config.generation_for(operation=operation),
            )

    def _send_some(self, operation: Operation, mode: GenerationMode) -> None:
        @settings(
            max_examples=EXAMPLES * (2 if operation.method == "post" else 1),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(
            case=operation.as_strategy(generation_mode=mode),
            accept=st.sampled_from(FORMS),
            at_home=st.booleans() if mode.is_positive else st.just(False),
        )
        def send(case: AnyCase, accept: str | None, at_home: bool) -> None:
            if at_home:
                _bring_home(case)
            self._send(case, accept)

        send()

    def _send(self, case: AnyCase, accept: str | None) -> None:
        _keep_short(case)
        headers = {} if accept is None else {"Accept": accept}
        for url, counts in self.counts.items():
            response = case.call(base_url=url, session=self._session, headers=headers, timeout=60)
            case.validate_response(response, checks=CHECKS, additional_checks=[no_fault])
            counts[response.status_code] += 1


def no_fault(_: CheckContext, response: Response, case: AnyCase) -> None:
    """A fault of the node is described, and must not happen all the same."""
    assert response.status_code != 500, case.as_curl_command()


def _modes(operation: Operation) -> list[GenerationMode]:
    """A request that takes nothing can't be a bad one."""
    takes_something = bool(operation.body or list(operation.iter_parameters()))
    return list(GenerationMode) if takes_something else [GenerationMode.POSITIVE]


def _bring_home(case: AnyCase) -> None:
    """Bring what is good on some cluster to what is good on this one: few nodes, few records, an end that moves."""
    case.headers.pop("If-Match", None)
    if "offset" in case.path_parameters:
        case.path_parameters["offset"] %= SOME_RECORDS
    if "min_offset" in case.query:
        case.query["min_offset"] %= SOME_RECORDS
    for where in (case.query, case.body):
        if isinstance(where, dict) and "w" in where:
            where["w"] = "majority"


def _keep_short(case: AnyCase) -> None:
    """Let no request wait for long, nor let the secondary delay others; what makes no sense stays as it is."""
    body, method = case.body, case.operation.method.upper()
    if method == "PUT" and isinstance(body, dict):
        for name, value in body.items():
            if isinstance(value, int | float) and 0 <= value <= 3600:
                body[name] = min(value, SHORT_S)
    elif method == "POST" and isinstance(body, dict):
        _shorten(body, SHORT_S)
    elif case.operation.path.startswith("/messages"):
        _shorten(case.query, str(SHORT_S))


def _shorten(where: dict[str, Any], short: float | str) -> None:
    try:
        is_long = 0 < float(where.get("timeout", 60)) <= 3600
    except (TypeError, ValueError):
        is_long = False
    if is_long:
        where["timeout"] = short
