"""What this log can't be faster than, on the machine that it is measured on."""
