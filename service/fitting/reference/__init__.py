"""The least-squares answer every fit is measured against."""
