"""PDFs written by hand, small enough to see what is in them."""

from __future__ import annotations

import hashlib

PADDING = bytes.fromhex(
    "28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A"
)  # ISO 32000-1, 7.6.3.3
ID = bytes(range(16))


def stream(body: bytes, entries: str = "") -> bytes:
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(body), entries.encode(), body)


def pdf(
    *contents: str,
    size: tuple[float, float] = (612, 792),
    page_entries: str = "",
    resources: str = "",
    objects: tuple[bytes, ...] = (),
    password: str = "",
) -> bytes:
    """Returns a PDF of one page per content stream; `/F` is Helvetica.

    objects: more of them, numbered from 10. password: opens it, RC4 with 40 bits.
    """
    kids = [10 + len(objects) + 2 * index for index in range(len(contents))]
    numbered: dict[int, bytes] = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(f'{kid} 0 R' for kid in kids)}] >>".encode(),
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    }
    numbered |= {10 + index: body for index, body in enumerate(objects)}
    key, handler = _lock(password)
    for kid, content in zip(kids, contents, strict=True):
        page = f"/Type /Page /Parent 2 0 R /MediaBox [0 0 {size[0]} {size[1]}] {page_entries}"
        page += f" /Resources << /Font << /F 3 0 R >> {resources} >> /Contents {kid + 1} 0 R"
        numbered[kid] = f"<< {page} >>".encode()
        body = content.encode("latin-1")
        numbered[kid + 1] = stream(_rc4(_object_key(key, kid + 1), body) if password else body)
    trailer = f"/ID [<{ID.hex()}> <{ID.hex()}>]"
    if password:
        numbered[4] = handler
        trailer += " /Encrypt 4 0 R"
    return _file(numbered, trailer)


def _file(numbered: dict[int, bytes], trailer: str) -> bytes:
    out = bytearray(b"%PDF-1.5\n")
    offsets = {}
    for number, body in sorted(numbered.items()):
        offsets[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start, size = len(out), max(numbered) + 1
    out += b"xref\n0 1\n0000000000 65535 f \n"
    for number, offset in offsets.items():
        out += b"%d 1\n%010d 00000 n \n" % (number, offset)
    out += f"trailer\n<< /Root 1 0 R /Size {size} {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def _lock(password: str) -> tuple[bytes, bytes]:
    """Returns the file's key and its encryption dictionary: standard handler, revision 2."""
    padded = (password.encode() + PADDING)[:32]
    owner = _rc4(hashlib.md5(padded).digest()[:5], padded)
    rights = -4
    digest = hashlib.md5(padded + owner + rights.to_bytes(4, "little", signed=True) + ID)
    key = digest.digest()[:5]
    entries = f"/Filter /Standard /V 1 /R 2 /Length 40 /P {rights}"
    return key, f"<< {entries} /O <{owner.hex()}> /U <{_rc4(key, PADDING).hex()}> >>".encode()


def _object_key(key: bytes, number: int) -> bytes:
    return hashlib.md5(key + number.to_bytes(3, "little") + bytes(2)).digest()[:10]


def _rc4(key: bytes, text: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out, i, j = bytearray(), 0, 0
    for byte in text:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)
