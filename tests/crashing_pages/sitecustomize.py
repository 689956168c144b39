"""With this folder on PYTHONPATH, Resiliparse dies of pages that hold a certain word, as native code does."""

import os
import signal

from resiliparse.extract import html2text

_extract = html2text.extract_plain_text


def extract_or_die(tree, **options):  # type: ignore[no-untyped-def]
    if "kills-the-parser" in str(tree):
        os.kill(os.getpid(), signal.SIGSEGV)
    return _extract(tree, **options)


html2text.extract_plain_text = extract_or_die
