"""The secondary's half of the protocol: ``intake`` decides what to persist, ack and fetch.

The other files are parts of it. Nothing here does I/O or reads a clock.
"""
