"""The TCP address of the service: taken by the supervisor, so that it is sure before anything else starts."""

import errno
import socket
import time
from ipaddress import ip_address

from service.supervision.errors import SupervisorError

_BACKLOG = 2048
_POLL_SECONDS = 0.05


def listen(host: str, port: int, patience: float = 0.0) -> socket.socket:
    """Return a listening socket; a port still taken is tried again for `patience` seconds.

    Raises
    ------
    SupervisorError
        When the port is taken or not allowed, or the host is none of this machine's.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return _listening(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise SupervisorError(_refusal(error, host, port)) from error
        time.sleep(_POLL_SECONDS)


def url(listener: socket.socket) -> str:
    """Return an address that a client on this machine can use, whatever address the socket listens on."""
    host, port = listener.getsockname()[:2]
    return url_of(host, port)


def url_of(host: str, port: int) -> str:
    """Return the URL of a host as it stands in PLUMBLINE_HOST: wildcards become the loopback address."""
    try:
        address = ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        address = ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def _listening(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # At once: two sockets may bind one port as long as neither listens.
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _refusal(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is taken; choose another in PLUMBLINE_PORT (0 takes a free one)"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"this user may not listen on port {port}; choose another in PLUMBLINE_PORT"
    return f"cannot listen on {host}: {error.strerror or error}; PLUMBLINE_HOST must be an address of this machine"
