"""Instant messaging for Trio."""
