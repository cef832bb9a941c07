"""Workflows: tasks as named steps that need each other. What is asked, checked, decided, run."""
