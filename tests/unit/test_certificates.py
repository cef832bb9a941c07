"""Clients of Prefect share their certificates; a change of Prefect's client module shows here."""

from __future__ import annotations

import ssl

import certifi
import pytest
from prefect.client import orchestration
from prefect.client.orchestration import PrefectClient, SyncPrefectClient
from prefect.settings import PREFECT_API_TLS_INSECURE_SKIP_VERIFY, temporary_settings

from vibesurf_blocks.prefect_api import certificates

ADDRESS = "http://127.0.0.1:1/api"


@pytest.fixture(autouse=True)
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The bundles that were read, beside the one that `share` reads."""
    monkeypatch.setattr(orchestration, "ssl", ssl)
    read: list[str] = []
    certificates.share()
    original = ssl.create_default_context

    def create(*args: object, **kwargs: str) -> ssl.SSLContext:
        read.append(kwargs.get("cafile", "the system's"))
        return original(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(ssl, "create_default_context", create)
    return read


def test_no_client_reads_the_bundle_again(loads: list[str]) -> None:
    PrefectClient(api=ADDRESS)
    SyncPrefectClient(api=ADDRESS)
    assert loads == []


def test_a_client_that_is_not_to_verify_has_a_context_of_its_own(loads: list[str]) -> None:
    with temporary_settings({PREFECT_API_TLS_INSECURE_SKIP_VERIFY: True}):
        PrefectClient(api=ADDRESS)
    assert loads == ["the system's"]
    shared = vars(orchestration)["ssl"].create_default_context(cafile=certifi.where())
    assert shared.verify_mode is ssl.CERT_REQUIRED
    assert shared.check_hostname


def test_sharing_twice_is_sharing_once() -> None:
    first = vars(orchestration)["ssl"]
    certificates.share()
    assert vars(orchestration)["ssl"] is first
