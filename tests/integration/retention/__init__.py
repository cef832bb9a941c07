"""Pruning against a whole stack."""
