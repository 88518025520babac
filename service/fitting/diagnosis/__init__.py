"""Why a descent ends where it does: what it does, what keeps it from the reference, and what would help."""
