from __future__ import annotations

import ipaddress

import attrs


@attrs.frozen(kw_only=True)
class Limits:
    """What one connection, one client and one address may cost. Times in seconds.

    How often each was reached is counted in the metric ``trio_realtime_limits_total``.

    Protocol: docs/protocol/transport.md §3, §4 and §5.
    """

    login_timeout: float = 60.0
    """From the handshake to the first login; then close 4108."""
    read_timeout: float = 400.0
    """Without a frame of any kind; then close 4107."""
    close_timeout: float = 2.0
    """How long a closing connection may take to say goodbye."""
    head_timeout: float = 10.0
    """For a request's head to arrive, TLS handshake included."""
    head_bytes: int = 16 * 1024
    body_timeout: float = 30.0
    """For a request's body to arrive, and for its answer to be taken."""
    body_bytes: int = 1024 * 1024
    """Largest body of a request, beyond it 413; files have a limit of their own."""
    stranger_body_bytes: int = 64 * 1024
    """The same for requests that do not show the master key."""
    keep_alive: float = 60.0
    """Between two HTTP requests of one connection."""

    file_bytes: int = 64 * 1024 * 1024
    """Largest file; beyond it 413."""
    file_memory_bytes: int = 256 * 1024 * 1024
    """All files together, where they are kept in memory; beyond it 507."""
    upstream_requests: int = 200
    """Requests under way to the upstream at once; beyond it 503."""
    upstream_timeout: float = 60.0
    """Seconds in which the upstream says or takes something; then 504."""

    installations: int = 1_000_000
    """Installations of one app; beyond it 507. Those untouched for 90 days are forgotten."""

    upload_ttl: float = 3600.0
    """How long the permission to upload a file lasts."""
    transfer_timeout: float = 900.0
    """For a whole file to pass, up or down. Between two parts of it ``body_timeout`` counts."""

    frame_bytes: int = 5 * 1024
    """Largest command, counted in protobuf bytes; beyond it close 4109."""
    outbound_bytes: int = 1024 * 1024
    """What others may push to one receiver before it takes it; beyond it close 1013, the client
    catches up later. With half of it waiting, answers included, nothing more is read of the
    receiver, and nothing looked up for it."""
    idle_frames_per_second: float = 20.0
    """Pings, echoes, and frames before a login, of one connection; ten seconds' worth may come
    at once, beyond that it is read as slowly."""
    commands_in_flight: int = 64
    """Commands of one connection under way at once; beyond it reading pauses. One that names
    many clients, conversations or messages counts as several."""
    clients_per_connection: int = 1000
    """Clients logged in on one connection; beyond it 4113."""

    json_depth: int = 32
    """How deep attributes, changes and conditions may nest; beyond it the command is refused."""
    query_seconds: float = 2.0
    """For one conversation query; then 4310."""
    regex_steps: int = 20_000_000
    """What one regular expression may cost on one text: instructions of the compiled pattern
    times bytes of the text; beyond it 4310. A million steps take some milliseconds at most,
    in which others are served."""

    connections: int | None = None
    """Connections altogether; beyond it HTTP 503. None: no limit."""
    connections_per_address: int | None = None
    """Connections of one network address; beyond it HTTP 429. None: no limit."""
    messages_per_minute: int | None = None
    """Messages of one client id; beyond it 4116. None: no limit. LeanCloud's was 60."""
    history_per_minute: int | None = None
    """History queries of one client id. None: no limit. LeanCloud's was 120."""
    commands_per_minute: int | None = None
    """Any other kind of command of one client id. None: no limit. LeanCloud's was 30."""
    acknowledgements_per_minute: int | None = None
    """Acknowledgements and read marks of one client id; those beyond it are not taken. SDKs
    send about one for each message they get. None: no limit."""
    failed_logins_per_minute: int | None = None
    """Refused logins of one network address; each beyond it costs its connection, with 4116.
    Logins that succeed are not counted. None: no limit."""

    token_ttl: int = 86400
    """How long a session token lives."""
    room_return: float = 1800.0
    """How long a lost session's place in its chat room is kept for its return."""


def network_of(address: str) -> str:
    """What counts as one network address: of IPv6 the first 64 bits, which one user has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found.packed[:8] + bytes(8), 64)))
