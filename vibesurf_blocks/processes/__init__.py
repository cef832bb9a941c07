"""Warm child processes: forked from a process that has done its imports, gone with their owner."""
