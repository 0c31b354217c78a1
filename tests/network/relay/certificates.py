"""
An authority for tests, and certificates that it signs.
"""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["Authority"]

START = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


class Authority:
    """
    Signs certificates, and writes them to files of a directory.
    """

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = self._sign(self._name, self._key.public_key(), [], is_authority=True)
        self.file = self._write(f"{name}.pem", certificate)

    def _write(self, name: str, data: bytes) -> str:
        """
        Write a file.

        @return: its path.
        """
        path = self.directory / name
        path.write_bytes(data)
        return str(path)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        names: list[x509.GeneralName],
        *,
        is_authority: bool,
    ) -> bytes:
        """
        Make a certificate.
        """
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(START)
            .not_valid_after(START + datetime.timedelta(days=36_500))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        made = builder.sign(self._key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM)

    def issue(self, *hosts: str) -> tuple[str, str]:
        """
        Make a server's certificate and key.

        @param hosts: names and IP addresses.
        @return: the paths of both files.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = []
        for host in hosts:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(host)))
            except ValueError:
                names.append(x509.DNSName(host))
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")])
        certificate = self._sign(subject, key.public_key(), names, is_authority=False)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        stem = "-".join(hosts).replace(":", "_").replace("*", "any") or "nameless"
        return self._write(f"{stem}.pem", certificate), self._write(f"{stem}.key", pem)
