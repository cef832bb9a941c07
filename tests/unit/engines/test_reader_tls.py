"""Over TLS the reader connects to a checked address and still checks the name."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.site import Site
from tests.unit.engines.reading import read


def certified(name: str, folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server context with a certificate for that name, and the file of who signed it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    signer, both = folder / "signer.pem", folder / "server.pem"
    signer.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    both.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signer.read_bytes()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context, signer


async def test_reads_a_page_whose_certificate_is_for_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, signer = certified("localhost", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(signer))
    with Site(context) as site:
        site.html("/", "<h1>Secure</h1>")
        outcome, steps, _ = await read(f"Read https://localhost:{site.port}/")
    assert steps[0].ok, outcome.error
    assert site.headers_seen["/"]["Host"] == f"localhost:{site.port}"


async def test_refuses_a_certificate_for_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, signer = certified("other.example", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(signer))
    with Site(context) as site:
        site.html("/", "<h1>Secure</h1>")
        outcome, _, _ = await read(f"Read https://localhost:{site.port}/")
    assert "certificate" in (outcome.error or "")
    assert not site.hits
