"""https for clients: with files that fit, and a clear word about those that do not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from quarterdeck.control.address import PublicAddress
from quarterdeck.control.listeners import tls_context
from quarterdeck.errors import AppError
from quarterdeck.settings import Settings

AUTHORITY = trustme.CA()


class Files:
    """A certificate for localhost, its key, and both in one file."""

    def __init__(self, folder: Path) -> None:
        made = AUTHORITY.issue_cert("localhost")
        chain = b"".join(pem.bytes() for pem in made.cert_chain_pems)
        self.secret = made.private_key_pem.bytes()
        self.certificate = folder / "cert.pem"
        self.key = folder / "key.pem"
        self.both = folder / "both.pem"
        self.certificate.write_bytes(chain)
        self.key.write_bytes(self.secret)
        self.both.write_bytes(chain + self.secret)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def _hello(scope: object, receive: object, send: Callable[[dict[str, object]], object]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})  # type: ignore[misc]
    await send({"type": "http.response.body", "body": b"hi"})  # type: ignore[misc]


async def _ask(port: int, tls: ssl.SSLContext | None) -> bytes:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname="localhost" if tls else None
    )
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _port(address: PublicAddress) -> int:
    assert address.url is not None
    return int(address.url.rpartition(":")[2])


async def test_clients_reach_it_over_https(files: Files) -> None:
    address = PublicAddress(_hello)
    for certificate, key in ((files.certificate, str(files.key)), (files.both, "")):
        settings = Settings(port=0, tls_certificate=str(certificate), tls_key=key)
        await address.open(settings, keyed=False)
        assert address.url is not None
        assert address.url.startswith("https://127.0.0.1:")
        assert (await _ask(_port(address), _trusting())).endswith(b"hi")
    with pytest.raises(ssl.SSLCertVerificationError):
        await _ask(_port(address), ssl.create_default_context())
    plain = await _ask(_port(address), None)
    assert b"hi" not in plain
    await address.close()
    assert address.url is None


async def test_old_versions_are_not_spoken(files: Files) -> None:
    address = PublicAddress(_hello)
    await address.open(Settings(port=0, tls_certificate=str(files.certificate), tls_key=str(files.key)), keyed=False)
    old = _trusting()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await _ask(_port(address), old)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        new = _trusting()
        new.minimum_version = new.maximum_version = version
        assert (await _ask(_port(address), new)).endswith(b"hi")
    await address.close()


def test_without_a_certificate_there_is_no_https(files: Files) -> None:
    assert tls_context("", "") is None
    assert tls_context("", str(files.key)) is None


def _protected(files: Files) -> str:
    key = load_pem_private_key(files.secret, None)
    path = files.key.with_name("protected.pem")
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    return str(path)


def _of_another(files: Files) -> str:
    path = files.key.with_name("other.pem")
    path.write_bytes(AUTHORITY.issue_cert("other.example").private_key_pem.bytes())
    return str(path)


def _junk(files: Files) -> str:
    path = files.key.with_name("junk.pem")
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n")
    return str(path)


@pytest.mark.parametrize(
    ("certificate", "key", "word"),
    [
        (lambda f: str(f.certificate), lambda f: "", "no certificate with its key"),
        (lambda f: str(f.certificate), _of_another, "not the key of the certificate"),
        (lambda f: str(f.certificate), _protected, "protected by a password"),
        (lambda f: str(f.certificate), lambda f: str(f.key) + "x", "No such file"),
        (lambda f: str(f.key) + "x", lambda f: str(f.key), "No such file"),
        (lambda f: str(f.key.parent), lambda f: str(f.key), "directory"),
        (_junk, lambda f: str(f.key), "https"),
        (lambda f: str(f.key), lambda f: str(f.key), "https"),
        (lambda f: str(f.certificate), _junk, "https"),
        (lambda f: str(f.certificate) + "\0", lambda f: str(f.key), "https"),
    ],
)
def test_files_that_do_not_fit_are_told(
    files: Files, certificate: Callable[[Files], str], key: Callable[[Files], str], word: str
) -> None:
    with pytest.raises(AppError) as refusal:
        tls_context(certificate(files), key(files))
    assert refusal.value.code == "bad_tls"
    assert word in refusal.value.sentence
    assert files.secret.decode()[40:80] not in refusal.value.sentence + refusal.value.hint


async def test_a_bad_certificate_leaves_the_address_as_it_is(files: Files) -> None:
    address, port = PublicAddress(_hello), _free_port()
    plain = Settings(port=port)
    await address.open(plain, keyed=False)
    with pytest.raises(AppError):
        await address.open(plain.model_copy(update={"tls_certificate": str(files.key)}), keyed=False)
    assert (await _ask(port, None)).endswith(b"hi")
    good = plain.model_copy(update={"tls_certificate": str(files.both)})
    await address.open(good, keyed=False)
    assert address.url == f"https://127.0.0.1:{port}"
    assert (await _ask(port, _trusting())).endswith(b"hi")
    await address.open(plain, keyed=False)
    assert (await _ask(port, None)).endswith(b"hi")
    await address.close()
