"""Engines: what drives an agent. `protocol` says what one must do, `registry` finds one."""
