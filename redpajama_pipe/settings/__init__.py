"""The sections of a recipe as frozen dataclasses, and what builds them from YAML. Imports nothing heavy."""
