"""Bytes to documents: one module a format, each a generator of records (see record.py)."""
