"""The replicated log itself, free of network, clock and event loop.

``batch``          what is stored, published and re-sent, byte for byte the same on every node
``delivery``       what the nodes say to each other, and its form on the wire
``log``            the log on one node's disk: one process writes (``directory_lock``), others read (``log_reader``)
``check``          verifying logs, as ``python -m replicated_log check`` does
``write_concern``  how many nodes must hold a record
``reign``          the master's half of the protocol, with ``progress`` (who holds what) and ``waiters`` (who waits)
``intake``         the secondary's half of the protocol, with its ``delay_line``
"""
