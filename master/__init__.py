"""The master: takes messages over HTTP, appends them to its log, and answers when enough nodes hold them."""
