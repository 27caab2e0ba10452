"""A web server whose paths answer in all the ways that a check may meet."""

import asyncio
import ssl

from aiohttp import web


async def _ok(_request: web.Request) -> web.Response:
    return web.Response(text="all is well, says server 7")


async def _broken(_request: web.Request) -> web.Response:
    return web.Response(status=500)


async def _hang(_request: web.Request) -> web.Response:
    await asyncio.sleep(1_000)
    return web.Response()


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65_536)


async def _redirect(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/ok")


async def _bearer(request: web.Request) -> web.Response:
    return web.Response(status=200 if request.headers.get("Authorization") == "Bearer t0p" else 401)


async def _redirect_to(request: web.Request) -> web.Response:
    if "uri" in request.query:
        return web.Response(status=302, headers={"URI": request.query["uri"]})
    raise web.HTTPFound(request.query["to"])


async def _key(request: web.Request) -> web.Response:
    assert request.headers["User-Agent"].startswith("telemetry-collector/")
    return web.Response(text=request.headers.get("X-Api-Key", "none"))


async def _large_header(_request: web.Request) -> web.Response:
    return web.Response(headers={"X-Large": "x" * 100_000})


async def _query(request: web.Request) -> web.Response:
    return web.Response(status=200 if request.query_string == "of=/" else 404)


def _application() -> web.Application:
    application = web.Application()
    application.router.add_get("/ok", _ok)
    application.router.add_get("/broken", _broken)
    application.router.add_get("/hang", _hang)
    application.router.add_get("/endless", _endless)
    application.router.add_get("/redirect", _redirect)
    application.router.add_get("/bearer", _bearer)
    application.router.add_get("/redirect_to", _redirect_to)
    application.router.add_get("/key", _key)
    application.router.add_get("/loop", _loop)
    application.router.add_get("/large_header", _large_header)
    application.router.add_get("/slash/", _ok)
    application.router.add_get("/query", _query)
    return application


async def serve(tls: ssl.SSLContext | None = None) -> tuple[web.AppRunner, int]:
    runner = web.AppRunner(_application(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    return runner, int(runner.addresses[0][1])


async def _loop(request: web.Request) -> web.Response:
    raise web.HTTPFound(f"{request.path}?token=s3cret")
