"""What nodes say to each other and store, byte for byte: batches, deliveries, idempotency keys; and a log's errors."""
