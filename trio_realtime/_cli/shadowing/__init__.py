"""What two servers answer to the same commands, compared; no I/O but in ``performance``."""
