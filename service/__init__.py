"""Plumbline: linear models fitted over HTTP by gradient descent, each answer beside the exact one."""

__version__ = "0.1.0"
