"""The demo: a real change of a real system, rolled out and taken back."""
