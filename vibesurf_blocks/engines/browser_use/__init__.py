"""The browser-use engine: a model drives Chromium, one step of thinking and acting at a time.

`engine` and `state` need nothing but this package, so that results can be shown wherever the
extra `browser` is missing; `agent` and what it imports need browser-use.
"""
