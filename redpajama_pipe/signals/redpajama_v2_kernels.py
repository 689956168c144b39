"""Count what RedPajama-V2's signals are made of: raw tokens, normalised words and lines.

A document is read in windows that end at white space; an ordinary one has one. Tokens, sentences, capitals and lines
are found among bits, from 64 bytes at once. A word is kept as its length and a 64-bit hash of the UTF-8 that it has
after deletion of ASCII punctuation, lower-casing and NFD; between the windows of a long document as its letters, where
these take no more. An n-gram is named by a 64-bit hash of its words' hashes, and looked up only where both (n-1)-grams
in it repeat. The table has a bounded size: keys that do not fit are counted in further rounds, a range of them in each.

Time is linear in the text. Scratch is 70 MB for the table of a document that needs all of it, some 5 MB for a window,
and for what is longer than a window 1 to 1.5 bytes a byte of text.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import BLOCK, first_one, ones, places, power_of_two, within
from redpajama_pipe.text.decode import character_before, decode
from redpajama_pipe.text.lean import lean, lean_entry
from redpajama_pipe.text.normalise import Characters
from redpajama_pipe.text.prefetch import prefetch
from redpajama_pipe.text.span_hash import (
    HIGH_BYTES,
    LOW_BYTES,
    MULTIPLIER,
    OTHER_MULTIPLIER,
    OUTSIDE_ASCII,
    SEED,
    hash_span,
    mix,
)
from redpajama_pipe.text.unaligned import load_little32, load_little64

WINDOW = 1 << 18  # bytes of text that are looked at together
CELLS = 1 << 22  # of the table for 128 MiB of text or less, 16 bytes each: 3/4 as many keys are counted in a round

# The columns of what `measure` returns, in order.
TALLIES = (
    "chars",
    "sentences",
    "raw_words",
    "alphabetic_words",
    "caps_words",
    "stop_words",
    "symbols",
    "braces",
    "lines",
    "ellipsis_lines",
    "words",
    "word_chars",
    "unique_words",
    "bad_words",
    "lorem_ipsums",
    *(f"top_{n}gram_chars" for n in (2, 3, 4)),
    *(f"dupe_{n}gram_chars" for n in (5, 6, 7, 8, 9, 10)),
)
(
    _CHARS, _SENTENCES, _RAW_WORDS, _ALPHABETIC, _CAPS, _STOP_WORDS, _SYMBOLS, _BRACES, _LINES, _ELLIPSIS_LINES,
    _WORDS, _WORD_CHARS, _UNIQUE, _BAD_WORDS, _LOREM_IPSUMS, _NGRAMS,
) = range(16)  # fmt: skip
_LAST_TOP, _LAST_NGRAM = 4, 10

# The rows of a page's bitmaps.
_STARTS, _UPPER, _NUMERIC, _KEPT = range(4)
# What one window leaves to the next: whether a full stop is open; upper-case and numeric characters so far; the sums
# up to the line's beginning; its words that are javascript, its first character and how it ends, so far; the place of
# the last word; how often lorem ipsum was met exactly, and otherwise.
(
    _OPEN, _UPPERS, _NUMERICS, _LINE_CHARS, _LINE_UPPERS, _LINE_NUMERICS, _LINE_WORDS, _LINE_WORD_CHARS, _JAVASCRIPTS,
    _FIRST, _ELLIPSIS, _TERMINAL, _BEFORE_AT, _BEFORE_END, _EXACT, _OTHER,
) = range(16)  # fmt: skip

# The flags of text.normalise; a test compares them.
SPACE, WORD, UPPER, NOT_UPPER = 0, 1, 4, 8
LETTER, STOP, MARK, KEPT = 16, 32, 64, 128
CASED, IGNORABLE, LONG = 16, 32, 64

_SIGMA, _FINAL_SIGMA = 0x3A3, 0x3C2
_HALF, _COUNT = np.uint64(32), np.uint64(0xFFFFFFFF)
_WINDOW_SLOTS = 4
# Not 0, 1 and -1: a function would be compiled for these, too.
_ZERO: Any = np.int64(0)
_WORD_ALONE: Any = np.int64(1)
_NOWHERE: Any = np.int64(-1)
_NONE, _ONE, _TWO, _EIGHT, _SIXTEEN = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(8), np.uint64(16)
_ALL, _SIX, _SIX_BITS = np.uint64(2**64 - 1), np.uint64(6), np.uint64(63)
_OTHER_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_FROM_A, _AFTER_Z = np.uint64(0x3F3F3F3F3F3F3F3F), np.uint64(0x2525252525252525)
# What undoes a multiplication by the multipliers.
_INVERSE, _OTHER_INVERSE = (np.uint64(pow(int(by), -1, 1 << 64)) for by in (MULTIPLIER, OTHER_MULTIPLIER))
PADDING = 2 * BLOCK  # so much may be read after a page
_WRITTEN = 256  # bytes of a normalised word that are written before they are hashed
_LOWEST_ONES = np.array([(1 << size) - 1 for size in range(65)], np.uint64)
_JAVASCRIPT_LOW, _JAVASCRIPT_HIGH = (np.uint64(int.from_bytes(part, "little")) for part in (b"javascri", b"pt"))

# The rows of what `measure` writes of lines, beside their words.
LINES = ("javascript", "terminal", "uppercase", "numerical", "bullet")


class Lists(NamedTuple):
    """Word lists of several languages, as hash tables end to end: list i has the slots from at[i] to at[i + 1].

    Attributes:
        of: (documents,) which list is the document's, -1: none.
        at: (lists + 1,); each list has a power of two of slots and three more: a key is in one of the four slots from
            its home on.
        longest: (lists, 2) bytes of the longest entry that begins with a letter or digit, and of the longest other.
        keys: (slots,) hashes; 0: an empty slot.
        single: (slots,) 1: the word is an entry.
        rest: (slots, 2) which of the longer entries begin with the word: from, to.
        rest_at: (longer entries + 1,) where the hashes of the further words of each begin in ...
        rest_keys: ... this.
    """

    of: NDArray[np.int32]
    at: NDArray[np.int64]
    longest: NDArray[np.int64]
    keys: NDArray[np.uint64]
    single: NDArray[np.uint8]
    rest: NDArray[np.int32]
    rest_at: NDArray[np.int64]
    rest_keys: NDArray[np.uint64]


class _Page(NamedTuple):
    """What is found in one window; bitmaps have one bit a byte, and sums are those of the document.

    Attributes:
        text: the window, and zeros after it.
        bits: (4, blocks) bytes that begin a character; where upper-case letters begin; as many bits of a character as
            it has numeric ones when it is written out; bytes that belong to normalised words, but for characters that
            are written as none.
        before: (3, blocks) how many of the first three there are before each 64 bytes.
        begins, ends: (pieces,) where what stands between white space begins, and ends.
        token_begins, token_ends: (raw words of letters and digits,) the same of these, if they are asked for.
        mark_begins, mark_ends: (raw words of other characters,) the same.
        newlines: (newlines and the end,) where each is ...
        pieces_before: ... and how many pieces begin before it.
    """

    text: NDArray[np.uint8]
    bits: NDArray[np.uint64]
    before: NDArray[np.uint32]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    token_begins: NDArray[np.int64]
    token_ends: NDArray[np.int64]
    mark_begins: NDArray[np.int64]
    mark_ends: NDArray[np.int64]
    newlines: NDArray[np.int64]
    pieces_before: NDArray[np.int64]


class _Words(NamedTuple):
    """The normalised words of a document: those at hand, and of a document of several windows all of them, packed.

    Attributes:
        keys: (words at hand,) hashes.
        ends: (words at hand + 1,) characters of normalised words up to each.
        packed: for each word a byte, which is the length of its UTF-8, 0: more than 8 bytes, and 16 times its
            characters, 15 at most; the UTF-8, or the hash where it is longer; and four bytes of its characters if these
            are 15 or more.
    """

    keys: NDArray[np.uint64]
    ends: NDArray[np.int64]
    packed: NDArray[np.uint8]


class _Table(NamedTuple):
    """An open-addressed table of keys.

    Attributes:
        cells: (2 * a power of two,) each a key, and the position of the first with this key << 32 | how many have it;
            0: the cell is empty.
        order: (three quarters of the cells,) where they are, in the order in which keys are first met.
        batch: (128,) keys that are being looked up, and their positions.
    """

    cells: NDArray[np.uint64]
    order: NDArray[np.uint32]
    batch: NDArray[np.uint64]


class _Tallied(NamedTuple):
    """What the entropy is made of; all zero between documents.

    Attributes:
        times: (words,) at the first position of each how often it occurs; 255: at least so often; empty where one
            round is enough.
        often: a table of those with 255: position << 32 | times.
        terms: (64,) of the sum, by how often the word occurs; 0: not known yet.
    """

    times: NDArray[np.uint8]
    often: NDArray[np.uint64]
    terms: NDArray[np.float64]


@lean_entry
def survey(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    window: int,
    line_begins: NDArray[np.int64],
) -> tuple[int, int]:
    """Find how much there is to count, before anything is made for it.

    Args:
        data: as `measure` has it.
        offsets: as `measure` has them.
        valid: as `measure` has it.
        window: WINDOW.
        line_begins: out, (documents + 1,) where the lines of each document begin among the lines of all.

    Returns:
        The bytes of the longest document, and of the longest window.
    """
    longest: Any = _ZERO
    longest_window: Any = _ZERO
    line_begins[0] = 0
    for document in range(len(valid)):
        lines: Any = _ZERO
        at, end = offsets[document], offsets[document + 1]
        if valid[document] and at < end:
            longest = max(longest, end - at)
            start = at
            while start < end:
                stop = _window_end(data, start, end, window)
                longest_window = max(longest_window, stop - start)
                start = stop
            lines += data[end - 1] != 0x0A
            while at + BLOCK <= end:
                lines += ones(within(data, np.uint64(at), 0x0A, 0x0A))
                at += BLOCK
            while at < end:
                lines += data[at] == 0x0A
                at += 1
        line_begins[document + 1] = line_begins[document] + lines
    return longest, longest_window


class Scratch(NamedTuple):
    """What the documents of a batch are counted in, one after the other.

    Attributes:
        page: for one window.
        words: of one document.
        table: for one round.
        tallied: of one document.
        positions: (2, positions / 64) bitmaps of those whose n-grams are looked at, and whose repeat.
        written: letters of a normalised word.
        marks: combining characters that are yet to be sorted.
        state: between two windows.
    """

    page: _Page
    words: _Words
    table: _Table
    tallied: _Tallied
    positions: NDArray[np.uint64]
    written: NDArray[np.uint8]
    marks: NDArray[np.int32]
    state: NDArray[np.int64]


def make_scratch(longest: int, longest_window: int, cells: int, bad_words: Lists) -> Scratch:
    """Reserve what no document needs more of; nothing takes memory before it is written.

    Args:
        longest: from survey(); so is the next.
        longest_window: bytes.
        cells: CELLS; no value depends on it, nor on WINDOW. They grow with longer texts, as rounds else would.
        bad_words: as `measure` has them.
    """
    # A word has two bytes or more, and most have five.
    room, blocks, words = longest_window // 2 + 2, longest_window // BLOCK + 2, longest // 2 + 1
    cells <<= (max(longest - 1, 0) >> 27).bit_length()
    cells = min(cells, 1 << max(4, (2 * words - 1).bit_length()))
    several_rounds, several_windows = 2 * words > cells, longest > longest_window
    longest_phrase = 1 + int(np.diff(bad_words.rest_at).max(initial=0))
    at_hand = room + 4 * BLOCK + longest_phrase
    begins, ends, token_begins, token_ends, mark_begins, mark_ends = (np.empty(room, np.int64) for _ in range(6))
    return Scratch(
        _Page(
            np.empty(longest_window + PADDING, np.uint8),
            np.empty((4, blocks), np.uint64),
            np.empty((3, blocks), np.uint32),
            begins,
            ends,
            token_begins,
            token_ends,
            mark_begins,
            mark_ends,
            np.empty(longest_window + 2, np.int64),
            np.empty(longest_window + 2, np.int64),
        ),
        _Words(
            np.empty(at_hand, np.uint64),
            np.empty(at_hand + 1, np.int64),
            # No character is decomposed into more than three times its bytes.
            np.empty(3 * longest + 32 if several_windows else 0, np.uint8),
        ),
        _Table(np.empty(2 * cells, np.uint64), np.empty(cells // 4 * 3, np.uint32), np.empty(2 * BLOCK, np.uint64)),
        _Tallied(
            np.zeros(words if several_rounds else 0, np.uint8),
            np.zeros(1 << (words // 64).bit_length() if several_rounds else 0, np.uint64),
            np.empty(64, np.float64),
        ),
        np.empty((2, words // BLOCK + 2), np.uint64),
        np.empty(_WRITTEN + PADDING, np.uint8),
        np.empty(longest_window + 8, np.int32),
        np.empty(16, np.int64),
    )


@lean_entry
def measure(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    characters: Characters,
    stop_words: Lists,
    bad_words: Lists,
    repetition: bool,
    window: int,
    scratch: Scratch,
    line_begins: NDArray[np.int64],
    lines: NDArray[np.float64],
    line_words: NDArray[np.int64],
    counts: NDArray[np.int64],
    entropies: NDArray[np.float64],
) -> None:
    """Count for every document.

    Args:
        data: the documents' UTF-8, end to end. Malformed bytes give some count, never a read outside the document.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: leave zeros.
        characters: text.normalise.characters().
        stop_words: keys from hash_words(), with the lowest bit set.
        bad_words: keys from hash_words().
        repetition: whether to count what needs a table of the document's words.
        window: as survey() was given it.
        scratch: made for what survey() found.
        line_begins: from survey().
        lines: out, (LINES, lines of all documents), not rounded; or no lines where they are not wanted.
        line_words: out, (lines of all documents,) normalised words of each.
        counts: out, (documents, TALLIES), zeros.
        entropies: out, (documents,) the entropy of each document's words, zeros.
    """
    page, words, state = scratch.page, scratch.words, scratch.state
    text = page.text
    longest_phrase: Any = _WORD_ALONE
    for entry in range(len(bad_words.rest_at) - 1):
        longest_phrase = max(longest_phrase, bad_words.rest_at[entry + 1] - bad_words.rest_at[entry] + 1)
    for document in range(len(valid)):
        if not valid[document]:
            continue
        count = counts[document]
        stop_list, bad_list = stop_words.of[document], bad_words.of[document]
        longest_token = stop_words.longest[stop_list, 0] if stop_list >= 0 else _ZERO
        longest_marks = stop_words.longest[stop_list, 1] if stop_list >= 0 else _ZERO
        for index in range(len(state)):
            state[index] = 0
        state[_OPEN], state[_FIRST] = 1, -1
        line = line_begins[document]
        packed: Any = _ZERO
        kept: Any = _ZERO
        start, end = offsets[document], offsets[document + 1]
        while start < end:
            stop = _window_end(data, start, end, window)
            size = stop - start
            for at in range(size):
                text[np.uint64(at)] = data[np.uint64(start + at)]
            for at in range(size, size + PADDING):
                text[at] = 0
            tokens, token_marks, line_ends = _find(
                data, start, end, page, size, characters, longest_token > 0, longest_marks > 0, state, count
            )
            if longest_token > 0:
                count[_STOP_WORDS] += _count_stops(
                    text, page.token_begins, page.token_ends, tokens, longest_token, stop_words, stop_list
                )
            if longest_marks > 0:
                count[_STOP_WORDS] += _count_stops(
                    text, page.mark_begins, page.mark_ends, token_marks, longest_marks, stop_words, stop_list
                )
            held = _normalise(
                data, start, end, page, size, characters, scratch.written, scratch.marks, words, kept, line, line_ends,
                lines, line_words, state, count,
            )  # fmt: skip
            if bad_list >= 0:
                count[_BAD_WORDS] += _count_bad(bad_words, bad_list, words.keys, kept, held)
            if size < end - offsets[document]:
                if repetition:
                    packed = _pack(words, kept, held, packed)
                # A longer entry of the list may go on in the next window.
                kept = min(longest_phrase - 1, held)
                for word in range(kept):
                    words.keys[word] = words.keys[held - kept + word]
            line = line_begins[document] + count[_LINES]
            start = stop
        # The published code searches for the exact text first, and only if it is there counts with re.IGNORECASE.
        count[_LOREM_IPSUMS] = state[_EXACT] + state[_OTHER] if state[_EXACT] else 0
        if repetition and count[_WORDS]:
            entropies[document] = _count_repetition(
                words, packed > 0, scratch.table, scratch.positions, scratch.tallied, count
            )


@lean
def _window_end(data: NDArray[np.uint8], start: int, end: int, window: int) -> int:
    """Return where the window from `start` on ends: behind white space of ASCII, or at the document's end."""
    if end - start <= window:
        return end
    at = start + window
    step = -1
    while True:
        if at == start:  # a word that is longer
            at, step = start + window, 1
        byte = data[at - 1]
        if byte == 0x20 or 0x09 <= byte <= 0x0D or 0x1C <= byte <= 0x1F or at == end:
            return at
        at += step


