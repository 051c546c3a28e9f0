"""Connections of clients: WebSockets, logins, and bytes on their way out."""
