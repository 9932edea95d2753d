"""The TLS step: whether the certificate can be trusted, and if not, exactly why."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from quarterdeck.diagnosis.doctor.addresses import Address
from quarterdeck.diagnosis.doctor.findings import Found, failed, ok, warn

SOON = timedelta(days=14)
_EXPIRED, _SELF_SIGNED, _OWN_AUTHORITY, _NO_ISSUER, _NO_FIRST, _NAME, _NUMBER = 10, 18, 19, 20, 21, 62, 64
"""Numbers of OpenSSL (X509_V_ERR_…)."""


class Peer(NamedTuple):
    """What a handshake showed; `version` such as TLSv1.3."""

    version: str
    certificate: x509.Certificate | None


async def check_tls(address: Address, number: str, trust: ssl.SSLContext, seconds: float) -> Found:
    """Shake hands as a careful client, and where that fails as a careless one, to see why."""
    try:
        peer = await _handshake(address, number, trust, seconds)
    except TimeoutError:
        return failed(
            "tls_timeout",
            f"The TLS handshake took longer than {seconds:g} s.",
            "The server may speak plain http, or something on the way holds it back.",
        )
    except ssl.SSLCertVerificationError as error:
        return await _distrusted(address, number, error, seconds)
    except (ssl.SSLError, OSError) as error:
        return await _no_handshake(address, number, error, seconds)
    until = peer.certificate.not_valid_after_utc if peer.certificate else None
    if until is not None and until - datetime.now(UTC) < SOON:
        return warn(
            "tls_expires_soon",
            f"The certificate is good, but only until {until:%Y-%m-%d}.",
            "Renew it, and check why it is not renewed by itself.",
        )
    good_until = f" until {until:%Y-%m-%d}" if until else ""
    return ok(f"{peer.version}, the certificate is good for {address.host}{good_until}.")


async def speaks_tls(address: Address, number: str, seconds: float) -> bool:
    try:
        await _handshake(address, number, _careless(), seconds)
    except (ssl.SSLError, OSError):
        return False
    return True


async def _handshake(address: Address, number: str, context: ssl.SSLContext, seconds: float) -> Peer:
    async with asyncio.timeout(seconds):
        _, writer = await asyncio.open_connection(number, address.port, ssl=context, server_hostname=address.host)
    try:
        session: ssl.SSLObject = writer.get_extra_info("ssl_object")
        der = session.getpeercert(binary_form=True)
        return Peer(session.version() or "TLS", x509.load_der_x509_certificate(der) if der else None)
    finally:
        writer.transport.abort()


def _careless() -> ssl.SSLContext:
    """Trusts anyone: used to look at a certificate, nothing is sent over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


async def _distrusted(address: Address, number: str, error: ssl.SSLCertVerificationError, seconds: float) -> Found:
    try:
        certificate = (await _handshake(address, number, _careless(), seconds)).certificate
    except (ssl.SSLError, OSError):
        certificate = None
    # The library reports the first thing that it comes upon; dates and names are what people can act on.
    return (
        _wrong_dates(certificate, error.verify_code)
        or _wrong_name(certificate, error.verify_code, address.host)
        or _unknown_signer(certificate, error)
    )


def _wrong_dates(certificate: x509.Certificate | None, code: int) -> Found | None:
    now = datetime.now(UTC)
    if certificate and certificate.not_valid_after_utc < now:
        finding = f"The certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d}."
        return failed("tls_expired", finding, "Renew it, and restart or reload the server that shows it.")
    if code == _EXPIRED:
        finding = "A certificate between the server's own and its authority has expired."
        return failed("tls_expired", finding, "Install the newest chain of the authority on the server.")
    if certificate and certificate.not_valid_before_utc > now:
        finding = f"The certificate is valid only from {certificate.not_valid_before_utc:%Y-%m-%d} on."
        return failed("tls_not_yet_valid", finding, "Check the clocks of both machines.")
    return None


def _wrong_name(certificate: x509.Certificate | None, code: int, host: str) -> Found | None:
    if code not in (_NAME, _NUMBER):
        return None
    names = _names(certificate) if certificate else []
    finding = f"The certificate is for {', '.join(names[:5]) or 'another name'}, not for {host}."
    return failed("tls_wrong_name", finding, _use_name(names, host))


def _unknown_signer(certificate: x509.Certificate | None, error: ssl.SSLCertVerificationError) -> Found:
    code = error.verify_code
    if code == _SELF_SIGNED:
        return failed(
            "tls_self_signed",
            "The server made its certificate itself, so no program trusts it.",
            "Let the client trust this certificate, or get one from an authority (Let's Encrypt, mkcert). "
            "Within this machine, http is enough.",
        )
    if code in (_NO_ISSUER, _NO_FIRST) and certificate and _names_issuer(certificate):
        return failed(
            "tls_chain_incomplete",
            "The server does not send the certificates between its own and the authority.",
            "Give the server the full chain (with certbot: fullchain.pem in place of cert.pem).",
        )
    if code in (_NO_ISSUER, _NO_FIRST, _OWN_AUTHORITY):
        by = f"“{_common_name(certificate.issuer)}”" if certificate else "an authority"
        return failed(
            "tls_unknown_authority",
            f"The certificate was signed by {by}, which this machine does not know.",
            "Install the certificate of that authority here, and name it to Python programs with SSL_CERT_FILE.",
        )
    finding = f"The certificate is not accepted: {error.verify_message}."
    return failed("tls_untrusted", finding, "Get a new certificate for the server.")


async def _no_handshake(address: Address, number: str, error: Exception, seconds: float) -> Found:
    if await _speaks_http(address, number, seconds):
        return failed(
            "scheme_http",
            "The server speaks plain http on this port, the address says https.",
            f"Use http://{address.host}:{address.port}{address.path}.",
        )
    try:
        peer = await _handshake(address, number, _careless(), seconds)
    except (ssl.SSLError, OSError):
        reason = getattr(error, "reason", "") or "the connection was closed"
        return failed(
            "tls_failed",
            f"The TLS handshake failed ({str(reason).lower().replace('_', ' ')}).",
            "Look at the log of the server that shows the certificate; it may ask for one of the client.",
        )
    return failed(
        "tls_old",
        f"The server offers only {peer.version} or weak ciphers, which programs refuse today.",
        "Switch TLS 1.2 and 1.3 on there.",
    )


async def _speaks_http(address: Address, number: str, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(number, address.port)
            try:
                writer.write(f"GET / HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode())
                return (await reader.read(5)) == b"HTTP/"
            finally:
                writer.transport.abort()
    except OSError:
        return False


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        entries = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return [_common_name(certificate.subject)]
    return [*entries.get_values_for_type(x509.DNSName), *map(str, entries.get_values_for_type(x509.IPAddress))]


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME) or name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def _names_issuer(certificate: x509.Certificate) -> bool:
    """Public authorities say where their own certificate can be had."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return any(each.access_method == AuthorityInformationAccessOID.CA_ISSUERS for each in found)


def _use_name(names: list[str], host: str) -> str:
    usable = next((name for name in names if "*" not in name), None)
    if usable is None:
        return f"Get a certificate that names {host} too."
    return f"Use {usable} in the address, or get a certificate that names {host} too."
