"""Minimising by gradient descent, with Keras's semantics and every step on record."""
