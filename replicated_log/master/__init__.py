"""The master's half of the protocol: ``reign`` decides what to commit, publish and answer.

The other files are parts of it. Nothing here does I/O or reads a clock.
"""
