"""The README's promises."""
