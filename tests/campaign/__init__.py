"""The fault campaign: real processes, a real broker, and everything that may break, at random moments."""
