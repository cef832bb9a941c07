"""Tests of vibesurf_blocks/models."""
