"""An app's data in a directory: its format, how it is filled from a server, and checked."""
