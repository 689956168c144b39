"""Kernels over UTF-8 bytes that signals and deduplication share."""
