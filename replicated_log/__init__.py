"""The replicated log itself, free of network, clock and event loop: events go in, decisions come out.

``wire``           what nodes say to each other and store, byte for byte
``storage``        the log on one node's disk
``master``         the master's half of the protocol: its ``reign`` decides
``secondary``      the secondary's half of the protocol: its ``intake`` decides
``write_concern``  how many nodes must hold a record
``timings``        how long the protocol and the sessions with the broker wait
"""
