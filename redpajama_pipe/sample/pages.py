"""Pages to crawl, made of what Python knows about itself, and ways to change a page a little.

A page is plain text, of which HTML is made, so that a changed edition differs by an exact share of its lines.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from textwrap import fill

from redpajama_pipe.sample.articles import Language, plain_text
from redpajama_pipe.sample.render import Rendering

HOST = "docs.sample.example"


@dataclass(frozen=True)
class Page:
    """One page of the crawled site.

    Attributes:
        slug: the path of its URL, without a slash in front.
        text: the content as plain text; for a page of pydoc, as pydoc writes it for a terminal.
        body: HTML of the content where it is not made from `text`.
        edition: changes the header, the date line and the footer.
        kind: `topic`, `module`, `digest` or `articles`.
    """

    slug: str
    title: str
    text: str
    kind: str
    language: str = "en"
    body: str = ""
    edition: int = 0

    def url(self, scheme: str = "https", host: str = HOST) -> str:
        """Return the address of the page."""
        return f"{scheme}://{host}/{self.slug}"

    def html(self, meta_charset: str = "") -> str:
        """Write the page as HTML; `meta_charset` goes into a <meta>, where crawlers look when the header is silent."""
        meta = f'<meta charset="{meta_charset}">' if meta_charset else ""
        return (
            f'<!DOCTYPE html>\n<html lang="{self.language}"><head>{meta}<title>{escape(self.title)}</title></head>\n'
            f"<body>\n<header><p>{self._notice}</p>"
            "<nav><a href='/'>Home</a> <a href='/index.html'>Index</a></nav></header>\n"
            f"<main>\n<h1>{escape(self.title)}</h1>\n{self.body or _to_html(self.text)}\n"
            f"<p>{self._checked}</p>\n</main>\n<footer><p>{self._footer}</p></footer>\n</body></html>\n"
        )

    def everything(self) -> str:
        """Write all text of the page, header and footer too, as a WET file has it."""
        text = f"{self.title}\n{self._notice}\nHome Index\n{self.title}\n{self.text}{self._checked}\n{self._footer}\n"
        return "\n".join(line for line in text.split("\n") if line.strip()) + "\n"

    @property
    def _notice(self) -> str:
        return ("Welcome to the sample site.", "New: every page now has a print version.")[self.edition % 2]

    @property
    def _checked(self) -> str:
        return f"Last checked on {5 + 7 * self.edition} January 2026."

    @property
    def _footer(self) -> str:
        return f"Sample site, edition {self.edition + 1}."

    def next_edition(self, changed_share: float) -> Page:
        """Return the page as a later crawl finds it: other header and footer, a share of the lines edited."""
        text = edit_lines(self.text, changed_share, f"{self.slug} {self.edition}") if changed_share else self.text
        return replace(self, text=text, edition=self.edition + 1)


def edit_lines(text: str, share: float, seed: str) -> str:
    """Replace one word in a share of the lines that have at least five words.

    Args:
        text: lines that end with a newline.
        share: of the lines with five words or more, rounded up.
        seed: which lines and which words.
    """
    lines = text.split("\n")
    candidates = [index for index, line in enumerate(lines) if len(line.split()) >= 5]
    rng = random.Random(f"edit {seed}")
    for number, index in enumerate(sorted(rng.sample(candidates, -int(-len(candidates) * share // 1)))):
        words = lines[index].split(" ")
        places = [place for place, word in enumerate(words) if word.isalpha()] or [len(words) - 1]
        # a word that no other edit uses: every edited line differs from every line of every other edition
        words[rng.choice(places)] = f"revised{rng.randrange(10**6)}x{number}"
        lines[index] = " ".join(words)
    return "\n".join(lines)


def topic_pages(rendering: Rendering) -> Iterator[Page]:
    """Yield one page for each topic of the Python language reference that pydoc carries."""
    for name, text in rendering.topics.items():
        title = text.lstrip().partition("\n")[0].strip("* ")
        yield Page(slug=f"topics/{name.lower()}.html", title=title, text=text.strip() + "\n", kind="topic")


def module_pages(rendering: Rendering) -> Iterator[Page]:
    """Yield pydoc's HTML page of each module."""
    for module in rendering.modules:
        body = module.html[module.html.index("<body>") + 6 : module.html.index("</body>")]
        title = f"Python: module {module.name}"
        yield Page(slug=f"modules/{module.name}.html", title=title, text=module.plain, kind="module", body=body)


def paragraphs(rendering: Rendering) -> list[str]:
    """Return every paragraph of prose in topics and docstrings, once each, in a fixed order."""
    texts = [*rendering.topics.values(), *(text for module in rendering.modules for text in module.docstrings)]
    found = (" ".join(block.split()) for text in texts for block in re.split(r"\n\s*\n", text))
    prose = (block for block in found if len(block.split()) >= 15 and block[0].isupper() and block.endswith("."))
    return list(dict.fromkeys(block for block in prose if not re.search(r">>>|={3}|-{3}|\*{2}|\| ", block)))


def digest_pages(prose: Sequence[str], folder: str) -> Iterator[Page]:
    """Yield pages without end, each of 12 to 28 paragraphs drawn from `prose`; `folder` also seeds the draw."""
    number = 0
    while True:
        number += 1
        rng = random.Random(f"digest {folder} {number}")
        chosen = rng.sample(range(len(prose)), min(len(prose), 12 + rng.randrange(17)))
        text = "\n\n".join(fill(prose[index], 80) for index in chosen) + "\n"
        yield Page(slug=f"{folder}/{number}.html", title=f"Reading list {number}", text=text, kind="digest")


def article_page(wiki: Language, count: int) -> Page:
    """Put the first `count` articles of a language on one page, so that it is no near-duplicate of any one of them."""
    text = "\n".join(f"{article.title}\n\n{plain_text(article.wikitext)}" for article in wiki.articles[:count])
    title = " – ".join(article.title for article in wiki.articles[:count])
    return Page(slug=f"{wiki.code}/reader.html", title=title, text=text, kind="articles", language=wiki.code)


def _to_html(text: str) -> str:
    """Turn plain text into HTML: blocks divided by empty lines, underlined headings, lists, indented examples."""
    parts: list[str] = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        lines = block.split("\n")
        if len(lines) == 2 and lines[1] and not lines[1].strip("*=-~^"):
            parts.append(f"<h2>{escape(lines[0].strip())}</h2>")
        elif all(line.startswith("* ") for line in lines):
            parts.append("<ul>" + "".join(f"<li>{escape(line[2:])}</li>" for line in lines) + "</ul>")
        elif lines[0].startswith("   ") and all(line.startswith(" ") for line in lines):
            parts.append(f"<pre>{escape(block)}</pre>")
        else:
            parts.append(f"<p>{escape(block)}</p>")
    return "\n".join(parts)
