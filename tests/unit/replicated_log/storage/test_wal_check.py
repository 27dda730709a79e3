"""SQLite's journal as a killed process leaves it is taken; a damaged one is refused, and left as it is."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from replicated_log.storage.log import Log
from replicated_log.storage.log_reader import LogReader
from replicated_log.storage.wal_check import damaged_at, journal
from replicated_log.wire.batch import MAX_BATCH_BYTES
from replicated_log.wire.errors import CorruptLogError, DiskFullError
from tests.unit.builders import LOG_ID, make_batches

HEADER = 32
FRAME_HEADER = 24
FRAME = FRAME_HEADER + 4096
BATCHES = make_batches(*[f"message {n}" for n in range(6)], "x" * 20_000, "the last but one", "the last")


class Killed:
    """A log directory as kill -9 leaves it, and how long its journal was after each commit of one batch of BATCHES."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "killed"
        self.ends: list[int] = []
        # Or its journal would be as long as it became when the log was made, until more than that is in it.
        Log.open(directory / "living", "node1").close()
        with closing(Log.open(directory / "living", "node1")) as log:
            log.adopt(LOG_ID)
            for batch in BATCHES:
                log.append([batch])
                self.ends.append(journal(log.directory).stat().st_size)
            shutil.copytree(log.directory, self.directory)
        self.journal = journal(self.directory)
        self.bytes = self.journal.read_bytes()

    def change(self, at: int, new: bytes) -> None:
        self.journal.write_bytes(self.bytes[:at] + new + self.bytes[at + len(new) :])

    def flip(self, at: int, bit: int = 0) -> None:
        self.change(at, bytes([self.bytes[at] ^ 1 << bit]))

    def records_below(self, at: int) -> int:
        """How many records the commits hold that end at or below a byte of the journal."""
        return sum(end <= at for end in self.ends)


@pytest.fixture
def killed(tmp_path: Path) -> Killed:
    return Killed(tmp_path)


def opened_end(directory: Path) -> int:
    with closing(Log.open(directory, "node1")) as log, closing(LogReader.open(directory)) as reader:
        assert reader.read(0, MAX_BATCH_BYTES) == BATCHES[: log.end.offset]
        return log.end.offset


def frame_of(at: int) -> int:
    """Where the frame begins that has this byte; 0 for the header."""
    return 0 if at < HEADER else HEADER + (at - HEADER) // FRAME * FRAME


def test_a_whole_journal_is_taken(killed: Killed) -> None:
    assert len(killed.bytes) == killed.ends[-1]
    assert damaged_at(killed.directory) is None
    assert opened_end(killed.directory) == len(BATCHES)


def test_a_journal_that_ends_anywhere_is_taken(killed: Killed) -> None:
    edges = [at for start in range(HEADER, len(killed.bytes), FRAME) for at in (start, start + FRAME_HEADER)]
    for length in {0, 1, HEADER - 1, *edges, *(at + 1 for at in edges), *range(0, len(killed.bytes), 1009)}:
        killed.journal.write_bytes(killed.bytes[:length])
        assert damaged_at(killed.directory) is None, length


def test_of_a_journal_that_ends_in_a_commit_the_commits_before_are_taken(killed: Killed) -> None:
    cut = killed.ends[6] - 1
    killed.journal.write_bytes(killed.bytes[:cut])
    assert opened_end(killed.directory) == 6


def test_a_torn_commit_is_no_damage_whatever_part_of_it_is_on_disk(killed: Killed) -> None:
    """A power cut may leave any of the frames of the last commit, in any order."""
    begin, end = killed.ends[5], killed.ends[6]
    frames = range(begin, end, FRAME)
    assert len(frames) > 3
    for lost in range(1, 2 ** len(frames)):
        torn = bytearray(killed.bytes[:end])
        for number, at in enumerate(frames):
            if lost >> number & 1:
                torn[at : at + FRAME] = bytes(FRAME)
        killed.journal.write_bytes(torn)
        assert damaged_at(killed.directory) is None
    assert opened_end(killed.directory) == 6


def test_a_flipped_bit_before_the_last_two_commits_is_found_wherever_it_is(killed: Killed) -> None:
    random = Random(1)
    headers = [at + n for at in range(HEADER, killed.ends[-3], FRAME) for n in range(FRAME_HEADER)]
    for at in [*range(HEADER), *headers, *random.sample(range(HEADER, killed.ends[-3]), 300)]:
        # The header says which versions and how many checkpoints too: they are of use to nobody but its checksum.
        killed.flip(at, random.randrange(8))
        assert damaged_at(killed.directory) == frame_of(at), at


