"""Programs that measure Plumbline against a named peer, both in the same run: absolute times lie on shared machines."""
