"""Measures on fitted ensembles."""
