"""Word lists and models that some signals need: where they are found, and how word lists get there.

Word lists: those of the npm packages stopwords-json and naughty-words, unpacked into one folder (see
`fetch_word_lists`). Models and URL lists: RedPajama-V2's `artifacts` folder, as its own preparation scripts lay it out.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.request import urlopen

from redpajama_pipe.errors import SetupError

WORD_LISTS_ENVIRONMENT = "REDPAJAMA_PIPE_WORD_LISTS"
ARTIFACTS_ENVIRONMENT = "REDPAJAMA_PIPE_RPV2_ARTIFACTS"


@dataclass(frozen=True)
class Package:
    """A package of word lists, one JSON array of strings a language.

    Attributes:
        name: of the package on registry.npmjs.org.
        folders: the names its folder may have among the word lists, the first being the one that is made.
        version: the one that is fetched.
        sha256: of its archive.
        licence: of the lists.
    """

    name: str
    folders: tuple[str, ...]
    version: str
    sha256: str
    licence: str

    @property
    def address(self) -> str:
        """Where the archive is."""
        return f"https://registry.npmjs.org/{self.name}/-/{self.name}-{self.version}.tgz"


STOP_WORDS = Package(
    "stopwords-json",
    ("stopwords-json", "stopwords_json"),
    "1.2.0",
    "37acf86643a6f0f8fc9afa0362f350dc0c3bfb36d870f370327e039f797a9425",
    "Apache-2.0",
)
# A copy of LDNOOBW/List-of-Dirty-Naughty-Obscene-and-Otherwise-Bad-Words.
BAD_WORDS = Package(
    "naughty-words",
    ("naughty-words", "naughty_words", "ldnoobw"),
    "1.2.0",
    "c34b05e10a97ec7b9e0c3dd91d09888187c0f08d0812eaea79679795585b217e",
    "CC-BY-4.0",
)


@dataclass(frozen=True)
class Resources:
    """Where word lists and models lie.

    Attributes:
        word_lists: folder with word lists; empty: that of the environment variable REDPAJAMA_PIPE_WORD_LISTS, else
            redpajama_pipe/word_lists in the user's cache folder.
        artifacts: RedPajama-V2's folder of models and URL lists; empty: that of REDPAJAMA_PIPE_RPV2_ARTIFACTS.
        url_lists: folder of URL lists, see signals.url_lists.
        perplexity_models: folder of LANGUAGE.sp.model and LANGUAGE.arpa.bin.
        quality_model: path of a model that train-quality-classifier wrote, or another with two labels.
    """

    word_lists: str = ""
    artifacts: str = ""
    url_lists: str = ""
    perplexity_models: str = ""
    quality_model: str = ""

    def words(self, package: Package, language: str) -> frozenset[str] | None:
        """Return the list of a language; None: the package has none.

        Raises:
            SetupError: the package is not there, or the list cannot be read.
        """
        return _read_words(self._package(package), language)

    def has(self, package: Package) -> bool:
        """Whether the package's lists are there."""
        return next(self._candidates(package), None) is not None

    def artifact(self, pattern: str) -> Path | None:
        """Return the file in the artifacts folder that matches, the first by name; None: there is none."""
        folder = self.artifacts or os.environ.get(ARTIFACTS_ENVIRONMENT, "")
        return min(Path(folder).glob(pattern), default=None) if folder else None

    def _package(self, package: Package) -> Path:
        found = next(self._candidates(package), None)
        if found is None:
            raise SetupError(
                f"no word lists of {package.name} in {self._folder()}: "
                f"redpajama-pipe fetch-word-lists fetches them; or unpack {package.address} to "
                f"{self._folder() / package.folders[0]}, or set annotate.word_lists or {WORD_LISTS_ENVIRONMENT}"
            )
        return found

    def _candidates(self, package: Package) -> Iterator[Path]:
        for name in package.folders:
            for inside in ("dist", "package/dist", "package", ""):
                folder = self._folder() / name / inside
                if (folder / "en.json").is_file():
                    yield folder

    def _folder(self) -> Path:
        given = self.word_lists or os.environ.get(WORD_LISTS_ENVIRONMENT)
        return Path(given) if given else usual_folder()


def fetch_word_lists(folder: Path | None = None) -> list[Path]:
    """Fetch the word lists from npm's registry, check and unpack them; all else here needs no network.

    Args:
        folder: where to; None: where they are looked for when nothing is set.

    Returns:
        The folder of each package.

    Raises:
        SetupError: an archive cannot be fetched, or is not the one that is expected.
    """
    return [_fetch(package, folder or usual_folder()) for package in (STOP_WORDS, BAD_WORDS)]


def _fetch(package: Package, folder: Path) -> Path:
    try:
        with urlopen(package.address, timeout=60) as response:
            archive: bytes = response.read()
    except OSError as error:
        raise SetupError(f"cannot fetch {package.address}: {error}; unpack it to {folder} by hand") from error
    return unpack(package, archive, folder)


def unpack(package: Package, archive: bytes, folder: Path) -> Path:
    """Unpack the lists of a package's archive.

    Raises:
        SetupError: it is another archive.
    """
    found = hashlib.sha256(archive).hexdigest()
    if found != package.sha256:
        raise SetupError(f"{package.address} has sha256 {found}, expected {package.sha256}")
    target = folder / package.folders[0]
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
        for member in files.getmembers():
            path = PurePosixPath(member.name)
            file = files.extractfile(member) if _is_list(path) else None
            if file is not None:
                (target / path.name).write_bytes(file.read())
    return target


def _is_list(path: PurePosixPath) -> bool:
    """Whether a path inside an archive is that of a list, such as package/dist/en.json or package/en.json."""
    inside = path.parts[1:-1]
    described = path.stem in ("package", "package-lock", "bower", "stopwords-all")
    return inside in ((), ("dist",)) and path.suffix == ".json" and not described


def usual_folder() -> Path:
    """Return the folder for word lists in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "redpajama_pipe" / "word_lists"


@lru_cache(maxsize=256)
def _read_words(folder: Path, language: str) -> frozenset[str] | None:
    path = folder / f"{language}.json"
    if not path.is_file():
        return None
    try:
        words = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SetupError(f"{path} is not a word list: {error}") from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise SetupError(f"{path} is not a word list: expected a JSON array of strings")
    return frozenset(words)
