"""The log on one node's disk: one process writes it (``log``), others read (``log_reader``) or verify it (``check``).

This is plain blocking code over SQLite: the caller owns the thread.
"""
