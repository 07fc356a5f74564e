"""One HTTP request to somewhere on the net: to checked addresses only, at every hop, and bounded in size.

No proxy, cookie or `.netrc` of the environment plays a part.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import re
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from penstock.errors import CallFailed
from penstock.runtime.transport import unsent_errors
from penstock.task_types.addresses import AllowedHosts, Forbidden, Target, read_url
from penstock.task_types.json_in_text import parse_strictly

if TYPE_CHECKING:
    import ssl

    import httpx2

MOST_REDIRECTS = 5
LARGE = 500_000
"""Bytes of a reply from which on reading it would keep the loop."""
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
# All that goes along to another origin: any other header may be a credential, whatever its name.
_HARMLESS = frozenset(("accept", "accept-language", "content-type", "idempotency-key", "user-agent"))
_OF_THE_BODY = frozenset(("content-type", "content-encoding", "content-language", "idempotency-key"))
# Encodings of text; Python knows others by such names, some of which take hours over a large body.
_CHARSET = re.compile(
    r"utf-?(?:8|16|32)(?:le|be)?|(?:us-)?ascii|(?:iso-8859|windows|cp|koi8)-?[\dru]+|latin-?1|shift_jis"
    r"|euc-(?:jp|kr)|gb2312|gbk|gb18030|big5"
)
_CODINGS = frozenset(("gzip", "x-gzip", "deflate"))


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it is to be sent; header names in lower case."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    content: bytes | None = None
    follow: bool = True


class Sender:
    """Sends one request. `sent` says afterwards whether a byte of it may have left."""

    def __init__(self, allowed: AllowedHosts, most_bytes: int) -> None:
        self._allowed = allowed
        self._most_bytes = most_bytes
        self.sent = False

    async def send(self, request: Outgoing) -> dict[str, Any]:
        """`{"status", "headers", "body", "encoding"}`; any status is an answer.

        Raises `CallFailed`, without a word of headers, query or body in it.
        """
        for _ in range(MOST_REDIRECTS + 1):
            target = _read(request.url)
            response, body = await self._hop(request, target)
            location = response.headers.get("location")
            if not (request.follow and response.status_code in _REDIRECTS and location):
                reply = response.status_code, response.headers.multi_items(), body
                return await asyncio.to_thread(reply_of, *reply) if len(body) > LARGE else reply_of(*reply)
            request = redirected(request, target, response.status_code, location)
        message = f"more than {MOST_REDIRECTS} redirects, the last from {target.origin}"
        raise CallFailed(message, reason="redirects")

    async def _hop(self, request: Outgoing, target: Target) -> tuple[httpx2.Response, bytes]:
        import httpx2

        try:
            addresses = await self._allowed.resolve(target)
        except Forbidden as error:
            raise CallFailed(str(error), reason="address_refused") from None
        except (OSError, UnicodeError):
            raise CallFailed(f"{target.host} has no address", reason="unreachable", retryable=True) from None
        for place, address in enumerate(addresses):
            try:
                return await self._at(request, target, address)
            except unsent_errors(httpx2) as error:
                if place == len(addresses) - 1:
                    message = f"{target.origin} cannot be reached: {type(error).__name__} {error}"
                    raise CallFailed(message, reason="unreachable", retryable=True) from None
            except httpx2.InvalidURL:
                raise CallFailed(f"a URL of {target.origin} is too long", reason="address_refused") from None
            except httpx2.TransportError as error:
                # Its words may be those of a header.
                message = f"no reply from {target.origin}: {type(error).__name__}"
                raise CallFailed(message, reason="no_reply", retryable=True) from None
        raise CallFailed(f"{target.host} has no address", reason="unreachable", retryable=True)

    async def _at(self, request: Outgoing, target: Target, address: str) -> tuple[httpx2.Response, bytes]:
        """By this very address; the certificate is still that of the host's name."""
        import httpx2

        outgoing = httpx2.Request(
            request.method,
            f"{target.scheme}://{target._replace(host=address).authority}{target.rest}",
            headers=[("host", target.authority), *request.headers],
            content=request.content,
            extensions={
                "trace": self._trace,
                **({} if target.literal is not None else {"sni_hostname": target.host}),
            },
        )
        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=0)
        async with httpx2.AsyncHTTPTransport(verify=_certificates(), limits=limits) as transport:
            response = await transport.handle_async_request(outgoing)
            response.request = outgoing
            try:
                return response, await self._read_body(response, target)
            finally:
                await response.aclose()

    async def _trace(self, event: str, info: Any) -> None:
        if event.endswith("send_request_headers.started"):
            self.sent = True

    async def _read_body(self, response: httpx2.Response, target: Target) -> bytes:
        coding = response.headers.get("content-encoding", "").strip().lower()
        unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32) if coding in _CODINGS else None
        whole = bytearray()
        async for chunk in response.aiter_raw():
            try:
                # One byte more than may be there is enough to know; a bomb of zeros does not unfold further.
                room = self._most_bytes + 1 - len(whole)
                whole += chunk if unpack is None else unpack.decompress(chunk, room)
            except zlib.error:
                raise CallFailed(
                    f"the reply of {target.origin} is no {coding}", reason="malformed_reply"
                ) from None
            if len(whole) > self._most_bytes:
                raise CallFailed(
                    f"the reply of {target.origin} is larger than {self._most_bytes:,} bytes",
                    reason="reply_too_large",
                )
        if unpack is not None:
            if response.num_bytes_downloaded and not unpack.eof:
                raise CallFailed(f"the reply of {target.origin} is cut", reason="no_reply", retryable=True)
            del response.headers["content-encoding"]
        return bytes(whole)


