"""What a log on disk raises, told here because those who only replicate it hear of it too."""


class CorruptLogError(Exception):
    """Raised when stored bytes are not what was written. ``offset`` is the first record that can't be trusted."""

    def __init__(self, offset: int, fault: str) -> None:
        super().__init__(f"the log is corrupt at offset {offset}: {fault}")
        self.offset = offset
        self.fault = fault


class DiskFullError(Exception):
    """Raised by :meth:`Log.append`: no room. Nothing of this append is stored, and the log can go on."""


class WrongLogError(Exception):
    """Raised by :func:`initialise`: what is in the directory belongs to another node, or to a newer program."""


class LogInUseError(Exception):
    """Raised when another process holds a data directory; names it."""
