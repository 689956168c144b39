"""Text to numbers: each signal is a pure function of one document, described in SIGNALS and computed by score()."""

from redpajama_pipe.signals.batch import score
from redpajama_pipe.signals.catalogue import SIGNALS
from redpajama_pipe.signals.signal import Signal

__all__ = ["SIGNALS", "Signal", "score"]
