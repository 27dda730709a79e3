"""What master and secondary have in common: settings, the process, log lines, health, metrics, and HTTP routes."""
