"""Blocks, without a server of Prefect."""
