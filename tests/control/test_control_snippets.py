"""Configurations for web servers in front: they do not hold streams back, and the real programs can read them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import trustme
from scripted_core import ScriptedCore

from quarterdeck.control.snippets import NAME, snippets
from quarterdeck.settings import Settings

HTTP, HTTPS = "http://127.0.0.1:8100", "https://127.0.0.1:8443"


def _text(server: str, url: str = HTTP, **settings: int) -> str:
    return next(each.text for each in snippets(url, Settings(**settings)) if each.server == server)


def test_there_is_one_for_each_server(core: ScriptedCore) -> None:
    found = {each["server"]: each["text"] for each in core.http.get("/api/snippets").json()}
    assert list(found) == ["nginx", "apache", "caddy"]
    for text in found.values():
        assert core.public_url in text
        assert "quarterdeck keys add" in text
        assert "Further host names" in text


def test_streams_are_not_held_back() -> None:
    nginx, apache, caddy = (_text(server) for server in ("nginx", "apache", "caddy"))
    assert "proxy_buffering off;" in nginx
    assert "proxy_read_timeout 3600s;" in nginx
    assert 'proxy_set_header Connection "";' in nginx
    assert "flushpackets=on timeout=3600" in apache
    assert "read_timeout 1h" in caddy
    assert not [line for line in caddy.splitlines() if line.strip().startswith("flush_interval")]


def test_bodies_may_be_as_large_as_in_quarterdeck() -> None:
    assert "client_max_body_size 7m;" in _text("nginx", body_limit=7)
    assert f"LimitRequestBody {7 * 1024 * 1024}" in _text("apache", body_limit=7)
    assert "max_size 7MiB" in _text("caddy", body_limit=7)


def test_an_address_over_https_is_reached_over_https() -> None:
    assert f"proxy_pass {HTTPS};" in _text("nginx", HTTPS)
    assert "SSLProxyEngine on" in _text("apache", HTTPS)
    assert "SSLProxyEngine" not in _text("apache")
    assert "tls_insecure_skip_verify" in _text("caddy", HTTPS)
    assert "tls_insecure_skip_verify" not in _text("caddy")


def _program(*names: str) -> str:
    found = next((path for name in names if (path := shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin"))), None)
    if found is None:
        pytest.skip(f"{names[0]} is not installed: whether it can read our configuration is not tested")
    return found


def _with_files(text: str, folder: Path) -> str:
    """The text with a certificate that exists."""
    made = trustme.CA().issue_cert(NAME)
    (folder / "cert.pem").write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
    (folder / "key.pem").write_bytes(made.private_key_pem.bytes())
    text = text.replace(f"/etc/ssl/certs/{NAME}.pem", str(folder / "cert.pem"))
    return text.replace(f"/etc/ssl/private/{NAME}.key", str(folder / "key.pem"))


def _check(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("url", [HTTP, HTTPS])
def test_nginx_reads_it(tmp_path: Path, url: str) -> None:
    program = _program("nginx")
    file = tmp_path / "nginx.conf"
    inner = _with_files(_text("nginx", url), tmp_path)
    file.write_text(f"pid {tmp_path}/pid; error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{inner}\n}}\n")
    _check(program, "-t", "-p", str(tmp_path), "-c", str(file))


@pytest.mark.parametrize("url", [HTTP, HTTPS])
def test_apache_reads_it(tmp_path: Path, url: str) -> None:
    program = _program("apache2", "httpd")
    modules = Path("/usr/lib/apache2/modules")
    names = ["mpm_event", "authz_core", "ssl", "proxy", "proxy_http", "headers", "socache_shmcb", "env"]
    loads = [f"LoadModule {n}_module {modules}/mod_{n}.so\n" for n in names if (modules / f"mod_{n}.so").exists()]
    file = tmp_path / "apache.conf"
    head = f"ServerRoot {tmp_path}\nDefaultRuntimeDir {tmp_path}\nPidFile {tmp_path}/pid\nErrorLog {tmp_path}/log\n"
    file.write_text(
        head + "ServerName x\nListen 127.0.0.1:8443\n" + "".join(loads) + _with_files(_text("apache", url), tmp_path)
    )
    _check(program, "-t", "-f", str(file))


@pytest.mark.parametrize("url", [HTTP, HTTPS])
def test_caddy_reads_it(tmp_path: Path, url: str) -> None:
    file = tmp_path / "Caddyfile"
    file.write_text(_text("caddy", url))
    _check(_program("caddy"), "validate", "--adapter", "caddyfile", "--config", str(file))
