"""Connections of the model client: reuse, hang-ups, cancellation, proxies, redirects, TLS."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import ssl
import subprocess
from contextlib import asynccontextmanager

import pytest

from palaestra.lm import LMBadRequest, LMConnectionError, LMServerError, OpenAIModel, Sampling

HELLO = [{"role": "user", "content": "hello"}]
PAYLOAD = json.dumps({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}).encode()


def reply(body=PAYLOAD, status="200 OK", *headers):
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Server:
    """A server of raw replies.

    Args:
        answer: ``request head -> bytes``; None never answers.
        hang_up: close each connection after its first reply.
    """

    def __init__(self, answer=lambda head: reply(), hang_up=False):
        self.answer, self.hang_up = answer, hang_up
        self.heads, self.bodies = [], []
        self.opened = self.ended = 0

    async def serve(self, reader, writer):
        self.opened += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = head.lower().split("content-length: ")[1].split("\r\n")[0]
                self.bodies.append(await reader.readexactly(int(length)))
                self.heads.append(head)
                answer = self.answer(head)
                if answer is None:
                    await reader.read()
                    return
                await asyncio.sleep(0.02)
                writer.write(answer)
                await writer.drain()
                if self.hang_up:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended += 1
            writer.close()


@asynccontextmanager
async def opened(server, **options):
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, **options)
    scheme = "https" if options.get("ssl") else "http"
    try:
        yield f"{scheme}://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    finally:
        listening.close()


def run(server, work, **options):
    async def once():
        async with opened(server, **options) as url:
            model = OpenAIModel("m", base_url=url, backoff_s=0.01, concurrency=64, deadline_s=10)
            try:
                return await work(model)
            finally:
                await model.aclose()

    return asyncio.run(once())


async def many(model, n):
    return [done.text for done in await asyncio.gather(*(model.complete(HELLO) for _ in range(n)))]


def test_connections_are_opened_as_needed_and_used_again():
    async def work(model):
        first = await many(model, 40)
        opened = server.opened
        for _ in range(3):
            first += await many(model, 40)
        return first, opened

    server = Server()
    texts, opened = run(server, work)
    assert texts == ["hi"] * 160
    assert opened == server.opened == 40


def test_a_connection_the_server_closed_is_not_used_again():
    async def work(model):
        first = await model.complete(HELLO)
        await asyncio.sleep(0.05)
        second = await model.complete(HELLO)
        return first.attempts, second.attempts

    server = Server(hang_up=True)
    assert run(server, work) == (1, 1) and server.opened == 2


def test_idle_connections_are_closed(monkeypatch):
    async def work(model):
        await many(model, 10)
        await asyncio.sleep(0.1)
        await model.complete(HELLO)
        await asyncio.sleep(0.05)
        return server.ended

    monkeypatch.setattr("palaestra.lm_http._IDLE_S", 0.05)
    server = Server()
    assert run(server, work) == 10


def test_cancelled_requests_close_their_connections():
    async def work(model):
        tasks = [asyncio.ensure_future(model.complete(HELLO)) for _ in range(8)]
        while len(server.heads) < 8:
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(100):
            if server.ended == 8:
                break
            await asyncio.sleep(0.01)
        server.answer = lambda head: reply()
        return await many(model, 8)

    server = Server(lambda head: None)
    assert run(server, work) == ["hi"] * 8 and server.ended >= 8


def test_proxies_are_used_and_exempted(monkeypatch):
    async def work(model):
        return (await model.complete(HELLO)).text

    async def through(proxy):
        async with opened(proxy) as url:
            monkeypatch.setenv("http_proxy", url.removesuffix("/v1"))
            model = OpenAIModel("m", base_url="http://models.invalid/v1", max_attempts=1)
            text = (await model.complete(HELLO)).text
            await model.aclose()
            return text

    proxy = Server()
    assert asyncio.run(through(proxy)) == "hi"
    assert proxy.heads[0].startswith("POST http://models.invalid/v1/chat/completions ")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert run(Server(), work) == "hi"


def test_redirects_and_compression():
    def answer(head):
        if head.startswith("POST /v1/"):
            return reply(b"", "307 Temporary Redirect", "Location: /v2/chat/completions")
        return reply(gzip.compress(PAYLOAD), "200 OK", "Content-Encoding: gzip")

    async def work(model):
        return (await model.complete(HELLO)).text

    server = Server(answer)
    assert run(server, work) == "hi"
    assert server.bodies[0] == server.bodies[1] and len(server.heads) == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "no such model", "code": "gone"}}', "no such model gone"),
        (b'{"detail": "bad field"}', "bad field"),
        (b"<html>nginx</html>", "<html>nginx</html>"),
        (b"[" * 5000, "[[["),
        (b"", "no body"),
    ],
)
def test_what_an_error_body_says_is_passed_on(body, words):
    async def work(model):
        with pytest.raises(LMServerError) as caught:
            await model.complete(HELLO)
        return str(caught.value)

    assert words in run(Server(lambda head: reply(body, "500 Internal Server Error")), work)


@pytest.mark.parametrize(
    "body", [b"HTTP/1.1 twohundred\r\n\r\n", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9"]
)
def test_replies_that_are_no_http(body):
    async def work(model):
        with pytest.raises(LMConnectionError):
            await model.complete(HELLO)

    run(Server(lambda head: body, hang_up=True), work)


def test_environment_variables_of_the_official_client(monkeypatch):
    async def once():
        async with opened(server) as url:
            monkeypatch.setenv("OPENAI_BASE_URL", url)
            for name in ("API_KEY", "ORG_ID", "PROJECT_ID"):
                monkeypatch.setenv(f"OPENAI_{name}", f"my-{name}")
            model = OpenAIModel("m")
            await model.complete(HELLO)
            await model.aclose()

    server = Server()
    asyncio.run(once())
    head = server.heads[0].lower()
    for line in ("authorization: bearer my-api_key", "openai-organization: my-org_id", "openai-project: my-project_id"):
        assert line in head


@pytest.mark.parametrize("url", ["gpt", "127.0.0.1:8000/v1", "ftp://host/v1", "http://[::bad/v1"])
def test_an_address_that_is_none_is_named_and_not_retried(url):
    model = OpenAIModel("m", base_url=url)
    with pytest.raises(LMBadRequest, match="http://HOST:PORT/v1") as caught:
        model.complete_sync(HELLO)
    assert caught.value.attempts == 1


def test_a_request_that_is_no_json_is_refused_before_sending():
    with pytest.raises(LMBadRequest, match="JSON"):
        OpenAIModel("m", base_url="http://127.0.0.1:9/v1").complete_sync(HELLO, Sampling(temperature=float("nan")))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_tls(tmp_path, monkeypatch):
    key, cert = str(tmp_path / "k.pem"), str(tmp_path / "c.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", cert, "-subj", "/CN=t", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def unknown(model):
        with pytest.raises(LMConnectionError, match=r"(?i)certificate"):
            await model.complete(HELLO)

    run(Server(), unknown, ssl=context)
    monkeypatch.setenv("SSL_CERT_FILE", cert)
    assert run(Server(), lambda model: many(model, 3), ssl=context) == ["hi"] * 3
