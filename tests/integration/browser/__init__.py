"""Agents with a model and a real Chromium."""
