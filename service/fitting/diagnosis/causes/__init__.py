"""What keeps a fit from its reference, one family a module: functions from `Evidence` to a cause, or None."""
