"""The benchmark: this log, its limits and its durable peers, side by side on one machine."""
