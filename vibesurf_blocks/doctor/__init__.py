"""What is wrong with a stack, why, and what to type: one small module for each thing looked at."""
