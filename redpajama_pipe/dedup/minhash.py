"""MinHash signatures of documents, bit-equal to those that published tools make.

The least value of each of many random permutations over a document's shingles: two signatures agree in a share of
their places that estimates the Jaccard similarity of the shingle sets. Broder 1997, On the resemblance and containment
of documents. A core signs about 300 MB of text a second (benchmarks/bench_minhash.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from numba import njit, types, uint32, uint64
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from redpajama_pipe.dedup.shingles import NORMALIZATIONS, hash_runs
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.settings.annotate import MinHash
from redpajama_pipe.text.vectors import address, constant, splat, vector

if TYPE_CHECKING:
    import datasketch

DATASKETCH_SCHEMES = ("affine32", "affine64", "legacy")
SCHEMES = (*DATASKETCH_SCHEMES, "redpajama_v2", "datatrove_sha1", "datatrove")

_MERSENNE = (1 << 61) - 1
_REDPAJAMA_SEED = 42
_TILE = 2048  # hashes at a time: 8 or 16 KB, which stay in the L1 cache while every permutation reads them
_WIDE, _NARROW = 128, 64  # bytes of permutations that stay in registers while they read a tile


@dataclass(frozen=True)
class MinHashSpec:
    """What a signature is: two signatures compare only when made by equal specs.

    Attributes:
        num_perm: values in a signature, at least bands * rows.
        shingle: consecutive words in one element of the set; with `slimpajama` consecutive characters.
        normalization: what the words are; they are joined by one space.
            `words`: lower case (one code point to one, Unicode 14.0), maximal runs of letters, digits and other
            numbers (str.isalnum()) with the combining marks that follow them. Everything else only separates, so
            punctuation does not matter. In a script that is written without spaces (text.scripts)
            each such character is a word of its own.
            `none`: str.split(), unchanged.
            `redpajama_v2`, `datatrove`, `slimpajama`: as those were made, see normalizations. They cut at spaces in
            every script, so a Chinese sentence is a word of them.
        scheme: from a shingle's UTF-8 bytes to values.
            `affine32`, `affine64`, `legacy`: those of datasketch 2.0; `legacy` is the only one of datasketch 1.x.
            `redpajama_v2`: `legacy` with the 128 pairs that RedPajama-V2 drew with seed 42.
            `datatrove`, `datatrove_sha1`: 64-bit values as of datatrove, over XXH64 as it does unless told otherwise,
            and over SHA-1 as FineWeb did with seed 1.
        seed: of NumPy's RandomState, which draws the permutations.
        bands: groups of values that make documents candidates when one is equal; 0: as many as num_perm has rows for,
            at most 14.
        rows: values in each; 0: 8, or num_perm when that is less.
    """

    num_perm: int = 112
    shingle: int = 5
    normalization: str = "words"
    scheme: str = "affine32"
    seed: int = 1
    bands: int = 0
    rows: int = 0

    def __post_init__(self) -> None:
        if self.rows == 0:
            object.__setattr__(self, "rows", min(8, max(1, self.num_perm)))
        if self.bands == 0:
            object.__setattr__(self, "bands", max(1, min(14, self.num_perm // max(1, self.rows))))
        for name in ("num_perm", "shingle", "bands", "rows"):
            if getattr(self, name) < 1:
                raise RecipeError(f"minhash: {name} is {getattr(self, name)}; it must be at least 1")
        if self.num_perm < self.bands * self.rows:
            raise RecipeError(
                f"minhash: {self.bands} bands of {self.rows} rows need {self.bands * self.rows} values; "
                f"num_perm is {self.num_perm}"
            )
        if self.normalization not in NORMALIZATIONS:
            raise RecipeError(
                f"minhash: no normalization {self.normalization!r}; there are: {', '.join(NORMALIZATIONS)}"
            )
        if self.scheme not in SCHEMES:
            raise RecipeError(f"minhash: no scheme {self.scheme!r}; there are: {', '.join(SCHEMES)}")
        if not 0 <= self.seed < 1 << 32:
            raise RecipeError(f"minhash: seed is {self.seed}; it must be in 0 to 4294967295")
        if self.scheme == "redpajama_v2" and self.seed != _REDPAJAMA_SEED:
            raise RecipeError(f"minhash: seed is {self.seed}; the scheme redpajama_v2 is defined with seed 42")

    @classmethod
    def of(cls, settings: MinHash) -> MinHashSpec:
        """Make the spec of a recipe's settings."""
        return cls(
            num_perm=settings.num_perm,
            shingle=settings.shingle,
            normalization=settings.normalization,
            scheme=settings.scheme,
            seed=settings.seed,
            bands=settings.bands,
            rows=settings.rows,
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of one value: little-endian, 4 or 8 bytes."""
        return np.dtype("<u8" if self.scheme in ("affine64", "datatrove_sha1", "datatrove") else "<u4")


@lru_cache(maxsize=8)
def permutations(spec: MinHashSpec) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw the coefficients of a * hash + b.

    Returns:
        Two arrays (num_perm,), read-only; uint32 for affine32, else uint64.

    Source: datasketch/minhash.py, MinHash._init_permutations; datatrove/pipeline/dedup/minhash.py, init_parameters.
    """
    generator = np.random.RandomState(spec.seed)  # the published permutations come from it
    count = spec.num_perm
    if spec.scheme in ("legacy", "redpajama_v2"):
        pairs = [(generator.randint(1, _MERSENNE, dtype=np.uint64), generator.randint(0, _MERSENNE, dtype=np.uint64))
                 for _ in range(count)]  # fmt: skip
        a, b = np.array(pairs, np.uint64).T.copy()
    elif spec.scheme.startswith("datatrove"):
        a = generator.randint(1, _MERSENNE, count, dtype=np.uint64)
        b = generator.randint(0, _MERSENNE, count, dtype=np.uint64)
    else:
        kind, width = (np.uint32, 32) if spec.scheme == "affine32" else (np.uint64, 64)
        a = generator.randint(0, 1 << (width - 1), count, dtype=kind) * kind(2) + kind(1)
        b = generator.randint(0, 1 << width, count, dtype=kind)
    a.flags.writeable = b.flags.writeable = False
    return a, b


def sign(texts: pa.Array, spec: MinHashSpec) -> NDArray[Any]:
    """Make the signature of every document.

    Args:
        texts: string or large_string.
        spec: what to make.

    Returns:
        (documents, num_perm) minima, uint32 or uint64 as `spec.dtype`. A document with fewer words than one shingle,
        or null, has the greatest value everywhere, as datasketch's MinHash of an empty set.
    """
    return _sign(texts, spec)[0]


def sign_batch(texts: pa.Array, spec: MinHashSpec) -> pa.Array:
    """Make the column of signatures that is stored.

    Returns:
        binary: num_perm values of `spec.dtype` end to end; null for a document that has fewer words than one shingle,
        or is null.

    Raises:
        ValueError: more signatures than one binary array holds, 2 GB.
    """
    signatures, signed = _sign(texts, spec)
    rows = signatures if signed.all() else signatures[signed]
    if rows.nbytes > np.iinfo(np.int32).max:
        raise ValueError(f"{len(rows)} signatures of {spec.num_perm} values exceed 2 GB; pass fewer documents at once")
    offsets = np.zeros(len(signed) + 1, np.int32)
    np.cumsum(signed * (spec.num_perm * spec.dtype.itemsize), out=offsets[1:])
    validity = pa.py_buffer(np.packbits(signed, bitorder="little"))
    values = pa.py_buffer(np.ascontiguousarray(rows, spec.dtype).reshape(-1).view(np.uint8))
    return pa.Array.from_buffers(pa.binary(), len(signed), [validity, pa.py_buffer(offsets), values])


def read_signatures(column: pa.Array, spec: MinHashSpec) -> NDArray[Any]:
    """Read a column that `sign_batch` wrote.

    Returns:
        (documents, num_perm), as `sign` gives them; the greatest value where the column is null.

    Raises:
        ValueError: a signature of another length: it was made by another spec.
    """
    width = spec.num_perm * spec.dtype.itemsize
    _, offset_buffer, data = column.buffers()
    signed = column.is_valid().to_numpy(zero_copy_only=False)
    signatures = np.full((len(column), spec.num_perm), np.iinfo(spec.dtype).max, spec.dtype)
    if not signed.any():
        return signatures
    kind = np.int64 if column.type == pa.large_binary() else np.int32
    offsets = np.frombuffer(offset_buffer, kind)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    lengths = np.diff(offsets)
    if (lengths[signed] != width).any():
        found = int(lengths[signed][lengths[signed] != width][0])
        raise ValueError(f"a signature has {found} bytes; {spec.num_perm} values of {spec.scheme} are {width}")
    data = np.frombuffer(data, np.uint8)
    if (lengths[~signed] == 0).all():  # the signatures stand end to end
        signatures[signed] = data[offsets[0] : offsets[-1]].view(spec.dtype).reshape(-1, spec.num_perm)
    else:
        places = offsets[:-1][signed][:, None] + np.arange(width)
        signatures[signed] = data[places].view(spec.dtype)
    return signatures


def to_datasketch(column: pa.Array, spec: MinHashSpec) -> list[datasketch.MinHash]:
    """Read a column that `sign_batch` wrote as datasketch's objects, which its indexes take and its functions compare.

    Returns:
        (documents,) the MinHash that datasketch makes of the same shingles; of none where the column is null.

    Raises:
        ValueError: the scheme is not one of datasketch's, or a signature has another length.
    """
    import datasketch

    if spec.scheme not in DATASKETCH_SCHEMES:
        raise ValueError(f"datasketch has no scheme {spec.scheme!r}; it has: {', '.join(DATASKETCH_SCHEMES)}")
    drawn = permutations(spec)
    return [
        datasketch.MinHash(seed=spec.seed, hashvalues=values, permutations=drawn, scheme=spec.scheme)
        for values in read_signatures(column, spec)
    ]


def _sign(texts: pa.Array, spec: MinHashSpec) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    function: Literal["sha1", "xxh64"] = "xxh64" if spec.scheme == "datatrove" else "sha1"
    legacy = spec.scheme in ("legacy", "redpajama_v2")
    kind: type[Any] = np.uint32 if spec.scheme == "affine32" else np.uint64
    signatures = np.full((len(texts), spec.num_perm), np.iinfo(spec.dtype).max, kind)
    signed = np.zeros(len(texts), np.bool_)
    lanes = _NARROW // np.dtype(kind).itemsize
    a, b = (np.pad(each, (0, -spec.num_perm % lanes)) for each in permutations(spec))
    least, tile = np.empty(len(a), kind), np.empty(_TILE, kind)
    for hashes, documents, ends in hash_runs(texts, spec.shingle, spec.normalization, function):
        signed[documents] = True
        if spec.scheme == "affine32":
            _lower_affine32(hashes, documents, ends, a, b, signatures, least, tile)
        elif spec.scheme == "affine64":
            _lower_affine64(hashes, documents, ends, a, b, signatures, least, tile)
        else:
            mask = np.uint64(0xFFFFFFFF if legacy else 0xFFFFFFFFFFFFFFFF)
            _lower_mersenne(hashes, documents, ends, a, b, mask, signatures, least, tile)
    return signatures.astype(spec.dtype, copy=False), signed


def _take(size_in_bytes: int, mersenne: bool) -> Any:
    def take(typingctx: Any, tile: Any, size: Any, a: Any, b: Any, mask: Any, least: Any, first: Any) -> Any:
        """Lower the minima of neighbouring permutations, from number `first` on, by tile[:size]."""
        number = tile.dtype

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds = signature.args
            kind = vector(number.bitwidth, size_in_bytes * 8 // number.bitwidth)
            factors, terms, minima = (
                address(context, builder, kinds[i], arguments[i], arguments[6], kind) for i in (2, 3, 5)
            )
            factor, term = builder.load(factors, align=1), builder.load(terms, align=1)
            lowest = cgutils.alloca_once_value(builder, builder.load(minima, align=1))  # type: ignore[no-untyped-call]
            with cgutils.for_range(builder, arguments[1]) as loop:
                hashed = address(context, builder, kinds[0], arguments[0], loop.index, context.get_value_type(number))
                value = builder.mul(factor, splat(builder, builder.load(hashed), kind.count))
                value = builder.add(value, term)
                if mersenne:
                    # The sum wraps at 2**64 before the remainder is taken: part of the published definition.
                    prime = constant(kind, _MERSENNE)
                    value = builder.add(builder.and_(value, prime), builder.lshr(value, constant(kind, 61)))
                    # below the prime, the difference wraps to a great number
                    value = _lesser(builder, value, builder.sub(value, prime))
                    value = builder.and_(value, splat(builder, arguments[4], kind.count))
                builder.store(_lesser(builder, builder.load(lowest), value), lowest)
            builder.store(builder.load(lowest), minima, align=1)
            return context.get_dummy_value()

        return types.void(tile, types.intp, a, b, number, least, types.intp), codegen

    return intrinsic(take)


def _lesser(builder: Any, x: Any, y: Any) -> Any:
    return builder.select(builder.icmp_unsigned("<", x, y), x, y)


_take_wide, _take_narrow = _take(_WIDE, False), _take(_NARROW, False)
_take_wide_mersenne, _take_narrow_mersenne = _take(_WIDE, True), _take(_NARROW, True)


# The kernels below lower each document's minima by a run of hashes, a tile of them at a time. A permutation is a lane
# of a vector: one multiplication, one addition and one minimum a hash.


@njit(cache=True, nogil=True)
def _take_affine(tile: NDArray[Any], size: int, a: NDArray[Any], b: NDArray[Any], least: NDArray[Any]) -> None:
    wide, narrow = _WIDE // tile.itemsize, _NARROW // tile.itemsize
    p = 0
    while p + wide <= len(least):
        _take_wide(tile, size, a, b, 0, least, p)
        p += wide
    while p < len(least):
        _take_narrow(tile, size, a, b, 0, least, p)
        p += narrow


@njit(cache=True, nogil=True)
def _take_mersenne(
    tile: NDArray[np.uint64],
    size: int,
    a: NDArray[np.uint64],
    b: NDArray[np.uint64],
    mask: np.uint64,
    least: NDArray[np.uint64],
) -> None:
    wide, narrow = _WIDE // tile.itemsize, _NARROW // tile.itemsize
    p = 0
    while p + wide <= len(least):
        _take_wide_mersenne(tile, size, a, b, mask, least, p)
        p += wide
    while p < len(least):
        _take_narrow_mersenne(tile, size, a, b, mask, least, p)
        p += narrow


@njit(cache=True, nogil=True)
def _lower_affine32(
    hashes: NDArray[np.uint64],
    documents: NDArray[np.int64],
    ends: NDArray[np.int64],
    a: NDArray[np.uint32],
    b: NDArray[np.uint32],
    signatures: NDArray[np.uint32],
    least: NDArray[np.uint32],
    tile: NDArray[np.uint32],
) -> None:
    begin = 0
    for run in range(len(documents)):
        minima = signatures[documents[run]]
        for p in range(len(minima)):
            least[p] = minima[p]
        while begin < ends[run]:
            size = min(ends[run] - begin, _TILE)
            for i in range(size):  # MurmurHash3's 32-bit finaliser of the first four bytes
                h = uint32(hashes[begin + i])
                h = uint32(uint32(h ^ (h >> uint32(16))) * uint32(0x85EBCA6B))
                h = uint32(uint32(h ^ (h >> uint32(13))) * uint32(0xC2B2AE35))
                tile[i] = uint32(h ^ (h >> uint32(16)))
            begin += size
            _take_affine(tile, size, a, b, least)
        for p in range(len(minima)):
            minima[p] = least[p]


@njit(cache=True, nogil=True)
def _lower_affine64(
    hashes: NDArray[np.uint64],
    documents: NDArray[np.int64],
    ends: NDArray[np.int64],
    a: NDArray[np.uint64],
    b: NDArray[np.uint64],
    signatures: NDArray[np.uint64],
    least: NDArray[np.uint64],
    tile: NDArray[np.uint64],
) -> None:
    begin = 0
    for run in range(len(documents)):
        minima = signatures[documents[run]]
        for p in range(len(minima)):
            least[p] = minima[p]
        while begin < ends[run]:
            size = min(ends[run] - begin, _TILE)
            for i in range(size):  # MurmurHash3's 64-bit finaliser
                h = hashes[begin + i]
                h = (h ^ (h >> uint64(33))) * uint64(0xFF51AFD7ED558CCD)
                h = (h ^ (h >> uint64(33))) * uint64(0xC4CEB9FE1A85EC53)
                tile[i] = h ^ (h >> uint64(33))
            begin += size
            _take_affine(tile, size, a, b, least)
        for p in range(len(minima)):
            minima[p] = least[p]


@njit(cache=True, nogil=True)
def _lower_mersenne(
    hashes: NDArray[np.uint64],
    documents: NDArray[np.int64],
    ends: NDArray[np.int64],
    a: NDArray[np.uint64],
    b: NDArray[np.uint64],
    mask: np.uint64,
    signatures: NDArray[np.uint64],
    least: NDArray[np.uint64],
    tile: NDArray[np.uint64],
) -> None:
    begin = 0
    for run in range(len(documents)):
        minima = signatures[documents[run]]
        for p in range(len(minima)):
            least[p] = minima[p]
        while begin < ends[run]:
            size = min(ends[run] - begin, _TILE)
            for i in range(size):
                tile[i] = hashes[begin + i] & mask
            begin += size
            _take_mersenne(tile, size, a, b, mask, least)
        for p in range(len(minima)):
            minima[p] = least[p]
