"""Decontamination: which documents hold text of evaluation sets, by exact n-grams, and what is done about them."""
