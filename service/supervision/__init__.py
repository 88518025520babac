"""The parts of `plumbline serve`: the lock on its folder, its address, its processes."""