@functools.cache
def _certificates() -> ssl.SSLContext:
    import httpx2

    return httpx2.create_ssl_context()  # once: reading certificates takes tens of milliseconds


def _read(url: str) -> Target:
    try:
        return read_url(url)
    except ValueError as error:
        raise CallFailed(f"a redirect leads to a URL that {error}", reason="address_refused") from None


def redirected(request: Outgoing, target: Target, status: int, location: str) -> Outgoing:
    """The request that a redirect asks for. To another origin only harmless headers go along."""
    try:
        url = urljoin(f"{target.origin}{target.rest}", location)
    except ValueError:
        raise CallFailed("a redirect leads to what is no URL", reason="address_refused") from None
    there = _read(url)
    headers = request.headers
    if there.origin != target.origin:
        headers = tuple(one for one in headers if one[0] in _HARMLESS)
    request = replace(request, url=f"{there.origin}{there.rest}", headers=headers)
    becomes_get = (status == 303 and request.method != "HEAD") or (
        status in (301, 302) and request.method == "POST"
    )
    if not becomes_get:
        return request
    kept = tuple(one for one in headers if one[0] not in _OF_THE_BODY)
    return replace(request, method="GET", headers=kept, content=None)


def reply_of(status: int, headers: list[tuple[str, str]], body: bytes) -> dict[str, Any]:
    """The result for a reply. `encoding` says what `body` is: "json", "text", or "base64" of the bytes.

    Headers of one name are joined; cookies are left out.
    """
    joined: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        if name not in ("set-cookie", "set-cookie2"):
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
    kind, _, parameters = joined.get("content-type", "").lower().partition(";")
    content, encoding = _read_content(body, kind.strip(), parameters)
    if joined.get("content-encoding", "identity") != "identity":
        content, encoding = base64.b64encode(body).decode("ascii"), "base64"
    return {"status": status, "headers": joined, "body": content, "encoding": encoding}


def _read_content(body: bytes, kind: str, parameters: str) -> tuple[Any, str]:
    if body and (kind == "application/json" or kind.endswith("+json")):
        try:
            return parse_strictly(body), "json"
        except ValueError:
            pass
    charset = parameters.partition("charset=")[2].partition(";")[0].strip(" \"'") or "utf-8"
    try:
        if _CHARSET.fullmatch(charset):
            return body.decode(charset), "text"
    except (ValueError, LookupError):
        pass
    return base64.b64encode(body).decode("ascii"), "base64"
