"""The parts of `make chaos`: faults and work by a seed, evidence, and what it says."""
