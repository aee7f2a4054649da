"""The HTTP door: the talk page, and the calls that a browser makes."""
