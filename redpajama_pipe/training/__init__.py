"""The GPT-NeoX training loop and the measure of memorisation; needs the extra `train`, neither pyspark nor Java."""
