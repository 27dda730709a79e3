"""docs/architecture.md, and the paths in the README, against the tree that they describe."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGE = (ROOT / "docs" / "architecture.md").read_text()
TOPS = ("replicated_log", "infra", "node", "master", "secondary", "client", "tests")
MIRRORED = ROOT / "tests" / "unit"
"""Below it the tree is that of the code, which is on the page already."""

_SPAN = re.compile(r"`([^`\n]+)`")
_DRAWN = re.compile(r"[a-z_]+(?:/|\.py)")
_METHOD = re.compile(r"[A-Z]+[a-z]+[A-Za-z]*\.[a-z_]+")
_PATH = re.compile(rf"(?<![\w/.:])(?:{'|'.join(TOPS)})/(?:[a-z_]+/)*(?:[a-z_]+\.py)?")
_COMMAND = re.compile(r"\$|(make|curl|python|docker|pip|git) ")


def spans() -> list[str]:
    """What the page sets as code."""
    return _SPAN.findall(PAGE)


def paths(text: str) -> Iterator[str]:
    """Those spans of a page that name a file or a folder, from the root of the tree."""
    for span in _SPAN.findall(text):
        is_request = span.startswith("/") or " " in span
        if not is_request and ("/" in span or span.endswith((".py", ".md", ".toml"))):
            yield span


def missing(names: Iterable[str]) -> list[str]:
    """Those that match nothing in the tree. A folder's name ends in a slash."""
    return [name for name in names if not any(found.is_dir() == name.endswith("/") for found in ROOT.glob(name))]


def rooms() -> list[str]:
    """Every folder of the tree that holds code."""
    files = [file for top in TOPS for file in (ROOT / top).rglob("*.py")]
    folders = {file.parent for file in files if MIRRORED not in file.parent.parents}
    return sorted(f"{folder.relative_to(ROOT)}/" for folder in folders)


def drawing() -> str:
    return "\n".join(line for line in PAGE.splitlines() if line.startswith("    "))


def test_every_file_and_folder_that_the_page_names_exists() -> None:
    named = list(paths(PAGE))
    assert len(named) > 50
    assert missing(named) == []


def test_every_file_and_folder_that_the_readme_names_exists() -> None:
    named = _PATH.findall((ROOT / "README.md").read_text())
    assert "master/facade.py" in named
    assert missing(named) == []


def test_every_room_of_the_tree_is_on_the_page() -> None:
    found = rooms()
    assert "replicated_log/wire/" in found
    assert [room for room in found if room not in spans()] == []


def test_every_room_and_file_of_the_drawing_exists() -> None:
    drawn = set(_DRAWN.findall(drawing()))
    assert {"wire/", "timings.py"} <= drawn
    existing = {f"{Path(room).name}/" for room in rooms()} | {file.name for file in ROOT.glob("replicated_log/*.py")}
    assert drawn - existing == set()


def test_every_room_of_the_code_is_drawn() -> None:
    drawn = set(_DRAWN.findall(drawing()))
    below = ("replicated_log/", "infra/")
    wanted = {f"{top}/" for top in TOPS if top != "tests"} | {
        room.split("/")[1] + "/" for room in rooms() if room.startswith(below) and room not in below
    }
    assert wanted - drawn == set()


@pytest.mark.parametrize("method", sorted({span for span in spans() if _METHOD.fullmatch(span)}))
def test_every_method_that_the_page_names_exists(method: str) -> None:
    owner, name = method.split(".")
    sources = [file.read_text() for top in TOPS[:-1] for file in (ROOT / top).rglob("*.py")]
    owners = [source for source in sources if re.search(rf"^class {owner}\b", source, re.MULTILINE)]
    assert any(re.search(rf"^ +(async )?def {name}\(", source, re.MULTILINE) for source in owners)


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_a_page_has_no_commands_as_no_test_runs_them(page: Path) -> None:
    lines = [line.strip() for line in page.read_text().splitlines() if line.startswith("    ")]
    commands = [text for text in [*lines, *_SPAN.findall(page.read_text())] if _COMMAND.match(text)]
    assert commands == []


def test_names_that_do_not_exist_are_found() -> None:
    text = "see `infra/nothing/`, `node/settings.py`, `node/nothing.py`, `node/settings.py/`, `GET /x` and `w`"
    assert missing(paths(text)) == ["infra/nothing/", "node/nothing.py", "node/settings.py/"]
