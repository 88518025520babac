"""What a person at a terminal uses of a running service: fits that are sent, watched, cancelled and shown."""
