"""HTTP/1.1 on a connection: uvicorn's own, where it leaves a client without an answer.

Every HTTP/2 client that starts in clear text offers to upgrade (Java's own client does, by default). Its parser takes
such an offer for the end of HTTP, and the body is lost. RFC 9110, section 7.8: an offer may be ignored.
"""

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.api.errors import UNREADABLE_REQUEST, problem_response

_NOT_HTTP = "This is not an HTTP request."


class OneProtocol(HttpToolsProtocol):
    """Speaks nothing but HTTP, and answers what is not HTTP with a problem."""

    def data_received(self, data: bytes) -> None:
        """Read on; what strangers send is no news for the log."""
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
            except HttpParserUpgrade as offer:
                if self.parser.get_method() == b"CONNECT":
                    self.send_400_response(_NOT_HTTP)
                    return
                data = self._head_without_offer() + data[offer.args[0] :]
            except HttpParserError:
                self.send_400_response(_NOT_HTTP)
                return
            else:
                return

    def on_headers_complete(self) -> None:
        """Begin to answer, unless the request is about to be read again without its offer."""
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See `on_headers_complete`."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer with a problem, and close the connection."""
        answer = problem_response(UNREADABLE_REQUEST, "/", msg)
        lines = [b"HTTP/1.1 400 Bad Request", *(b": ".join(item) for item in answer.raw_headers), b"connection: close"]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        self.transport.close()

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        first = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)
        kept = [b": ".join(item) for item in self.headers if item[0] != b"upgrade"]
        return b"\r\n".join([first, *kept, b"", b""])
