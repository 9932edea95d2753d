"""The doctor's first steps against prepared faults: address, name, connection, certificate, first answer."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from examined import examine, faults, step
from fault_wall import Certificates, Server, serving, talking

from quarterdeck.diagnosis.doctor.calling import Caller
from quarterdeck.diagnosis.doctor.findings import StepError
from quarterdeck.diagnosis.doctor.targets import Limits
from quarterdeck.schemas.doctor import StepState


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


async def test_an_address_to_listen_on_is_no_address_to_call() -> None:
    async with serving(Server()) as port:
        report = await examine(f"http://0.0.0.0:{port}/v1")
    assert faults(report) == {"address": "any_address"}
    assert report.repaired_url == f"http://127.0.0.1:{port}/v1"


async def test_a_server_on_one_address_of_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def both(host: str, port: int, **_options: object) -> list[object]:
        stream = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(socket.AF_INET6, *stream, ("::1", port, 0, 0)), (socket.AF_INET, *stream, ("127.0.0.1", port))]

    async with serving(Server()) as port:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
        report = await examine(f"http://localhost:{port}/v1")
    assert step(report, "tcp").code == "localhost_two_addresses"
    assert "127.0.0.1" in step(report, "tcp").fix


async def test_nobody_listens(free_tcp_port: int) -> None:
    report = await examine(f"http://127.0.0.1:{free_tcp_port}/v1")
    assert faults(report) == {"tcp": "refused"}
    assert step(report, "models").state is StepState.SKIPPED
    assert "Connection" in step(report, "models").finding


def has_local_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.mark.parametrize(("host", "asked"), [("127.0.0.1", "[::1]"), ("::1", "127.0.0.1")])
async def test_a_server_on_the_other_local_address(host: str, asked: str) -> None:
    if not has_local_ipv6():
        pytest.skip("this machine has no ::1: a server on the other of two local addresses is not tested")
    async with serving(Server(), host=host) as port:
        report = await examine(f"http://{asked}:{port}/v1")
    assert faults(report) == {"tcp": "other_loopback"}
    better = f"[{host}]" if ":" in host else host
    assert f"http://{better}:{port}/v1" in step(report, "tcp").fix


async def test_localhost_in_a_container_is_the_container(free_tcp_port: int, tmp_path: Path) -> None:
    (tmp_path / ".dockerenv").touch()
    report = await examine(f"http://127.0.0.1:{free_tcp_port}/v1", root=tmp_path)
    assert faults(report) == {"tcp": "localhost_in_container"}


async def test_a_client_in_a_container_does_not_reach_localhost() -> None:
    async with serving(Server()) as port:
        report = await examine(f"http://127.0.0.1:{port}/v1", from_container=True)
    assert step(report, "address").code == "localhost_in_container"
    assert f"http://host.docker.internal:{port}/v1" in step(report, "address").fix


@pytest.mark.parametrize("host", ["no-such-host.invalid", "ollama-container-of-nobody"])
async def test_a_dead_name(host: str) -> None:
    report = await examine(f"http://{host}:8000/v1")
    # Without any network the lookup ends for want of a server, which is another dead end of the same step.
    assert faults(report)["dns"] in ("dns_unknown", "dns_unreachable")
    assert {each.state for each in report.steps if each.name not in ("address", "proxies", "dns")} == {
        StepState.SKIPPED
    }


async def test_an_address_that_is_none() -> None:
    report = await examine("http://:99999")
    assert faults(report) == {"address": "bad_address"}


async def test_a_slow_server_and_one_that_hangs() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.03)
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    async with talking(slow) as port:
        report = await examine(f"http://127.0.0.1:{port}/v1", limits=Limits(slow=0.01))
        assert faults(report)["http"] == "slow"
    async with serving(Server(hangs=True)) as port:
        report = await examine(f"http://127.0.0.1:{port}/v1", limits=Limits(answer=0.3))
    assert faults(report) == {"http": "no_answer_in_time"}


async def test_something_that_does_not_speak_http() -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await writer.drain()

    async with talking(greet) as port:
        report = await examine(f"http://127.0.0.1:{port}/v1")
    assert faults(report) == {"http": "not_http"}


@asynccontextmanager
async def secured(context: ssl.SSLContext) -> AsyncIterator[int]:
    async with serving(Server(), context) as port:
        yield port


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("expired", "tls_expired"),
        ("soon_over", "tls_expires_soon"),
        ("of_tomorrow", "tls_not_yet_valid"),
    ],
)
async def test_dates_of_certificates(certificates: Certificates, kind: str, code: str) -> None:
    async with secured(getattr(certificates, kind)()) as port:
        report = await examine(f"https://127.0.0.1:{port}/v1", trust=certificates.trust)
    assert faults(report) == {"tls": code}, report.text


async def test_a_good_certificate(certificates: Certificates) -> None:
    async with secured(certificates.good()) as port:
        report = await examine(f"https://127.0.0.1:{port}/v1", trust=certificates.trust)
    assert faults(report) == {}
    assert "TLSv1.3" in step(report, "tls").finding


async def test_a_certificate_for_another_name(certificates: Certificates) -> None:
    async with secured(certificates.good("chat.example.org")) as port:
        report = await examine(f"https://127.0.0.1:{port}/v1", trust=certificates.trust)
    assert faults(report) == {"tls": "tls_wrong_name"}
    assert "chat.example.org" in step(report, "tls").finding


async def test_certificates_that_nobody_trusts(certificates: Certificates, tmp_path: Path) -> None:
    for context, code in (
        (certificates.self_signed(tmp_path), "tls_self_signed"),
        (certificates.without_chain(tmp_path), "tls_chain_incomplete"),
    ):
        async with secured(context) as port:
            report = await examine(f"https://localhost:{port}/v1")
        assert faults(report)["tls"] == code, report.text
    async with secured(certificates.good()) as port:
        report = await examine(f"https://127.0.0.1:{port}/v1")
    assert faults(report) == {"tls": "tls_unknown_authority"}


async def test_the_wrong_scheme_either_way(certificates: Certificates) -> None:
    async with secured(certificates.good()) as port:
        report = await examine(f"http://127.0.0.1:{port}/v1", trust=certificates.trust)
        assert faults(report) == {"http": "scheme_https"}
        assert report.repaired_url == f"https://127.0.0.1:{port}/v1"
    async with serving(Server()) as port:
        report = await examine(f"https://127.0.0.1:{port}/v1")
    assert faults(report) == {"tls": "scheme_http"}
    assert f"http://127.0.0.1:{port}/v1" in step(report, "tls").fix


def names(monkeypatch: pytest.MonkeyPatch, *numbers: str) -> None:
    """Let every name stand for these numbers."""

    async def found(_host: str, port: int, **_options: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (number, port)) for number in numbers]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)


async def test_one_of_two_numbers_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Server()) as port:
        names(monkeypatch, "127.0.0.2", "127.0.0.1")
        report = await examine(f"http://nas.lan:{port}/v1")
    assert faults(report) == {"tcp": "address_partly_dead"}
    assert "127.0.0.2" in step(report, "tcp").finding


async def test_a_key_over_plain_http_and_a_page_over_https(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Server()) as port:
        names(monkeypatch, "127.0.0.1")
        report = await examine(f"http://chat.example.org:{port}/v1", key="sk-key-1234", origin="https://page.example")
    assert faults(report) == {"tls": "key_in_the_open", "cors": "mixed_content"}


async def test_a_lookup_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_host: object, **_options: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    assert faults(await examine("http://nas.lan/v1", limits=Limits(lookup=0.05))) == {"dns": "dns_timeout"}


@pytest.mark.parametrize(
    ("error", "code"),
    [(OSError(errno.EHOSTUNREACH, "no route"), "no_route"), (TimeoutError(), "connect_timeout")],
)
async def test_no_way_to_a_host(monkeypatch: pytest.MonkeyPatch, error: OSError, code: str) -> None:
    async def fails(*_address: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(asyncio, "open_connection", fails)
    assert faults(await examine("http://127.0.0.1:8000/v1")) == {"tcp": code}


async def test_a_server_that_has_just_gone(free_tcp_port: int) -> None:
    caller = Caller(ssl.create_default_context(), 5, 5)
    with pytest.raises(StepError) as caught:
        await caller.ask("GET", f"http://127.0.0.1:{free_tcp_port}/")
    assert caught.value.code == "not_connected"


async def test_a_server_that_hangs_up() -> None:
    async def hang_up(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(10)

    async with talking(hang_up) as port:
        assert faults(await examine(f"http://127.0.0.1:{port}/v1")) == {"http": "closed_without_answer"}
        assert faults(await examine(f"https://127.0.0.1:{port}/v1")) == {"tls": "tls_failed"}


async def test_a_handshake_that_does_not_end() -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with talking(silent) as port:
        report = await examine(f"https://127.0.0.1:{port}/v1", limits=Limits(handshake=0.1))
    assert faults(report) == {"tls": "tls_timeout"}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_encryption_that_nobody_speaks_any_more(certificates: Certificates) -> None:
    context = certificates.good()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with secured(context) as port:
        report = await examine(f"https://127.0.0.1:{port}/v1", trust=certificates.trust)
    assert faults(report) == {"tls": "tls_old"}
    assert "TLSv1.1" in step(report, "tls").finding
