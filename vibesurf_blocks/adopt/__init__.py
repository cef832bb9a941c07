"""Takes over the tasks, schedules and LLM profiles of a VibeSurf database, which it only reads."""
