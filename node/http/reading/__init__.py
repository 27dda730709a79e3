"""What every node serves of its log."""
