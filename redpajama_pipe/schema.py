"""Every table's columns, once.

Ids are 16 raw bytes (`doc_id`); people see them as 32 hex digits. Spans are UTF-8 byte offsets into `text`.
"""

from __future__ import annotations

import hashlib

import pyarrow as pa

DOC_ID = "doc_id"
SOURCE = "source"
SUBSET = "subset"
TEXT = "text"
PART = "part"
ROW = "row"
LANGUAGE = "language"
LANGUAGE_SCORE = "language_score"
IDENTIFIED_LANGUAGE = "identified_language"
DECLARED_LANGUAGE = "declared_language"
CONTENT_HASH = "content_hash"
NORMALIZED_HASH = "normalized_hash"
CONTENT_DIGEST = "content_digest"
URL = "url"
SIGNATURE = "signature"
CHAR_COUNT = "char_count"
BYTE_COUNT = "byte_count"

# What ingest knows of a document. `part` and `row` are its place: file name without suffix, row within it.
PROVENANCE = pa.schema(
    [
        pa.field(DOC_ID, pa.binary(), nullable=False),
        pa.field(SOURCE, pa.string(), nullable=False),
        pa.field(SUBSET, pa.string()),
        pa.field(PART, pa.string(), nullable=False),
        pa.field(ROW, pa.int64(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("record_id", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field(URL, pa.string()),
        pa.field("title", pa.string()),
        pa.field("timestamp", pa.string()),
        pa.field("mime", pa.string()),
        pa.field("charset", pa.string()),
        pa.field("charset_source", pa.string()),
        pa.field(DECLARED_LANGUAGE, pa.string()),
        pa.field("meta", pa.string()),
        pa.field("host", pa.string()),  # of the url, in lower case, without user, port and brackets
        pa.field("snapshot", pa.string()),  # of Common Crawl, such as CC-MAIN-2023-06
        pa.field(CONTENT_DIGEST, pa.string()),  # as the archive gives it, such as sha1:BASE32
    ]
)

DOCUMENTS = PROVENANCE.append(pa.field(TEXT, pa.string(), nullable=False))

QUARANTINE = pa.schema(
    [
        pa.field(SOURCE, pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("record_id", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)

# One row a decision. A dropped document has one row for each rule that would drop it; `rank` 0 is the one it is
# counted under, the others are what it would have been dropped for as well.
DECISIONS = pa.schema(
    [
        pa.field(DOC_ID, pa.binary(), nullable=False),
        pa.field(SOURCE, pa.string(), nullable=False),
        pa.field(LANGUAGE, pa.string()),
        pa.field("action", pa.string(), nullable=False),  # drop | cut | replace
        pa.field("span_start", pa.int64()),  # bytes of text; null for drop
        pa.field("span_end", pa.int64()),
        pa.field("replacement", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("evidence", pa.string(), nullable=False),  # a JSON object: the values that decided
        pa.field("kept_doc_id", pa.binary()),  # duplicates: the document that stays
        pa.field("similarity", pa.float64()),  # duplicates: exact Jaccard, 1.0 for equal content
    ]
)

TOKEN_MAP = pa.schema(
    [
        pa.field(DOC_ID, pa.binary(), nullable=False),
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("sequence", pa.int64(), nullable=False),  # index in the shard's .idx; -1: no tokens
        pa.field("offset", pa.int64(), nullable=False),  # first token, counted in tokens from the shard's start
        pa.field("length", pa.int64(), nullable=False),  # tokens, the end-of-document token included
        pa.field(SOURCE, pa.string(), nullable=False),
        pa.field(SUBSET, pa.string()),
        pa.field(LANGUAGE, pa.string()),
        pa.field(PART, pa.string(), nullable=False),
        pa.field(ROW, pa.int64(), nullable=False),
    ]
)


def document_id(identity: str, record_id: str) -> bytes:
    """Name a document by where it came from: 128-bit BLAKE2b of the file's identity and the record's.

    Args:
        identity: `Split.identity`.
        record_id: unique inside the file.

    Returns:
        16 bytes, the same on every machine and in every run.
    """
    # NUL cannot occur in a URI or a record id, so the pair is unambiguous.
    return hashlib.blake2b(f"{identity}\0{record_id}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def spark_ddl(schema: pa.Schema) -> str:
    """Write an Arrow schema as the DDL string that mapInArrow takes."""
    names = {
        pa.binary(): "binary",
        pa.string(): "string",
        pa.int64(): "bigint",
        pa.int32(): "int",
        pa.float64(): "double",
        pa.float32(): "float",
        pa.bool_(): "boolean",
    }
    return ", ".join(f"`{field.name}` {names[field.type]}" for field in schema)
