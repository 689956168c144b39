"""The hash of a document's bytes, by which exact duplicates find each other.

About 1 GB/s: each text goes to hashlib as a view of the Arrow buffer, no string is made.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pyarrow as pa

from redpajama_pipe.text.buffers import utf8

DIGEST_BYTES = 16


def content_hash(texts: pa.Array) -> pa.Array:
    """Hash each document's UTF-8 bytes: BLAKE2b with a digest of 128 bits, no key (RFC 7693).

    Args:
        texts: string or large_string.

    Returns:
        binary, 16 bytes a document; null for null. Different texts have the same hash with a probability of 2**-128.
    """
    data, offsets, valid = utf8(texts)
    view = data.data
    ends = offsets.tolist()
    digests = [
        blake2b(view[ends[i] : ends[i + 1]], digest_size=DIGEST_BYTES).digest() if valid[i] else b""
        for i in range(len(valid))
    ]
    sizes = np.zeros(len(valid) + 1, np.int32)
    np.cumsum(valid * DIGEST_BYTES, out=sizes[1:])
    validity = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(
        pa.binary(), len(valid), [validity, pa.py_buffer(sizes), pa.py_buffer(b"".join(digests))]
    )
