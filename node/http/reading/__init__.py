"""The routes by which every node serves its log: pages, lines, events, single records and batches."""
