"""The outside world: code here does I/O, and decides nothing about the log."""
