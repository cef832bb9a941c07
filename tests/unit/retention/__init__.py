"""Pruning without Prefect."""
