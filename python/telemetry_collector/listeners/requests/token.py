"""A secret that requests bring, where a receiver asks for one."""

import base64
import binascii
import hmac

from aiohttp import web


def brings_token(request: web.Request, token: str) -> bool:
    """Whether a request has it: as a token, or as the password of any user, in a header or as the parameter `p`."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    scheme = scheme.lower()
    if scheme == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif scheme not in ("token", "bearer"):
        given = request.query.get("p", "")
    return hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode())
