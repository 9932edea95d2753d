"""Settings of the address that clients use: where, for whom, and under which headers."""

from __future__ import annotations

from quarterdeck.settings.declaring import Group, setting


class ServerSettings(Group):
    """The public address."""

    host: str = setting(
        "127.0.0.1", label="Address", group="Server", also=("CHAT_PROXY_HOST",),
        text="Address on which clients reach Quarterdeck. Any other than a loopback address needs an API key first.",
    )  # fmt: skip
    port: int = setting(
        8100, label="Port", group="Server", also=("CHAT_PROXY_PORT",), ge=0, le=65535,
        text="Port on which clients reach Quarterdeck. 0 lets the system choose one.",
    )  # fmt: skip
    allowed_hosts: list[str] = setting(
        [], label="Further host names", group="Server",
        text="Names besides localhost and this machine's name under which clients may address Quarterdeck.",
    )  # fmt: skip
    allowed_origins: list[str] = setting(
        [], label="Allowed web origins", group="Server", also=("CORS_ALLOW_ORIGIN",),
        text="Web pages (scheme://host:port) whose scripts may call Quarterdeck.",
    )  # fmt: skip
    cors_custom_schemes: list[str] = setting(
        [], label="Further schemes of web origins", group="Server", also=("CORS_ALLOW_CUSTOM_SCHEME",),
        text="Schemes besides http and https that an allowed web origin may have, such as app.",
    )  # fmt: skip
    tls_certificate: str = setting(
        "", label="TLS certificate", group="Server",
        text="PEM file with the certificate and its chain; with it, clients reach Quarterdeck over https.",
    )  # fmt: skip
    tls_key: str = setting(
        "", label="TLS key", group="Server",
        text="PEM file with the key of the certificate.",
    )  # fmt: skip
    body_limit: int = setting(
        64, label="Largest request", group="Server", ge=1, le=4096,
        text="MiB that the body of one request may have.",
    )  # fmt: skip


class HeaderSettings(Group):
    """Security headers; an empty one is not sent, one that is not valid is replaced by a safe value."""

    header_cache_control: str = setting(
        "", label="Cache-Control", group="Headers", also=("CACHE_CONTROL",),
        text="Sent with every answer that is not a stream.",
    )  # fmt: skip
    header_hsts: str = setting(
        "", label="Strict-Transport-Security", group="Headers", also=("HSTS",),
        text="Such as max-age=31536000;includeSubDomains.",
    )  # fmt: skip
    header_permissions_policy: str = setting(
        "", label="Permissions-Policy", group="Headers", also=("PERMISSIONS_POLICY",),
        text="Such as camera=(),microphone=().",
    )  # fmt: skip
    header_referrer_policy: str = setting(
        "", label="Referrer-Policy", group="Headers", also=("REFERRER_POLICY",),
        text="Such as no-referrer.",
    )  # fmt: skip
    header_content_type_options: str = setting(
        "", label="X-Content-Type-Options", group="Headers", also=("XCONTENT_TYPE",),
        text="Always nosniff when it is set.",
    )  # fmt: skip
    header_download_options: str = setting(
        "", label="X-Download-Options", group="Headers", also=("XDOWNLOAD_OPTIONS",),
        text="Such as noopen.",
    )  # fmt: skip
    header_frame_options: str = setting(
        "", label="X-Frame-Options", group="Headers", also=("XFRAME_OPTIONS",),
        text="DENY or SAMEORIGIN.",
    )  # fmt: skip
    header_cross_domain_policies: str = setting(
        "", label="X-Permitted-Cross-Domain-Policies", group="Headers", also=("XPERMITTED_CROSS_DOMAIN_POLICIES",),
        text="Such as none.",
    )  # fmt: skip
    header_content_security_policy: str = setting(
        "", label="Content-Security-Policy", group="Headers", also=("CONTENT_SECURITY_POLICY",),
        text="Taken as it is given.",
    )  # fmt: skip
