"""HTTP as every node speaks it: connections and their bounds, bodies, problems."""
