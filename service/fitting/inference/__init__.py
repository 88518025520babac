"""What the data say about the reference: standard errors, tests, intervals, and what one row weighs."""
