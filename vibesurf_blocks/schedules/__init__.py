"""When schedules fire, what a schedule may ask for, and what becomes of occurrences in its way."""