@lean
def _find(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    page: _Page,
    size: int,
    characters: Characters,
    wants_tokens: bool,
    wants_marks: bool,
    state: NDArray[np.int64],
    count: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Fill the page from its text, which is data[start:start + size], and count what needs only the class of each byte.

    Returns:
        How many tokens and marks are left, where they are wanted, and how many newlines, with the end of a last line
        that has none.
    """
    text, bits_at, before = page.text, page.bits, page.before
    begins, piece_ends, newlines_at, pieces_before = page.begins, page.ends, page.newlines, page.pieces_before
    token_begins, token_ends, mark_begins, mark_ends = (
        page.token_begins, page.token_ends, page.mark_begins, page.mark_ends,
    )  # fmt: skip
    blocks, entries = characters.blocks, characters.entries
    sentences = raw_words = alphabetic = caps = symbols = braces = lines = next_ellipsis = 0
    pieces = ended = _ZERO
    tokens = tokens_ended = marks = marks_ended = _ZERO
    chars, uppers, numerics = count[_CHARS], state[_UPPERS], state[_NUMERICS]
    # What the blocks before leave to this one: sums that are carried on, and whether the byte before is one of these.
    letter_carry = upper_carry = lower_carry = upper_mark_carry = lower_mark_carry = gap_carry = _NONE
    in_piece = in_token = in_mark = dots_before = _NONE
    after_stop = np.uint64(state[_OPEN])
    next_word = next_space = next_numeric = _NONE  # bits of characters that end in this block
    for at in range(0, size + 1, BLOCK):  # there is a byte after the last, where everything ends
        place = np.uint64(at)
        inside = _ALL if size - at >= BLOCK else (_ONE << np.uint64(size - at)) - _ONE
        newlines = within(text, place, 0x0A, 0x0A)
        spaces = within(text, place, 0x20, 0x20) | within(text, place, 0x09, 0x0D) | within(text, place, 0x1C, 0x1F)
        upper, lower = within(text, place, 0x41, 0x5A), within(text, place, 0x61, 0x7A)
        numeric = within(text, place, 0x30, 0x39)
        dots = within(text, place, 0x2E, 0x2E)
        stops = dots | within(text, place, 0x21, 0x21) | within(text, place, 0x3F, 0x3F)
        others = within(text, place, 0x80, 0xFF)
        symbols += ones(within(text, place, 0x23, 0x23))
        braces += ones(within(text, place, 0x7B, 0x7B) | within(text, place, 0x7D, 0x7D))
        letters = upper | lower
        word = letters | numeric | within(text, place, 0x5F, 0x5F)
        # Between the digits and letters of ASCII lies nothing but punctuation.
        punctuation = within(text, place, 0x21, 0x7E) & ~letters & ~numeric
        starts = inside & ~within(text, place, 0x80, 0xBF)
        spaces |= next_space
        word |= next_word
        numeric |= next_numeric
        next_word = next_space = next_numeric = _NONE
        leads = starts & others
        while leads:
            bit = np.uint64(first_one(leads))
            leads &= leads - _ONE
            lead: Any = start + at + np.int64(bit)
            code, width = decode(data, lead, end)
            entry = entries[np.uint64(blocks[np.uint64(code >> 8)]) << _EIGHT | np.uint64(code & 0xFF)]
            bytes_of = (_ONE << np.uint64(width)) - _ONE
            here, rest = bytes_of << bit, bytes_of >> np.uint64(BLOCK - 1) - bit >> _ONE
            kind = entry & 3
            if kind == WORD:
                word |= here
                next_word |= rest
            elif kind == SPACE:
                spaces |= here
                next_space |= rest
            upper |= np.uint64((entry & UPPER) != 0) << bit
            lower |= np.uint64((entry & NOT_UPPER) != 0) << bit
            symbols += code == 0x2026
            digits = entry >> 8 & 3
            if digits:
                bytes_of = (_ONE << np.uint64(digits)) - _ONE
                numeric |= bytes_of << bit
                next_numeric |= bytes_of >> np.uint64(BLOCK - 1) - bit >> _ONE
        index = place >> _SIX
        piece = inside & ~spaces
        word &= piece
        mark = piece & ~word
        bits_at[_STARTS, index], bits_at[_UPPER, index], bits_at[_NUMERIC, index] = starts, upper, numeric
        bits_at[_KEPT, index] = piece & ~punctuation
        before[_STARTS, index], before[_UPPER, index], before[_NUMERIC, index] = chars, uppers, numerics
        chars += ones(starts)
        uppers += ones(upper)
        numerics += ones(numeric)

        # A sum carries a bit past the end of its run of ones; many bits of one run carry one.
        ends, letter_carry = _runs_with(letters, word, letter_carry)
        alphabetic += ones(ends)
        ends, upper_carry = _runs_with(upper, word, upper_carry)
        others, lower_carry = _runs_with(lower, word, lower_carry)
        caps += ones(ends & ~others)
        ends, upper_mark_carry = _runs_with(upper, mark, upper_mark_carry)
        others, lower_mark_carry = _runs_with(lower, mark, lower_mark_carry)
        caps += ones(ends & ~others)
        # A sentence begins at a letter before which a full stop is the nearest letter or full stop.
        gap = ~(word | stops & inside)
        after = stops << _ONE | after_stop
        after_stop = stops >> np.uint64(63)
        ends, gap_carry = _runs_with(after, gap, gap_carry)
        sentences += ones((ends | after) & word)

        before_piece, before_token, before_mark = (
            piece << _ONE | in_piece,
            word << _ONE | in_token,
            mark << _ONE | in_mark,
        )
        in_piece, in_token, in_mark = piece >> np.uint64(63), word >> np.uint64(63), mark >> np.uint64(63)
        begin = piece & ~before_piece
        while newlines:
            bit = np.uint64(first_one(newlines))
            newlines &= newlines - _ONE
            newlines_at[lines] = at + np.int64(bit)
            pieces_before[lines] = pieces + ones(begin & ((_ONE << bit) - _ONE))
            lines += 1
        pieces = places(begin, at, begins, pieces)
        ended = places(before_piece & ~piece, at, piece_ends, ended)
        raw_words += ones(word & ~before_token) + ones(mark & ~before_mark)
        if wants_tokens:
            tokens = places(word & ~before_token, at, token_begins, tokens)
            tokens_ended = places(before_token & ~word, at, token_ends, tokens_ended)
        if wants_marks:
            marks = places(mark & ~before_mark, at, mark_begins, marks)
            marks_ended = places(before_mark & ~mark, at, mark_ends, marks_ended)

        third = dots & (dots << _ONE | dots_before >> np.uint64(63)) & (dots << _TWO | dots_before >> np.uint64(62))
        dots_before = dots
        while third:  # three dots end here
            last = at + first_one(third)
            third &= third - _ONE
            if last >= next_ellipsis:
                symbols += 1
                next_ellipsis = last + 3
    count[_LINES] += lines
    if text[np.uint64(size - 1)] != 0x0A:
        newlines_at[lines], pieces_before[lines] = size, pieces
        lines += 1
        count[_LINES] += start + size == end
    count[_CHARS] = chars
    count[_SENTENCES] += sentences
    count[_RAW_WORDS] += raw_words
    count[_ALPHABETIC] += alphabetic
    count[_CAPS] += caps
    count[_SYMBOLS] += symbols
    count[_BRACES] += braces
    state[_UPPERS], state[_NUMERICS] = uppers, numerics
    state[_OPEN] = np.int64(gap_carry | after_stop)
    return tokens, marks, lines


@lean
def _runs_with(bits: np.uint64, runs: np.uint64, carry: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return a bit after each run of ones in which there is one of `bits`, and what the next block is due."""
    total = runs + (bits & runs)
    carried = total + carry
    return carried & ~runs, np.uint64(total < runs) | np.uint64(carried < total)


@lean
def _count_stops(
    text: NDArray[np.uint8],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    held: int,
    longest: int,
    listed: Lists,
    which: int,
) -> int:
    """Count the tokens that are in the list."""
    first, last = listed.at[which], listed.at[which + 1]
    found = 0
    for index in range(held):
        start, end = begins[index], ends[index]
        if end - start <= longest:
            key = hash_span(text, start, end)[0] | _ONE
            found += _holds(listed.keys, _home(key, first, last), key)
    return found


@lean
def _normalise(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    page: _Page,
    size: int,
    characters: Characters,
    written: NDArray[np.uint8],
    marks: NDArray[np.int32],
    words: _Words,
    held: int,
    line: int,
    line_ends: int,
    lines: NDArray[np.float64],
    line_words: NDArray[np.int64],
    state: NDArray[np.int64],
    count: NDArray[np.int64],
) -> int:
    """Leave the hash of each normalised word and the characters in all up to each; write and count the lines.

    Args:
        data: holds the document.
        start: of the window.
        end: of the document.
        page: as _find left it.
        size: of the window.
        characters: as `measure` has them.
        written: scratch.
        marks: scratch.
        words: out: keys and ends ...
        held: ... from here on.
        line: the window's first.
        line_ends: how many there are.
        lines: out, as `measure` has them.
        line_words: out, as `measure` has them.
        state: in and out.
        count: out: words, word_chars, ellipsis_lines.

    Returns:
        Where keys end.
    """
    text, bits_at, begins, ends = page.text, page.bits, page.begins, page.ends
    newlines, pieces_before = page.newlines, page.pieces_before
    keys, word_ends = words.keys, words.ends
    javascript = mix(SEED ^ np.uint64(10) * MULTIPLIER, _JAVASCRIPT_LOW, _JAVASCRIPT_HIGH)
    piece = 0
    chars: Any = np.int64(0)
    words_before, chars_before = count[_WORDS] - held, count[_WORD_CHARS]
    before_at, before_end = state[_BEFORE_AT], state[_BEFORE_END]  # the bytes of the normalised word before
    word_ends[held] = 0
    for index in range(line_ends):
        pieces = pieces_before[index]
        if pieces > piece:
            _look_at_ends(data, text, start + begins[piece], end, ends[pieces - 1], state)
        javascripts = 0
        while piece < pieces:
            at, after = begins[np.uint64(piece)], ends[np.uint64(piece)]
            piece += 1
            # The usual word has at most 64 bytes and is ASCII; what is kept of it most often stands together.
            block, shift = np.uint64(at) >> _SIX, np.uint64(at) & _SIX_BITS
            bits = bits_at[_KEPT, block] >> shift | bits_at[_KEPT, block + _ONE] << _ONE << _SIX_BITS - shift
            bits &= _LOWEST_ONES[np.uint64(min(after - at, BLOCK))]
            if bits == _NONE and after - at <= BLOCK:
                continue
            length: Any = ones(bits)
            begin = at + first_one(bits)
            source, source_at = text, begin
            if bits >> np.uint64(begin - at) != _LOWEST_ONES[np.uint64(length)]:
                for place in range(length):
                    written[np.uint64(place)] = text[np.uint64(at + first_one(bits))]
                    bits &= bits - _ONE
                source, source_at = written, _ZERO
            word_hash, other = _hash_lowered(source, source_at, length)
            usual = after - at <= BLOCK and other == _NONE
            if not usual:
                word_hash, length = _hash_written(data, start + at, start + after, end, characters, written, marks)
                if length == 0:
                    continue
            if length >= 5 and (text[np.uint64(begin)] | 0x20 == 0x69 or not usual):
                met = _lorem_ipsum(data, before_at, before_end, start + at, start + after, characters)
                state[_EXACT] += met == 2
                state[_OTHER] += met == 1
            keys[np.uint64(held)] = word_hash
            chars += length
            held += 1
            word_ends[np.uint64(held)] = chars
            javascripts += word_hash == javascript
            before_at, before_end = start + at, start + after
        state[_JAVASCRIPTS] += javascripts
        line_end = min(newlines[index] + 1, size)
        if start + line_end == end or text[np.uint64(line_end - 1)] == 0x0A:
            count[_ELLIPSIS_LINES] += state[_ELLIPSIS]
            if len(line_words):
                _end_line(
                    page, line_end, words_before + held, chars_before + chars, line + index, lines, line_words, state
                )
            state[_FIRST], state[_ELLIPSIS], state[_TERMINAL], state[_JAVASCRIPTS] = -1, 0, 0, 0
    count[_WORDS], count[_WORD_CHARS] = words_before + held, chars_before + chars
    state[_BEFORE_AT], state[_BEFORE_END] = before_at, before_end
    return held


@lean
def _look_at_ends(
    data: NDArray[np.uint8], text: NDArray[np.uint8], first: int, end: int, last: int, state: NDArray[np.int64]
) -> None:
    """Note a line's first character that is not white space, at data[first], and its last, which ends at text[last]."""
    if state[_FIRST] < 0:
        state[_FIRST] = decode(data, first, end)[0]
    one = text[last - 1]
    ellipsis, terminal = False, one == 0x2E or one == 0x21 or one == 0x3F
    if last >= 3:
        two, three = text[last - 2], text[last - 3]
        quote = three == 0xE2 and two == 0x80
        ellipsis = (one == 0x2E and two == 0x2E and three == 0x2E) or (quote and one == 0xA6)
        terminal = terminal or (quote and one == 0x9D)
    state[_ELLIPSIS], state[_TERMINAL] = ellipsis, terminal


@lean
def _end_line(
    page: _Page,
    end: int,
    words: int,
    word_chars: int,
    line: int,
    lines: NDArray[np.float64],
    line_words: NDArray[np.int64],
    state: NDArray[np.int64],
) -> None:
    """Write a line's numbers.

    Args:
        page: holds its end ...
        end: ... here.
        words: normalised words of the document up to there.
        word_chars: characters of these.
        line: its place in `lines`.
        lines: out.
        line_words: out.
        state: what was counted up to the line's beginning; out: up to its end.
    """
    block, below = np.uint64(end) >> _SIX, (_ONE << (np.uint64(end) & _SIX_BITS)) - _ONE
    chars = np.int64(page.before[_STARTS, block]) + ones(page.bits[_STARTS, block] & below)
    uppers = np.int64(page.before[_UPPER, block]) + ones(page.bits[_UPPER, block] & below)
    numerics = np.int64(page.before[_NUMERIC, block]) + ones(page.bits[_NUMERIC, block] & below)
    held = words - state[_LINE_WORDS]
    normalised = word_chars - state[_LINE_WORD_CHARS] + max(held - 1, 0)
    first = state[_FIRST]
    line_words[line] = held
    lines[0, line] = state[_JAVASCRIPTS]
    lines[1, line] = state[_TERMINAL]
    lines[2, line] = (uppers - state[_LINE_UPPERS]) / max(chars - state[_LINE_CHARS], 1)  # 0 only in malformed UTF-8
    lines[3, line] = (numerics - state[_LINE_NUMERICS]) / normalised if normalised else 0.0
    lines[4, line] = first >= 0x2013 and (
        first == 0x2013 or first == 0x2022 or first == 0x2023 or first == 0x25A0 or first == 0x25A1
        or first == 0x25AA or first == 0x25AB or first == 0x25B6 or first == 0x25C0 or first == 0x25E6
    )  # fmt: skip
    state[_LINE_CHARS], state[_LINE_UPPERS], state[_LINE_NUMERICS] = chars, uppers, numerics
    state[_LINE_WORDS], state[_LINE_WORD_CHARS] = words, word_chars


@lean
def _entry(data: NDArray[np.uint8], at: int, end: int, characters: Characters) -> tuple[np.int64, int, np.int64, Any]:
    """Return the code point at `at`, its width, its entry for all of Unicode, and whether it is deleted."""
    code, width = decode(data, at, end)
    place = np.uint64(characters.blocks[np.uint64(code >> 8)]) << _EIGHT | np.uint64(code & 0xFF)
    entry = np.int64(characters.entries[place])
    return code, width, entry, code < 0x80 and entry & 3 != SPACE and characters.ascii[np.uint64(code)] & KEPT == 0


@lean
def _ends_word(data: NDArray[np.uint8], word_at: int, at: int, end: int, characters: Characters) -> bool:
    """Whether the capital sigma at `at` is lowered to a final one: a cased letter before it, and none after it.

    Characters that Unicode calls case-ignorable are passed over, and ASCII punctuation, which is deleted by then. No
    step goes past another sigma, so that the time for all is linear.
    """
    before = at
    found = False
    while before > word_at and not found:
        before = character_before(data, before, word_at)
        _, _, entry, deleted = _entry(data, before, end, characters)
        if deleted or entry & IGNORABLE:
            continue
        if not entry & CASED:
            return False
        found = True
    if not found:
        return False
    after = at + 2
    while after < end:
        _, width, entry, deleted = _entry(data, after, end, characters)
        after += width
        if deleted or entry & IGNORABLE:
            continue
        return not entry & CASED
    return True


@lean
def _hash_written(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    limit: int,
    characters: Characters,
    written: NDArray[np.uint8],
    marks: NDArray[np.int32],
) -> tuple[np.uint64, int]:
    """Normalise the piece data[start:end]: return the hash of what is written, and its characters.

    Marks are sorted by class, those of one class as they stand. No character has more of them than bytes.
    """
    pool = characters.pool
    value = SEED
    chars = held = filled = before = _ZERO
    at = start
    while at < end:
        code, width, entry, deleted = _entry(data, at, limit, characters)
        if not deleted:
            place = entry >> 11
            parts = np.int64(pool[np.uint64(place)]) if entry & LONG else 1
            chars += parts
            for index in range(parts):
                part = np.int64(pool[np.uint64(place + 1 + index)]) if entry & LONG else code + place
                if code == _SIGMA and _ends_word(data, start, at, limit, characters):
                    part = np.int64(_FINAL_SIGMA)
                if part >> 21:
                    marks[np.uint64(held)] = part
                    held += 1
                    continue
                if held:
                    value, before, filled = _write_marks(marks, held, written, value, before, filled)
                    held = 0
                filled = _write(written, filled, part)
                if filled > _WRITTEN - 8:
                    value, before, filled = _take(written, value, before, filled)
        at += width
    value, before, filled = _write_marks(marks, held, written, value, before, filled)
    value, before, filled = _take(written, value, before, filled)
    for after in range(filled, 16):
        written[after] = 0
    value ^= np.uint64(before + filled) * MULTIPLIER
    return mix(value, load_little64(written, _NONE), load_little64(written, _EIGHT)), chars


@lean
def _write_marks(
    marks: NDArray[np.int32], held: int, written: NDArray[np.uint8], value: np.uint64, before: int, filled: int
) -> tuple[np.uint64, int, int]:
    """Write marks (their class << 21 | code point) in the order of their class; return what `_take` does."""
    kind, later = -1, 0
    while later < 256:  # of 55 classes, all those that are there, one after the other
        later = 256
        for index in range(held):
            mark: Any = np.int64(marks[np.uint64(index)])
            if mark >> 21 == kind:
                filled = _write(written, filled, mark & 0x1FFFFF)
                if filled > _WRITTEN - 8:
                    value, before, filled = _take(written, value, before, filled)
            elif kind < mark >> 21 < later:
                later = mark >> 21
        kind = later
    return value, before, filled


@lean
def _write(written: NDArray[np.uint8], filled: int, code: np.int64) -> Any:
    """Append a character as UTF-8; return how many bytes there are then."""
    at = np.uint64(filled)
    if code < 0x80:
        written[at] = code
        return filled + 1
    width: Any = 2 + (code >= 0x800) + (code >= 0x10000)
    written[at] = (0xF00 >> width & 0xF0) | code >> 6 * (width - 1)
    for index in range(1, width):
        written[np.uint64(filled + index)] = 0x80 | code >> 6 * (width - 1 - index) & 0x3F
    return filled + width


@lean
def _take(written: NDArray[np.uint8], value: np.uint64, before: int, filled: int) -> tuple[np.uint64, int, int]:
    """Take what is written into the hash, but for the last 1 to 16 bytes, which move to the front.

    Returns:
        The hash, how many bytes are in it, and how many are left.
    """
    at: Any = _NONE
    while filled > 16:
        value = mix(value, load_little64(written, at), load_little64(written, at + _EIGHT))
        at += _SIXTEEN
        filled -= 16
    if at:
        for index in range(filled):
            written[np.uint64(index)] = written[at + np.uint64(index)]
    taken: Any = np.int64(at)
    return value, before + taken, filled


@lean
def _lorem_ipsum(
    data: NDArray[np.uint8], before_at: int, before_end: int, at: int, end: int, characters: Characters
) -> int:
    """Whether the word before ends in `lorem` and this one begins with `ipsum`: 2 exactly, 1 for re.IGNORECASE."""
    exact = 2
    matched = 0
    while at < end and matched < 5:
        code, width, entry, deleted = _entry(data, at, end, characters)
        at += width
        if deleted:
            continue
        code += entry >> 11
        if entry & LONG:
            return 0
        if (matched == 0 and code == 0x131) or (matched == 2 and code == 0x17F):
            exact = 1
        elif code != 0x6D75737069 >> 8 * matched & 0xFF:
            return 0
        matched += 1
    tail = _NONE
    while before_at < before_end:
        code, width, entry, deleted = _entry(data, before_at, before_end, characters)
        before_at += width
        if not deleted:
            code += entry >> 11
            tail = tail << _EIGHT | np.uint64(code if code < 0x80 and not entry & LONG else 0)
    return exact if matched == 5 and tail & np.uint64(0xFFFFFFFFFF) == np.uint64(0x6C6F72656D) else 0


@lean
def _lowered(bytes_: np.uint64) -> np.uint64:
    """Put eight bytes into lower case; those outside ASCII stay."""
    ascii_ = bytes_ & _OTHER_BITS
    upper = ((ascii_ + _FROM_A) ^ (ascii_ + _AFTER_Z)) & ~bytes_ & OUTSIDE_ASCII
    return bytes_ | upper >> _TWO


@lean
def _hash_lowered(text: NDArray[np.uint8], start: int, size: int) -> tuple[np.uint64, np.uint64]:
    """Return the hash of `size` bytes from `start` on in lower case, and whether one of them is outside ASCII."""
    at = np.uint64(start)
    left = np.uint64(size)
    value = SEED
    seen = _NONE
    while left > _SIXTEEN:
        low, high = load_little64(text, at), load_little64(text, at + _EIGHT)
        seen |= low | high
        value = mix(value, _lowered(low), _lowered(high))
        at += _SIXTEEN
        left -= _SIXTEEN
    low = load_little64(text, at) & LOW_BYTES[left]
    high = load_little64(text, at + _EIGHT) & HIGH_BYTES[left]
    value ^= np.uint64(size) * MULTIPLIER
    return mix(value, _lowered(low), _lowered(high)), (seen | low | high) & OUTSIDE_ASCII


@lean_entry
def hash_words(text: NDArray[np.uint8], offsets: NDArray[np.int64], keys: NDArray[np.uint64]) -> None:
    """Hash words as the words of a text are hashed that is normalised to just these; raw tokens, too.

    Args:
        text: the words' UTF-8, end to end, and PADDING more bytes.
        offsets: (words + 1,) where each begins.
        keys: out, (words,).
    """
    for index in range(len(keys)):
        keys[index] = hash_span(text, offsets[index], offsets[index + 1])[0]


@lean_entry
def fill_slots(keys: NDArray[np.uint64], values: NDArray[np.uint64], found: NDArray[np.int64]) -> bool:
    """Enter values into a new table, and note the slot of each; return whether the table is large enough."""
    for index in range(len(values)):
        slot = _home(values[index], _ZERO, len(keys))
        last = slot + _WINDOW_SLOTS
        while slot < last and keys[slot] != _NONE and keys[slot] != values[index]:
            slot += 1
        if slot == last:
            return False
        keys[slot] = values[index]
        found[index] = slot
    return True


@lean
def _home(key: np.uint64, start: int, end: int) -> np.int64:
    """Return where a key's window begins in the table keys[start:end], a power of two of slots and a few more."""
    return start + (np.int64((key * OTHER_MULTIPLIER) >> _HALF) & (end - start - _WINDOW_SLOTS))


@lean
def _holds(keys: NDArray[np.uint64], home: np.int64, key: np.uint64) -> bool:
    """Whether the key is in its window: all of it is compared, so that there is no branch to guess."""
    found = False
    first = np.uint64(home)
    for index in range(_WINDOW_SLOTS):
        found |= keys[first + np.uint64(index)] == key
    return found


@lean
def _pack(words: _Words, first: int, held: int, at: int) -> int:
    """Append the words at hand, from `first` on, to the packed ones, which end at `at`; return where they end then.

    A hash of at most eight bytes is what can be undone: where that gives bytes which fit, they stand for it.
    """
    keys, ends, packed = words.keys, words.ends, words.packed
    for word in range(first, held):
        chars = ends[word + 1] - ends[word]
        value = keys[word]
        value = (value ^ value >> _HALF) * _OTHER_INVERSE
        value = (value ^ value >> _HALF) * _INVERSE ^ SEED
        size = chars
        while size <= 8 and (value ^ np.uint64(size) * MULTIPLIER) & ~LOW_BYTES[size] != _NONE:
            size += 1
        payload = value ^ np.uint64(size) * MULTIPLIER
        if size > 8:
            payload = keys[word]
        packed[at] = min(chars, 15) << 4 | (size if size <= 8 else 0)
        for index in range(8):
            packed[at + 1 + index] = payload >> np.uint64(8 * index) & np.uint64(0xFF)
        at += 1 + min(size, 8)
        if chars >= 15:
            for index in range(4):
                packed[at + index] = chars >> 8 * index & 0xFF
            at += 4
    return at


@lean
def _advance(words: _Words, packed: bool, total: int, n: int, first: int, held: int, at: int) -> tuple[int, int, int]:
    """Bring the next words to hand, and keep the last n - 1 or more.

    Args:
        words: those at hand change, if there are packed ones.
        packed: False: all are at hand.
        total: words of the document.
        n: as many are looked at together.
        first: of those at hand.
        held: how many are at hand; 0: begin.
        at: where in the packed ones the next begins.

    Returns:
        first, a multiple of 64, held and at.
    """
    if not packed:
        return 0, total, 0
    keys, ends, bytes_ = words.keys, words.ends, words.packed
    gone = max(held - n + 1, 0) & -BLOCK
    held -= gone
    first += gone
    ends[0] = ends[gone] if gone else 0
    for word in range(held):
        keys[word], ends[word + 1] = keys[word + gone], ends[word + gone + 1]
    wanted = min(len(keys), total - first)
    place = np.uint64(at)
    for word in range(held, wanted):
        header = np.uint64(bytes_[place])
        size, chars = header & np.uint64(15), header >> np.uint64(4)
        key = load_little64(bytes_, place + _ONE)
        if size:
            key = mix(SEED ^ size * MULTIPLIER, key & LOW_BYTES[size], _NONE)
        place += _ONE + (size if size else _EIGHT)
        if chars == np.uint64(15):
            chars = np.uint64(load_little32(bytes_, place))
            place += np.uint64(4)
        keys[word], ends[word + 1] = key, ends[word] + np.int64(chars)
    after: Any = np.int64(place)
    return first, wanted, after


@lean
def _count_round(
    words: _Words,
    packed: bool,
    total: int,
    n: int,
    positions: NDArray[np.uint64],
    table: _Table,
    size: int,
    least: np.uint64,
    span: np.uint64,
) -> tuple[int, np.uint64]:
    """Count the n-grams at some positions whose keys are in a range, as large as the table allows.

    Args:
        words: of the document.
        packed: whether there are more than those at hand.
        total: how many there are.
        n: words of an n-gram.
        positions: those to look at; in and out: those whose n-gram occurs at least twice are added to the others.
        table: out.
        size: how many of its cells to use, a power of two.
        least: the range's first key.
        span: its last key minus its first.

    Returns:
        How many keys there are, and the span of the range that was counted.
    """
    cells, order, batch, keys = table.cells, table.order, table.batch, words.keys
    mask, shift = np.uint64(size - 1), np.uint64(64 - first_one(np.uint64(size)))
    for at in range(2 * size):
        cells[np.uint64(at)] = _NONE
    found = 0
    first = held = at = _ZERO
    while first + held < total:
        first, held, at = _advance(words, packed, total, n, first, held, at)
        last = total + BLOCK - 1 if first + held == total else first + held - n + 1
        for block in range(first // BLOCK, last // BLOCK):
            bits = positions[0, np.uint64(block)]
            again = _NONE
            wanted = 0
            while bits:
                position = np.uint64(block * BLOCK + first_one(bits))
                bits &= bits - _ONE
                place = position - np.uint64(first)
                key = keys[place]
                for after in range(1, n):
                    key = key * MULTIPLIER + keys[place + np.uint64(after)]
                batch[np.uint64(wanted)], batch[np.uint64(BLOCK + wanted)] = key, position
                wanted += key - least <= span
                prefetch(cells, key * OTHER_MULTIPLIER >> shift << _ONE)
            for index in range(wanted):
                key, position = batch[np.uint64(index)], batch[np.uint64(BLOCK + index)]
                while found == size // 4 * 3:  # full: go on with three quarters of the range
                    span = span // np.uint64(4) * np.uint64(3)
                    found = _narrow(cells, size, least, span)
                if key - least > span:
                    continue
                slot = key * OTHER_MULTIPLIER >> shift
                # Both are looked at, so that there is one branch, which is seldom taken; nor is there one below.
                while (cells[slot << _ONE] != key) & (cells[slot << _ONE | _ONE] != _NONE):
                    slot = slot + _ONE & mask
                cell = cells[slot << _ONE | _ONE]
                met = np.uint64(cell != _NONE)
                cell = (cell if met else position << _HALF) + _ONE
                cells[slot << _ONE], cells[slot << _ONE | _ONE] = key, cell
                order[np.uint64(found)] = slot
                found += cell & _COUNT == _ONE
                begin = cell >> _HALF
                again |= met << (position & _SIX_BITS)
                positions[1, begin >> _SIX] |= met << (begin & _SIX_BITS)
            positions[1, np.uint64(block)] |= again
    return found, span


@lean
def _narrow(cells: NDArray[np.uint64], size: int, least: np.uint64, span: np.uint64) -> int:
    """Drop the keys outside a range from the table; return how many are left.

    From an empty cell on, each key is entered anew: it comes to its cell or to one before it.
    """
    mask, shift = np.uint64(size - 1), np.uint64(64 - first_one(np.uint64(size)))
    start = _NONE
    while cells[start << _ONE | _ONE] != _NONE:
        start += _ONE
    kept = 0
    for after in range(size):
        at = start + np.uint64(after) & mask
        key, cell = cells[at << _ONE], cells[at << _ONE | _ONE]
        cells[at << _ONE | _ONE] = _NONE
        if cell != _NONE and key - least <= span:
            slot = key * OTHER_MULTIPLIER >> shift
            while cells[slot << _ONE | _ONE] != _NONE:
                slot = slot + _ONE & mask
            cells[slot << _ONE], cells[slot << _ONE | _ONE] = key, cell
            kept += 1
    return kept


@lean
def _count_repetition(
    words: _Words,
    packed: bool,
    table: _Table,
    positions: NDArray[np.uint64],
    tallied: _Tallied,
    count: NDArray[np.int64],
) -> float:
    """Count distinct words, the characters of top and repeated n-grams; return the entropy.

    It is summed in the order in which words are first met, as the published code does; words of several rounds leave
    their counts at their first positions until then.
    """
    total = count[_WORDS]
    most = len(table.cells) // 4
    times, often, terms = tallied
    for index in range(len(terms)):
        terms[index] = 0.0
    entropy = 0.0
    for block in range(total // BLOCK + 2):
        positions[1, block] = _ALL
    for n in range(_WORD_ALONE, _LAST_NGRAM + 1):
        held: Any = _ZERO
        for block in range(total // BLOCK + 1):
            bits = positions[1, block]
            if n > 1:
                bits &= bits >> _ONE | positions[1, block + 1] << _SIX_BITS
            elif block == total // BLOCK:
                bits = _LOWEST_ONES[total % BLOCK]
            positions[0, block] = bits
            held += ones(bits)
        if held == 0:
            break
        for block in range(total // BLOCK + 2):
            positions[1, block] = _NONE
        size = power_of_two(2 * min(held, most))
        least, span = _NONE, _ALL
        highest: Any = _WORD_ALONE  # of equally frequent ones the first stays
        top: Any = _NOWHERE
        whole = True
        while True:
            found, span = _count_round(words, packed, total, n, positions, table, size, least, span)
            whole = whole and span == _ALL
            if n == 1:
                count[_UNIQUE] += found
            looked_at = found if whole else size
            for index in range(looked_at if n <= _LAST_TOP else 0):
                slot = np.uint64(table.order[index]) if whole else np.uint64(index)
                cell = table.cells[slot << _ONE | _ONE]
                copies: Any = np.int64(cell & _COUNT)
                position: Any = np.int64(cell >> _HALF)
                if copies == 0:
                    continue
                if n > 1:
                    if copies > highest or (copies == highest and position < top):
                        highest, top = copies, position
                    continue
                if whole:
                    entropy += _entropy_term(copies, total, terms)
                else:
                    times[position] = copies if copies < 255 else 255
                    if copies >= 255:
                        often[_often_at(often, position)] = np.uint64(position) << _HALF | np.uint64(copies)
            least += span + _ONE
            if least == _NONE:
                break
            span = min(span, _ALL - least)
        if n > _LAST_TOP or top >= 0:
            count[_NGRAMS + n - 2] = highest * _count_chars(words, packed, total, n, positions, top)
        if n == 1 and not whole:
            for position in range(total):
                copies = np.int64(times[position])
                if copies == 255:
                    copies = np.int64(often[_often_at(often, position)] & _COUNT)
                if copies:
                    entropy += _entropy_term(copies, total, terms)
                times[position] = 0
            for index in range(len(often)):
                often[index] = _NONE
    return entropy


@lean
def _often_at(often: NDArray[np.uint64], position: int) -> np.uint64:
    """Return the slot of a position, or the one it may have."""
    mask = np.uint64(len(often) - 1)
    slot = np.uint64(position) * MULTIPLIER >> _HALF & mask
    while often[slot] != _NONE and often[slot] >> _HALF != np.uint64(position):
        slot = slot + _ONE & mask
    return slot


@lean
def _entropy_term(times: int, words: int, terms: NDArray[np.float64]) -> float:
    """Return what a word adds to the entropy that occurs so often."""
    if times < len(terms) and terms[times] > 0.0:
        return float(terms[times])
    term = -times / words * math.log(times / words)
    if times < len(terms):
        terms[times] = term
    return term


@lean
def _count_bad(listed: Lists, which: int, keys: NDArray[np.uint64], counted: int, held: int) -> Any:
    """Count the runs of words at hand that are entries of the list and do not end before word `counted`."""
    start, end = listed.at[which], listed.at[which + 1]
    found: Any = _ZERO
    for word in range(held):
        key = keys[np.uint64(word)]
        home = _home(key, start, end)
        if not _holds(listed.keys, home, key):
            continue
        while listed.keys[home] != key:
            home += 1
        if word >= counted:
            found += listed.single[home]
        for entry in range(listed.rest[home, 0], listed.rest[home, 1]):
            rest, rest_end = listed.rest_at[entry], listed.rest_at[entry + 1]
            last = word + rest_end - rest
            same = counted <= last < held
            while same and rest < rest_end:
                same = listed.rest_keys[rest] == keys[last + 1 + rest - rest_end]
                rest += 1
            found += same
    return found


@lean
def _count_chars(words: _Words, packed: bool, total: int, n: int, positions: NDArray[np.uint64], only: int) -> Any:
    """Count the characters of all words in the n-grams that repeat; or of the one at `only`, if it is not negative."""
    ends = words.ends
    chars: Any = 0
    covered = 0  # words up to here are counted
    first = held = at = _ZERO
    while first + held < total:
        first, held, at = _advance(words, packed, total, n, first, held, at)
        last = total + BLOCK - 1 if first + held == total else first + held - n + 1
        for block in range(first // BLOCK, last // BLOCK):
            bits = positions[1, block]
            if only >= 0:
                bits = np.uint64(block == only // BLOCK) << np.uint64(only % BLOCK)
            while bits:
                position = block * BLOCK + first_one(bits) - first
                bits &= bits - _ONE
                chars += ends[position + n] - ends[max(position, covered - first)]
                covered = first + position + n
    return chars
