"""RFC 3161 time stamps of checkpoints: somebody else's word on when a ledger was as it was. Extra ``exchange``.

Nothing here opens a connection: the request is a file to send to a time-stamping authority (``Content-Type:
application/timestamp-query``), the answer is a file to keep beside the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from crimeface_lib.core.errors import InputError, IntegrityError, MissingBackendError
from crimeface_lib.core.results import Result


@dataclass(frozen=True, slots=True)
class Timestamp(Result):
    """What an authority vouches for: these bytes were there at ``at``, UTC.

    ``serial`` and ``policy`` are the authority's own number and rules; ``authority`` is the subject of its certificate.
    """

    at: datetime
    serial: int
    policy: str
    authority: str


def timestamp_request(data: bytes) -> bytes:
    """Return a request (DER) for a time stamp of ``data``, by its SHA-512; the authority doesn't see the data.

    Raises
    ------
    MissingBackendError : the extra is not installed.
    """
    rfc3161 = _library()
    if not data:
        raise InputError("got nothing to stamp, expected the bytes of a checkpoint file")
    return rfc3161.TimestampRequestBuilder().data(data).build().as_bytes()


def verify_timestamp(data: bytes, response: bytes, *, certificates: bytes) -> Timestamp:
    """Check an authority's answer against ``data`` and the certificates that you trust.

    Parameters
    ----------
    response : the answer (DER) as it came.
    certificates : PEM, the authority's root among them, and what is between root and authority. The certificate that
        signed must be meant for time stamping and have been valid then.

    Raises
    ------
    IntegrityError : not of these bytes, not signed by whom you trust, or no granted time stamp at all.
    InputError : ``certificates`` holds none.
    """
    from cryptography import x509

    rfc3161 = _library()
    try:
        trusted = x509.load_pem_x509_certificates(certificates)
    except ValueError as error:
        raise InputError(f"got no certificate in PEM ({error}); ask the authority for its own") from error
    builder = rfc3161.VerifierBuilder()
    for certificate in trusted:
        if certificate.issuer == certificate.subject:
            builder = builder.add_root_certificate(certificate)
        else:
            builder = builder.add_intermediate_certificate(certificate)
    if all(certificate.issuer != certificate.subject for certificate in trusted):
        raise InputError("got no self-signed root among the certificates; ask the authority for its root")
    try:
        answer = rfc3161.decode_timestamp_response(response)
        builder.build().verify_message(answer, data)
        told = answer.tst_info
        signers = [x509.load_der_x509_certificate(der) for der in answer.signed_data.certificates]
        [signed] = answer.signed_data.signer_infos
    except (rfc3161.VerificationError, ValueError) as error:
        raise IntegrityError(f"the time stamp does not hold: {error}") from error
    subjects = [c.subject.rfc4514_string() for c in [*signers, *trusted] if c.serial_number == signed.serial_number]
    return Timestamp(
        at=told.gen_time.astimezone(UTC),
        serial=told.serial_number,
        policy=told.policy.dotted_string,
        authority=subjects[0] if subjects else "",
    )


def _library() -> Any:
    try:
        import rfc3161_client
    except ImportError as error:
        raise MissingBackendError(
            "time stamps need rfc3161-client, which is not installed; pip install 'crimeface-lib[exchange]'"
        ) from error
    return rfc3161_client
