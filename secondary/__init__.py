"""A secondary: follows the master's log, keeps it on its own disk, and says so."""
