"""The session engine: what a client knows and decides, without any I/O.

Nothing here imports trio or touches a socket. The shell above it feeds decoded commands
in and carries out what comes back.
"""
