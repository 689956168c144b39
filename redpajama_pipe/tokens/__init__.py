"""Kept text to token shards, and the order in which training reads them. Imports neither pyspark nor torch."""
