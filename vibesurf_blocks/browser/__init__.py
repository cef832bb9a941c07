"""The browser of a session: one Chromium with its own profile, kept between runs and processes."""
