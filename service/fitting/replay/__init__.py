"""Programs that do a fit again without the service, to be read, run and kept by those who asked for it.

They are put together here as text, of which nothing but literals comes from a user.
"""
