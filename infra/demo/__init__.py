"""The demo: three nodes and a client, started on this machine and shown on one screen."""
