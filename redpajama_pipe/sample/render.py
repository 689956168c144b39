"""Render what the Python installation says about itself: module pages, module sources, language topics.

`render` starts this file as a script in an interpreter of its own, because what pydoc shows depends on the process:
which modules are loaded, the hash seed, the environment. Only the standard library is imported here. 120 modules take
about 5 s.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import pydoc
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass
from importlib.resources import files

# Modules that Python 3.11 and later have on every system, and whose import opens and prints nothing. Left out: what
# shows the machine (os, sys, platform, sysconfig, time, zoneinfo) and what needs a screen.
_NAMES = (
    "abc argparse array base64 bdb bisect calendar cmath cmd code codecs collections colorsys compileall configparser"
    " contextlib copy copyreg csv dataclasses datetime decimal difflib dis doctest enum filecmp fileinput fnmatch"
    " fractions ftplib functools getopt gettext glob graphlib gzip heapq hmac html.parser http.client http.cookies"
    " http.server imaplib ipaddress itertools json.decoder json.encoder keyword linecache logging logging.config"
    " logging.handlers mailbox math modulefinder netrc numbers operator optparse pathlib pdb pickle pickletools pkgutil"
    " plistlib poplib pprint profile pstats py_compile pyclbr queue quopri random reprlib runpy sched secrets selectors"
    " shelve shlex shutil smtplib socketserver statistics string stringprep struct subprocess symtable tabnanny tarfile"
    " tempfile textwrap threading timeit token tokenize trace traceback tracemalloc types typing unicodedata"
    " unittest.case unittest.loader unittest.mock unittest.suite urllib.parse urllib.request urllib.response"
    " urllib.robotparser uuid warnings wave weakref webbrowser wsgiref.headers wsgiref.util xml.dom.minidom"
    " xml.dom.pulldom xml.etree.ElementTree xml.sax.handler xml.sax.saxutils xmlrpc.client xmlrpc.server zipapp zipfile"
    " zlib ast email.message email.headerregistry email.policy email.mime.base email.generator codeop binascii bz2 lzma"
)
MODULES = tuple(_NAMES.split())

_FILE_LINK = re.compile(r'<a href="file:[^"]*">[^<]*</a>')
_FILE_SECTION = re.compile(r"\nFILE\n +\S[^\n]*\n")
_ADDRESS = re.compile(r"(?: |&nbsp;)at(?: |&nbsp;)0x[0-9a-fA-F]+")


@dataclass(frozen=True)
class Module:
    """One rendered module; `source` is empty for a module that has none in Python."""

    name: str
    html: str
    plain: str
    source: str
    docstrings: tuple[str, ...]


@dataclass(frozen=True)
class Rendering:
    """What one call of `render` gives; `topics` maps a name such as `assert` to its text."""

    modules: tuple[Module, ...]
    topics: dict[str, str]


def render(count: int) -> Rendering:
    """Render the first `count` modules of MODULES that can be imported, and every language topic.

    The result is the same in every call on one installation: no address, no path, no order of a set.
    """
    script = files(__package__).joinpath("render.py").read_text(encoding="utf-8")
    # -s -S -P: no site-packages and no current directory, so that only the standard library is seen. The short
    # environment keeps the caller's variables out of the pages.
    done = subprocess.run(
        [sys.executable, "-s", "-S", "-P", "-B", "-X", "utf8", "-c", script, str(count)],
        env={"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C", "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
    )
    tree = json.loads(done.stdout)
    modules = tuple(Module(**{**item, "docstrings": tuple(item["docstrings"])}) for item in tree["modules"])
    return Rendering(modules=modules, topics=tree["topics"])


def _without_machine(text: str) -> str:
    """Remove addresses and the folders of this installation."""
    text = _ADDRESS.sub("", text)
    for folder in sorted({os.path.dirname(os.__file__), sys.prefix, sys.base_prefix}, key=len, reverse=True):
        if len(folder) > 1:
            text = text.replace(folder, "python")
    return text


def _render_module(name: str) -> dict[str, object]:
    module = importlib.import_module(name)
    page = pydoc.html.page(pydoc.describe(module), pydoc.html.document(module, name))
    plain = pydoc.plain(pydoc.text.document(module, name))
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError):
        source = ""
    found = [module.__doc__]
    for value in vars(module).values():
        if getattr(value, "__module__", None) == name:
            found.append(value.__doc__)
            if inspect.isclass(value):
                found += [member.__doc__ for member in vars(value).values() if inspect.isroutine(member)]
    return {
        "name": name,
        "html": _without_machine(_FILE_LINK.sub("", page)),
        "plain": _without_machine(_FILE_SECTION.sub("\n", plain)),
        "source": _without_machine(source),
        "docstrings": [_without_machine(inspect.cleandoc(text)) for text in found if isinstance(text, str)],
    }


def _main() -> None:
    count = int(sys.argv[1])
    warnings.simplefilter("ignore")
    out, sys.stdout = sys.stdout, sys.stderr  # a module that prints must not end up in the JSON
    modules: list[dict[str, object]] = []
    for name in MODULES:
        if len(modules) == count:
            break
        try:
            modules.append(_render_module(name))
        except ImportError as error:
            print(f"sample: module {name} left out: {error}", file=sys.stderr)
    # some distributions leave the topics out of their smallest Python
    found = importlib.util.find_spec("pydoc_data.topics")
    topics = importlib.import_module("pydoc_data.topics").topics if found else {}
    json.dump({"modules": modules, "topics": dict(sorted(topics.items()))}, out)


if __name__ == "__main__":
    _main()
