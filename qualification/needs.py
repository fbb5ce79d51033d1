"""What a cell may need from outside this machine's memory: whether it is there, and what the cell must be told to use it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

from qualification import settings
from qualification.declared import Need

_CONNECT_TIMEOUT_S = 3.0


def missing(wanted: Iterable[Need]) -> Mapping[Need, str]:
    """For each need that is not met here and now, the sentence that says so."""
    return {need: sentence for need in sorted(set(wanted)) if (sentence := _LOOKS[need]())}


def pays(need: Need) -> str:
    return {
        "hub": "a machine on which a port of 127.0.0.1 can be opened",
        "network": "a machine that reaches the Hub",
        "credentials": "a run with HF_TOKEN set",
    }[need]


def environment(needs: Iterable[Need]) -> dict[str, str]:
    """Variables of the user's that a cell with these needs gets beside what every cell gets."""
    told = {name for need in needs for name in _TOLD[need]}
    live = bool({"network", "credentials"} & set(needs))
    return {name: value for name, value in settings.live().items() if name in told or (live and name.startswith("MLXK2_"))}


def _loopback() -> str:
    try:
        with socket.create_server(("127.0.0.1", 0)):
            return ""
    except OSError as error:
        return f"no port of 127.0.0.1 can be opened ({error.strerror}), and a local hub needs one"


def _network() -> str:
    proxy = settings.live().get("HTTPS_PROXY") or settings.live().get("https_proxy")
    endpoint = urlsplit(proxy or settings.live().get("HF_ENDPOINT") or "https://huggingface.co")
    port = endpoint.port or (443 if endpoint.scheme == "https" else 80)
    try:
        with socket.create_connection((endpoint.hostname or "huggingface.co", port), _CONNECT_TIMEOUT_S):
            return ""
    except OSError as error:
        return f"{endpoint.hostname} cannot be reached ({error})"


def _credentials() -> str:
    return "" if settings.live().get("HF_TOKEN") else "HF_TOKEN is not set"


_LOOKS: Mapping[Need, Callable[[], str]] = {"hub": _loopback, "network": _network, "credentials": _credentials}
_TOLD: Mapping[Need, tuple[str, ...]] = {
    "hub": (),
    "network": ("HF_ENDPOINT", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE"),
    "credentials": ("HF_TOKEN",),
}
