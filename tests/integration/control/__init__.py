"""Holding, instructing, resuming and stopping agents, and their recovery, on a real stack."""
