"""`/api/snippets`: configuration for a web server in front of Quarterdeck, for https and for other machines."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import APIRouter

from quarterdeck.control.services import Services
from quarterdeck.schemas.access import ProxySnippet
from quarterdeck.settings import Settings

NAME = "llm.example.org"
"""Stands for the name under which clients reach the web server."""

_BEFORE = f"""\
# Replace {NAME} by your name, and add it to “Further host names” in the settings of Quarterdeck.
# Make an API key first (quarterdeck keys add NAME): everybody who reaches this server can call.
"""

_NGINX = """\
server {{
    listen 443 ssl;
    server_name {name};
    ssl_certificate     /etc/ssl/certs/{name}.pem;
    ssl_certificate_key /etc/ssl/private/{name}.key;
    ssl_protocols       TLSv1.2 TLSv1.3;

    # Pictures and audio; the same as “Largest request” in Quarterdeck.
    client_max_body_size {limit}m;

    location / {{
        proxy_pass {url};
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header Connection "";
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;

        # Tokens go out as they come, and a model may take its time.
        proxy_buffering off;
        proxy_request_buffering off;
        proxy_cache off;
        gzip off;
        proxy_read_timeout 3600s;
        proxy_send_timeout 3600s;
    }}
}}
"""

_APACHE = """\
# Needs: a2enmod ssl proxy proxy_http headers
<VirtualHost *:443>
    ServerName {name}
    SSLEngine on
    SSLCertificateFile    /etc/ssl/certs/{name}.pem
    SSLCertificateKeyFile /etc/ssl/private/{name}.key
    SSLProtocol           -all +TLSv1.2 +TLSv1.3
{to_https}
    # Pictures and audio; the same as “Largest request” in Quarterdeck.
    LimitRequestBody {bytes}

    # Names of models may hold slashes.
    AllowEncodedSlashes NoDecode
    ProxyPreserveHost On
    ProxyRequests Off
    RequestHeader set X-Forwarded-Proto "https"

    # Tokens go out as they come, and a model may take its time.
    SetEnv no-gzip 1
    ProxyPass        / {url}/ nocanon flushpackets=on timeout=3600
    ProxyPassReverse / {url}/
</VirtualHost>
"""

_CADDY = """\
{name} {{
    # Pictures and audio; the same as “Largest request” in Quarterdeck.
    request_body {{
        max_size {limit}MiB
    }}

    # Streams are passed on at once without “flush_interval -1”, with which a client that leaves would not be noticed.
    reverse_proxy {url} {{
        transport http {{{to_https}
            read_timeout 1h
            write_timeout 1h
        }}
    }}
}}
"""


def snippets(url: str, settings: Settings) -> list[ProxySnippet]:
    """One for each web server, to an address of Quarterdeck such as http://127.0.0.1:8100."""
    limit = settings.body_limit
    secure = urlsplit(url).scheme == "https"
    apache_tls = "    SSLProxyEngine on\n    SSLProxyCheckPeerName off\n" if secure else ""
    caddy_tls = "\n            tls_insecure_skip_verify" if secure else ""
    texts = {
        "nginx": _NGINX.format(name=NAME, url=url, limit=limit),
        "apache": _APACHE.format(name=NAME, url=url, bytes=limit * 1024 * 1024, to_https=apache_tls),
        "caddy": _CADDY.format(name=NAME, url=url, limit=limit, to_https=caddy_tls),
    }
    return [ProxySnippet(server=server, text=_BEFORE + text) for server, text in texts.items()]


def router(services: Services) -> APIRouter:
    """The route of the snippets."""
    routes = APIRouter(tags=["connect"])

    @routes.get("/api/snippets")
    async def list_snippets() -> list[ProxySnippet]:
        """Configurations for nginx, Apache and Caddy that do not hold streams back."""
        settings = services.preferences.current
        usual = f"http://127.0.0.1:{settings.port}"
        return snippets(services.public_url() or usual, settings)

    return routes
