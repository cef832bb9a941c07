"""Batches and workflows of agents on a real stack."""
