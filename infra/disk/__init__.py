"""The threads on which a log is written and read, so that the event loop never waits for the disk."""
