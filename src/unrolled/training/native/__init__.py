"""Compiled backends."""