def test_a_flipped_bit_in_the_last_but_one_commit_is_found_outside_of_its_frame_header(killed: Killed) -> None:
    begin = killed.ends[-3]
    assert killed.ends[-2] == begin + FRAME
    for at in range(begin + FRAME_HEADER, begin + FRAME, 11):
        killed.flip(at)
        assert damaged_at(killed.directory) == begin


def test_damage_in_the_last_commit_can_not_be_told_from_a_torn_end(killed: Killed) -> None:
    killed.flip(killed.ends[-2] + FRAME_HEADER)
    assert opened_end(killed.directory) == len(BATCHES) - 1


@pytest.mark.parametrize("commit", range(len(BATCHES) - 2))
def test_a_damaged_journal_is_refused_with_the_end_of_what_is_sound_and_left_as_it_is(
    killed: Killed, commit: int
) -> None:
    at = killed.ends[commit] - 1
    killed.flip(at)
    before = killed.journal.read_bytes()
    for _ in range(2):
        with pytest.raises(CorruptLogError, match=rf"log\.sqlite-wal is damaged at byte {frame_of(at)},") as refused:
            Log.open(killed.directory, "node1")
        assert refused.value.offset == killed.records_below(at) == commit
        assert killed.journal.read_bytes() == before


def test_a_damaged_header_of_the_journal_loses_all_that_is_in_it_and_is_refused(killed: Killed) -> None:
    killed.flip(0)
    with pytest.raises(CorruptLogError, match="damaged at byte 0,") as refused:
        Log.open(killed.directory, "node1")
    assert refused.value.offset == 0


def leave_after_a_reset(log: Log) -> None:
    """The frames of before have other salts than the two commits that begin the journal anew."""
    log.append(BATCHES[:7])
    log._connection.execute("PRAGMA wal_checkpoint(RESTART)")
    log.append(BATCHES[7:8])
    log.append(BATCHES[8:])


def leave_after_a_rollback(log: Log) -> None:
    """What a commit that found no room had written is followed by smaller commits."""
    log.append(BATCHES[:7])
    log._connection.execute("PRAGMA cache_size = 5")
    log._connection.execute("PRAGMA max_page_count = 300")
    for size in (1_000_000, 500_000):
        with pytest.raises(DiskFullError):
            log.append(make_batches("x" * size, "x" * 2_000_000, previous=log.end))
    log.append(BATCHES[7:8])
    log.append(BATCHES[8:])


@pytest.mark.parametrize("leave", [leave_after_a_reset, leave_after_a_rollback])
def test_what_is_left_over_after_the_end_is_no_damage(tmp_path: Path, leave: Callable[[Log], None]) -> None:
    directory = tmp_path / "killed"
    with closing(Log.open(tmp_path / "living", "node1")) as log:
        log.adopt(LOG_ID)
        leave(log)
        shutil.copytree(log.directory, directory)
    used = valid_bytes(directory)
    whole = journal(directory).read_bytes()
    assert len(whole) > used + 5 * FRAME
    for at in (used, used + FRAME, used + 3 * FRAME - 1, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        journal(directory).write_bytes(damaged)
        assert damaged_at(directory) is None
    journal(directory).write_bytes(whole)
    assert damaged_at(directory) is None
    assert opened_end(directory) == len(BATCHES)


def valid_bytes(directory: Path) -> int:
    """How much of the journal SQLite itself takes."""
    copy = directory.with_name("counted")
    shutil.copytree(directory, copy)
    with closing(Log.open(copy, "node1")) as log:
        frames: int = log._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
        return HEADER + frames * FRAME


def test_what_is_left_of_a_torn_commit_is_no_damage_when_the_journal_goes_on(killed: Killed, tmp_path: Path) -> None:
    """With a reader, which SQLite waits for, the journal is not begun anew, and the next commits overwrite a part."""
    begin, end = killed.ends[5], killed.ends[6]
    killed.journal.write_bytes(killed.bytes[:begin] + bytes(FRAME) + killed.bytes[begin + FRAME : end])
    with closing(LogReader.open(killed.directory)) as reader:
        reader._connection.execute("BEGIN")
        assert reader.read(0, MAX_BATCH_BYTES) == BATCHES[:6]
        with closing(Log.open(killed.directory, "node1")) as log:
            log.append(make_batches("another", previous=log.end))
            again = tmp_path / "killed again"
            shutil.copytree(killed.directory, again)
    assert len(journal(again).read_bytes()) == end
    assert damaged_at(again) is None
    with closing(Log.open(again, "node1")) as log:
        assert log.end.offset == 7
