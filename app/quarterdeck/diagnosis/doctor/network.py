"""The first steps of the way: the address as written, proxies of the environment, name lookup, connection."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Mapping

from quarterdeck.diagnosis.doctor.addresses import Address, is_loopback
from quarterdeck.diagnosis.doctor.findings import Found, failed, ok, warn
from quarterdeck.diagnosis.doctor.targets import Limits, Target

HOST_OF_CONTAINER = "host.docker.internal"
USUAL_PORTS = {
    11434: "Ollama", 8000: "vLLM", 8080: "llama.cpp or Open WebUI", 9931: "llama.cpp", 4000: "LiteLLM",
    8100: "Quarterdeck", 1234: "LM Studio", 3000: "Open WebUI", 5000: "TabbyAPI", 30000: "SGLang",
}  # fmt: skip
_GLANCE_S = 0.3
_LOOPBACKS = ("127.0.0.1", "::1")


def check_address(target: Target, address: Address) -> Found:
    """What was wrong with the address as written."""
    if target.from_container and address.is_loopback:
        better = address.url.replace(address.netloc, address.netloc.replace(address.host, HOST_OF_CONTAINER), 1)
        return failed(
            "localhost_in_container",
            f"The client runs in a container, and there {address.host} is the container itself.",
            f"Use {better}, or start the container with --network=host.",
        )
    findings = [repair for repair in address.repairs if not repair.harmless]
    if findings:
        said = " ".join(repair.finding for repair in findings)
        return warn(findings[0].code, said, f"Write it like this: {address.url}")
    if address.repairs:
        return ok(address.repairs[0].finding, address.repairs[0].code, f"Better: {address.url}")
    return ok(f"{address.url} is well written.")


def check_proxies(address: Address, environment: Mapping[str, str]) -> Found:
    """Whether programs would go through a proxy of the environment to reach a server nearby."""
    proxies = _proxies(environment)
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if proxy is None:
        return ok("No proxy is set in the environment for this address.")
    if any(_leaves_out(entry, address) for entry in proxies.get("no", "").split(",")):
        return ok("A proxy is set in the environment, and this address is left out of it.")
    if not is_near(address.host):
        return ok("Programs that follow the environment reach this address through a proxy.", "proxy_used")
    entry = f"localhost,127.0.0.1,::1{'' if address.is_loopback else ',' + address.host}"
    return warn(
        "proxy_catches_local",
        f"A proxy is set in the environment ({', '.join(sorted(_set_names(environment)))}), and programs that follow "
        f"it send requests for {address.host} there too.",
        f"Set NO_PROXY={entry} where the client is started.",
    )


def _proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """As Python, curl and Go read them: small letters win."""
    lowered = {name.lower(): value for name, value in environment.items() if value and name.isupper()}
    lowered |= {name: value for name, value in environment.items() if value and name.islower()}
    return {name.removesuffix("_proxy"): value for name, value in lowered.items() if name.endswith("_proxy")}


def _leaves_out(entry: str, address: Address) -> bool:
    """Whether an entry of NO_PROXY covers the address: a name and what ends with it, a number, a network, a star."""
    name, port = entry.strip().lower(), ""
    if name == "*":
        return True
    name = name.removeprefix("*")
    if name.count(":") == 1:
        name, _, port = name.partition(":")
    if not name or (port and port != str(address.port)):
        return False
    try:
        return ipaddress.ip_address(address.host) in ipaddress.ip_network(name.strip("[]"), strict=False)
    except ValueError:
        return f".{address.host}".endswith("." + name.lstrip("."))


def _set_names(environment: Mapping[str, str]) -> list[str]:
    return [name for name, value in environment.items()
            if value and name.lower() in ("http_proxy", "https_proxy", "all_proxy")]  # fmt: skip


def is_near(host: str) -> bool:
    if is_loopback(host) or host == HOST_OF_CONTAINER or "." not in host.strip("."):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host.endswith((".local", ".lan", ".home", ".internal", ".home.arpa"))


async def look_up(address: Address, limits: Limits) -> tuple[Found, list[str]]:
    """The numbers behind the name."""
    host = address.host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return ok(f"{host} is a number already, there is no name to look up."), [host]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limits.lookup):
            found = await loop.getaddrinfo(host, address.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        return failed("dns_timeout", f"Looking up {host} took longer than {limits.lookup:g} s.",
                      "Check the DNS server of this machine."), []  # fmt: skip
    except (socket.gaierror, UnicodeError) as error:
        return _unknown_name(host, error), []
    numbers = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    return ok(f"{host} is {', '.join(numbers[:4])}."), numbers


def _unknown_name(host: str, error: Exception) -> Found:
    if getattr(error, "errno", None) == socket.EAI_AGAIN:
        return failed(
            "dns_unreachable",
            f"{host} could not be looked up: no DNS server answers.",
            "Check the network connection and the DNS server of this machine.",
        )
    if host == HOST_OF_CONTAINER:
        fix = (
            "The name exists only inside containers: use 127.0.0.1 here. Inside a container on Linux it needs "
            "--add-host=host.docker.internal:host-gateway."
        )
    elif "." not in host:
        fix = (
            f"“{host}” looks like the name of a container, which only containers in the same network know. "
            "From this machine use 127.0.0.1 and the published port."
        )
    elif host.endswith(".local"):
        fix = "Such names are found by mDNS: check that the other machine and avahi run, or use its number."
    else:
        fix = "Check the spelling; a new name may take a while until it is known everywhere."
    return failed("dns_unknown", f"There is no host with the name {host}.", fix)


async def connect(address: Address, numbers: list[str], limits: Limits, *, in_container: bool) -> Found:
    """Try each number; one that works is enough, the others are told."""
    tried = await asyncio.gather(*(_try(number, address.port, limits.connect) for number in numbers))
    reached = [number for number, error in zip(numbers, tried, strict=True) if error is None]
    refused = [number for number, error in zip(numbers, tried, strict=True) if error is not None]
    if not reached:
        return await _unreached(address, tried[0], limits, in_container=in_container)
    if refused and address.is_loopback:
        return warn(
            "localhost_two_addresses",
            f"{address.host} stands for {' and '.join(numbers)}, but the server listens only on {reached[0]}. "
            "Some programs try only the first.",
            f"Write {_bracketed(reached[0])} instead of {address.host}.",
        )
    if refused:
        return warn(
            "address_partly_dead",
            f"{', '.join(refused)} of {address.host} cannot be reached, {reached[0]} can.",
            "Programs that try the dead number first are slow: correct the DNS entry.",
        )
    return ok(f"Port {address.port} at {reached[0]} is open.")


async def _try(number: str, port: int, seconds: float) -> OSError | None:
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(number, port)
    except TimeoutError:
        return TimeoutError(errno.ETIMEDOUT, "")
    except OSError as error:
        return error
    writer.close()
    return None


async def _unreached(address: Address, error: OSError | None, limits: Limits, *, in_container: bool) -> Found:
    where = f"{address.host}, port {address.port}"
    if isinstance(error, TimeoutError):
        return failed(
            "connect_timeout",
            f"Nothing answers at {where} within {limits.connect:g} s.",
            "A firewall drops the connection, or the machine is off or in another network.",
        )
    if error is not None and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL):
        return failed(
            "no_route",
            f"There is no way to {where} from this machine.",
            "Check the network, the VPN, and whether the address belongs to this network.",
        )
    if not address.is_loopback:
        return failed("refused", f"No program listens at {where}.", "Start the server, or correct the port.")
    return await _nobody_here(address, where, in_container=in_container)


async def _nobody_here(address: Address, where: str, *, in_container: bool) -> Found:
    """Where else on this machine the server may be."""
    for number in _LOOPBACKS:
        if number != address.host and await _try(number, address.port, _GLANCE_S) is None:
            better = f"{address.scheme}://{_bracketed(number)}:{address.port}{address.path}"
            finding = f"No program listens at {where}, but one does at {number}."
            return failed("other_loopback", finding, f"Use {better}, or let the server listen on both.")
    others = await _others(address)
    seen = f" Of this machine: {', '.join(others)}." if others else ""
    if in_container:
        return failed(
            "localhost_in_container",
            f"No program listens at {where}. Quarterdeck runs in a container, and {address.host} is the container.",
            f"For a server outside of the container use {HOST_OF_CONTAINER} in its place; one inside must be started."
            f"{seen}",
        )
    return failed("refused", f"No program listens at {where}.", f"Start the server, or correct the port.{seen}")


async def _others(address: Address) -> list[str]:
    ports = [port for port in USUAL_PORTS if port != address.port]
    errors = await asyncio.gather(*(_try("127.0.0.1", port, _GLANCE_S) for port in ports))
    return [f"something listens on {port}, usual for {USUAL_PORTS[port]}"
            for port, error in zip(ports, errors, strict=True) if error is None]  # fmt: skip


def _bracketed(number: str) -> str:
    return f"[{number}]" if ":" in number else number
