"""What other programs would print for the same least-squares question, and why it differs from the reference."""
