"""Multi-level knowledge adaptation: what the student learns from."""
