"""The errors of a log on disk. They are here because code that never opens a log handles them too."""


class CorruptLogError(Exception):
    """Raised when stored bytes are not what was written; ``fault`` says what is wrong with them.

    ``offset`` is that of the first record that can't be trusted.
    """

    def __init__(self, offset: int, fault: str) -> None:
        super().__init__(f"the log is corrupt at offset {offset}: {fault}")
        self.offset = offset
        self.fault = fault


class DiskFullError(Exception):
    """Raised by a write to a log when the disk has no room. Nothing of this write is stored, and the log can go on."""


class WrongLogError(Exception):
    """Raised when a log can't be opened here.

    It belongs to another node, has a format that this program does not know, or SQLite can't write it durably.
    """


class LogInUseError(Exception):
    """Raised when another process holds a data directory; the text names both."""
