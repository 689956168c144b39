"""Exact and near-duplicates: hashes, signatures, and the walk that decides what stays."""

from redpajama_pipe.dedup.minhash import MinHashSpec, sign

__all__ = ["MinHashSpec", "sign"]
