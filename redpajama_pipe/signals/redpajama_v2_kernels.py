"""Count what RedPajama-V2's signals are made of: raw tokens, normalised words and lines.

Tokens, sentences, capitals and lines are found among bits, from 64 bytes at once. A word is kept as a 64-bit hash of
the UTF-8 that it has after deletion of ASCII punctuation, lower-casing and NFD, and as its length; only one that is not
plain ASCII is written out. What repeats is then found among the hashes as gopher_kernels.py does; what both need stands
here too, as Numba's cache looks at no other file when it decides whether it is stale. Time is linear in the text;
scratch is at most about 90 bytes a word of the largest document.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import BLOCK, first_one, ones, ones_between, places, within
from redpajama_pipe.text.decode import decode
from redpajama_pipe.text.normalise import Characters
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
from redpajama_pipe.text.unaligned import load_little64

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

# The flags of text.normalise; a test compares them.
SPACE, WORD, UPPER, NOT_UPPER = 0, 1, 4, 8
LETTER, STOP, MARK, KEPT = 16, 32, 64, 128
CASED, IGNORABLE, LONG = 16, 32, 64

_SIGMA, _FINAL_SIGMA = 0x3A3, 0x3C2
_HALF = np.uint64(32)
_WINDOW = 4
_EMPTY = np.uint32(0xFFFFFFFF)
_NONE, _ONE, _TWO, _EIGHT, _SIXTEEN = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(8), np.uint64(16)
_ALL, _SIX, _SIX_BITS = np.uint64(2**64 - 1), np.uint64(6), np.uint64(63)
_OTHER_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_FROM_A, _AFTER_Z = np.uint64(0x3F3F3F3F3F3F3F3F), np.uint64(0x2525252525252525)
PADDING = 2 * BLOCK  # so much may be read after a page
# What of two times eight bytes belongs to so many bytes.
_WRITTEN = 256  # bytes of a normalised word that are written before they are hashed
_LOWEST_ONES = np.array([(1 << size) - 1 for size in range(65)], np.uint64)
_JAVASCRIPT = np.frombuffer(b"javascript".ljust(32, b"\0"), np.uint8)


# The rows of what `measure` writes, one column a line.
LINES = ("javascript", "terminal", "words", "uppercase", "numerical", "bullet")


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


@njit(cache=True, nogil=True)
def count_lines(data: NDArray[np.uint8], offsets: NDArray[np.int64], valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return where the lines of each document begin among the lines of all: (documents + 1,)."""
    begins = np.zeros(len(valid) + 1, np.int64)
    for document in range(len(valid)):
        lines = 0
        start, end = offsets[document], offsets[document + 1]
        if valid[document] and start < end:
            for at in range(start, end - 1):
                lines += data[at] == 0x0A
            lines += 1
        begins[document + 1] = begins[document] + lines
    return begins


class _Page(NamedTuple):
    """What is found in one document, and room for the longest; every bitmap has one bit a byte.

    Attributes:
        text: the document, and zeros after it.
        starts: bytes that begin a character.
        kept: bytes that belong to normalised words, but for characters that are written as none.
        upper: where upper-case letters begin.
        numeric: as many bits of a character as it has numeric ones when it is written out.
        begins, ends: (pieces,) where what stands between white space begins, and ends.
        token_begins, token_ends: (raw words of letters and digits,) the same of these, if they are asked for.
        mark_begins, mark_ends: (raw words of other characters,) the same.
        newlines: (newlines and the end,) where each is ...
        pieces_before: ... and how many pieces begin before it.
    """

    text: NDArray[np.uint8]
    starts: NDArray[np.uint64]
    kept: NDArray[np.uint64]
    upper: NDArray[np.uint64]
    numeric: NDArray[np.uint64]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    token_begins: NDArray[np.int64]
    token_ends: NDArray[np.int64]
    mark_begins: NDArray[np.int64]
    mark_ends: NDArray[np.int64]
    newlines: NDArray[np.int64]
    pieces_before: NDArray[np.int64]


@njit(cache=True, nogil=True)
def measure(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    characters: Characters,
    stop_words: Lists,
    bad_words: Lists,
    repetition: bool,
    line_begins: NDArray[np.int64],
    lines: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Count for every document.

    Args:
        data: the documents' UTF-8, end to end. Malformed bytes give some count, never a read outside the document.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: leave zeros.
        characters: text.normalise.characters().
        stop_words: keys from hash_tokens().
        bad_words: keys from hash_words().
        repetition: whether to count what needs a table of the document's words.
        line_begins: as count_lines() gives them.
        lines: out, (LINES, lines of all documents), not rounded; or no lines where they are not wanted.

    Returns:
        (documents, TALLIES), and (documents,) the entropy of each document's words.
    """
    documents = len(valid)
    counts = np.zeros((documents, len(TALLIES)), np.int64)
    entropies = np.zeros(documents, np.float64)
    longest: Any = 0
    for document in range(documents):
        if valid[document]:
            longest = max(longest, offsets[document + 1] - offsets[document])
    # np.empty takes no memory before it is written: a word has two bytes or more, and most have five.
    room, blocks = longest // 2 + 2, longest // BLOCK + 2
    page = _Page(
        np.empty(longest + PADDING, np.uint8),
        np.empty(blocks, np.uint64),
        np.empty(blocks, np.uint64),
        np.empty(blocks, np.uint64),
        np.empty(blocks, np.uint64),
        np.empty(room, np.int64),
        np.empty(room, np.int64),
        np.empty(room, np.int64),
        np.empty(room, np.int64),
        np.empty(room, np.int64),
        np.empty(room, np.int64),
        np.empty(longest + 2, np.int64),
        np.empty(longest + 2, np.int64),
    )
    text = page.text
    written, marks = np.empty(_WRITTEN + PADDING, np.uint8), np.empty(64, np.int32)
    keys, word_ends = np.empty(room, np.uint64), np.empty(room + 1, np.int64)
    positions, group = np.empty(room, np.uint32), np.empty(room, np.uint32)
    copies, distinct = np.empty(room, np.uint32), np.empty(room, np.uint32)
    slots = np.empty(_power_of_two(4 * room), np.uint32)
    for document in range(documents):
        if not valid[document]:
            continue
        count = counts[document]
        start, size = np.uint64(offsets[document]), offsets[document + 1] - offsets[document]
        for at in range(size):
            text[np.uint64(at)] = data[start + np.uint64(at)]
        for at in range(size, size + PADDING):
            text[at] = 0
        stop_list = stop_words.of[document]
        longest_token = stop_words.longest[stop_list, 0] if stop_list >= 0 else 0
        longest_marks = stop_words.longest[stop_list, 1] if stop_list >= 0 else 0
        raw = _find(page, size, characters, longest_token > 0, longest_marks > 0, count)
        if stop_list >= 0:
            first, last = stop_words.at[stop_list], stop_words.at[stop_list + 1]
            listed = stop_words.keys[first:last]
            count[_STOP_WORDS] = _count_stops(
                text, page.token_begins, page.token_ends, raw[0], longest_token, listed
            ) + _count_stops(text, page.mark_begins, page.mark_ends, raw[1], longest_marks, listed)
        _normalise(page, size, characters, written, marks, keys, word_ends, line_begins[document], lines, count)
        words = count[_WORDS]
        if not repetition or words == 0:
            continue
        for position in range(words):
            positions[position] = position
        held, found = _group(words, keys, positions, group, copies, distinct, slots)
        count[_UNIQUE] = found
        entropies[document] = _entropy(words, distinct[:found], copies)
        if bad_words.of[document] >= 0:
            count[_BAD_WORDS] = _count_listed(bad_words, bad_words.of[document], words, keys, distinct[:found], copies)
        _count_ngrams(held, keys, word_ends, positions, group, copies, distinct, slots, count)
    return counts, entropies


@njit(cache=True, nogil=True)
def _power_of_two(least: int) -> int:
    size = 16
    while size < least:
        size *= 2
    return size


@njit(cache=True, nogil=True)
def _find(
    page: _Page, size: int, characters: Characters, wants_tokens: bool, wants_marks: bool, count: NDArray[np.int64]
) -> tuple[int, int]:
    """Fill the page from its text, and count what needs no more than the class of each byte.

    Returns:
        How many tokens and marks are left, where they are wanted.
    """
    text, page_starts, page_kept, page_upper, page_numeric = page.text, page.starts, page.kept, page.upper, page.numeric
    begins, piece_ends, newlines_at, pieces_before = page.begins, page.ends, page.newlines, page.pieces_before
    token_begins, token_ends, mark_begins, mark_ends = (
        page.token_begins, page.token_ends, page.mark_begins, page.mark_ends,
    )  # fmt: skip
    blocks, entries = characters.blocks, characters.entries
    chars = sentences = raw_words = alphabetic = caps = symbols = braces = pieces = ended = lines = next_ellipsis = 0
    tokens = tokens_ended = marks = marks_ended = 0
    # What the blocks before leave to this one: sums that are carried on, and whether the byte before is one of these.
    letter_carry = upper_carry = lower_carry = upper_mark_carry = lower_mark_carry = gap_carry = _NONE
    in_piece = in_token = in_mark = dots_before = _NONE
    after_stop = _ONE
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
            code, width = decode(text, at + int(bit), size)
            entry = entries[np.int64(blocks[np.uint64(code >> 8)]) << 8 | code & 0xFF]
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
        index = at // BLOCK
        piece = inside & ~spaces
        word &= piece
        mark = piece & ~word
        page_starts[index], page_kept[index] = starts, piece & ~punctuation
        page_upper[index], page_numeric[index] = upper, numeric
        chars += ones(starts)

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
            newlines_at[lines] = at + int(bit)
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
    if size and text[size - 1] != 0x0A:
        newlines_at[lines], pieces_before[lines] = size, pieces
        lines += 1
    count[_CHARS], count[_SENTENCES], count[_RAW_WORDS], count[_ALPHABETIC] = chars, sentences, raw_words, alphabetic
    count[_CAPS], count[_SYMBOLS], count[_BRACES], count[_LINES] = caps, symbols, braces, lines
    return tokens, marks


@njit(cache=True, nogil=True)
def _runs_with(bits: np.uint64, runs: np.uint64, carry: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return a bit after each run of ones in which there is one of `bits`, and what the next block is due."""
    total = runs + (bits & runs)
    carried = total + carry
    return carried & ~runs, np.uint64(total < runs) | np.uint64(carried < total)


@njit(cache=True, nogil=True)
def _count_stops(
    text: NDArray[np.uint8],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    held: int,
    longest: int,
    listed: NDArray[np.uint64],
) -> int:
    """Count the tokens that are in the list."""
    found = 0
    for index in range(held):
        start, end = begins[index], ends[index]
        if end - start <= longest:
            key = hash_span(text, start, end)[0] | _ONE
            found += _holds(listed, _home(key, 0, len(listed)), key)
    return found


@njit(cache=True, nogil=True)
def _normalise(
    page: _Page,
    size: int,
    characters: Characters,
    written: NDArray[np.uint8],
    marks: NDArray[np.int32],
    keys: NDArray[np.uint64],
    word_ends: NDArray[np.int64],
    line: int,
    lines: NDArray[np.float64],
    count: NDArray[np.int64],
) -> None:
    """Leave the hash of each normalised word and the characters in all up to each; write and count the lines.

    Args:
        page: as _find left it.
        size: of the text.
        characters: as `measure` has them.
        written: scratch.
        marks: scratch.
        keys: out, by word.
        word_ends: out, by word and one more.
        line: the document's first.
        lines: out, as `measure` has them.
        count: out: words, word_chars, ellipsis_lines, lorem_ipsums.
    """
    text, kept, begins, ends = page.text, page.kept, page.begins, page.ends
    newlines, pieces_before = page.newlines, page.pieces_before
    starts, upper, numeric = page.starts, page.upper, page.numeric
    ascii_, blocks, entries, pool = characters
    javascript = hash_span(_JAVASCRIPT, 0, 10)[0]
    words = ellipsis_lines = lorem_ipsums = other_lorem_ipsums = 0
    chars: Any = np.int64(0)
    before_at = before_end = 0  # the bytes of the normalised word before
    word_ends[0] = 0
    line_at = piece = 0
    for index in range(count[_LINES]):
        line_end, pieces = min(newlines[index] + 1, size), pieces_before[index]
        line_words, line_chars, line_javascript, first = words, chars, 0, piece
        while piece < pieces:
            start, end = begins[np.uint64(piece)], ends[np.uint64(piece)]
            piece += 1
            # The usual word: what is kept of it stands together, and is ASCII.
            bits = _window(kept, start, end)
            if bits == _NONE and end - start <= BLOCK:
                continue
            length: Any = ones(bits)
            begin = start + first_one(bits)
            word_hash, other = _hash_lowered(text, begin, begin + length)
            usual = end - start <= BLOCK and other == _NONE
            if usual and bits >> np.uint64(begin - start) != _LOWEST_ONES[length]:
                _copy_kept(text, start, bits, written)
                word_hash, other = _hash_lowered(written, 0, length)
                usual = other == _NONE
            if not usual:
                word_hash, length = _hash_written(text, start, end, size, blocks, entries, ascii_, pool, written, marks)
                if length == 0:
                    continue
            letter = text[begin] | 0x20
            if (letter == 0x69 or not usual) and length >= 5 and words > 0 and _may_begin_with_i(text, start):
                exact, matched = _lorem_ipsum(text, before_at, before_end, start, end, blocks, entries, ascii_)
                lorem_ipsums += exact
                other_lorem_ipsums += matched and not exact
            keys[np.uint64(words)] = word_hash
            chars += length
            words += 1
            word_ends[np.uint64(words)] = chars
            line_javascript += word_hash == javascript
            before_at, before_end = start, end
        line_first: Any = -1
        last: Any = line_at
        if pieces > first:
            line_first, last = decode(text, begins[first], size)[0], ends[pieces - 1]
        ellipsis_lines += _end_line(
            text, starts, upper, numeric, line_at, line_end, line_first, last, words - line_words, chars - line_chars,
            line_javascript,
            line + index, lines,
        )  # fmt: skip
        line_at = line_end
    count[_WORDS], count[_WORD_CHARS], count[_ELLIPSIS_LINES] = words, chars, ellipsis_lines
    # The published code searches for the exact text first, and only if it is there counts with re.IGNORECASE.
    count[_LOREM_IPSUMS] = lorem_ipsums + other_lorem_ipsums if lorem_ipsums else 0


@njit(cache=True, nogil=True)
def _window(bitmap: NDArray[np.uint64], start: int, end: int) -> Any:
    """Return the bits from `start` to before `end`, at most 64 of them."""
    block, shift = np.uint64(start) >> _SIX, np.uint64(start) & _SIX_BITS
    bits = bitmap[block] >> shift | bitmap[block + _ONE] << _ONE << np.uint64(BLOCK - 1) - shift
    return bits & _LOWEST_ONES[min(end - start, BLOCK)]


@njit(cache=True, nogil=True)
def _end_line(
    text: NDArray[np.uint8],
    starts: NDArray[np.uint64],
    upper: NDArray[np.uint64],
    numeric: NDArray[np.uint64],
    start: int,
    end: int,
    first: int,
    last: int,
    words: int,
    word_chars: int,
    javascript: int,
    line: int,
    lines: NDArray[np.float64],
) -> bool:
    """Write a line's numbers; return whether it ends in an ellipsis.

    Args:
        text: holds the line.
        starts: bitmap of the bytes that begin a character.
        upper: bitmap of its upper-case letters.
        numeric: bitmap of its numeric characters.
        start: the line is text[start:end], with its newline.
        end: of it.
        first: its first character that is not white space; -1: there is none.
        last: where its last character ends that is not white space.
        words: normalised words.
        word_chars: characters of these.
        javascript: how many of them are javascript.
        line: its place in `lines`.
        lines: out.
    """
    one = text[last - 1] if last > start else np.uint8(0)
    three = last - start >= 3
    ellipsis = three and one == 0x2E and text[last - 2] == 0x2E and text[last - 3] == 0x2E
    quote = False
    if three and text[last - 3] == 0xE2 and text[last - 2] == 0x80:
        ellipsis = one == 0xA6
        quote = one == 0x9D
    if lines.shape[1] == 0:
        return ellipsis
    normalised = word_chars + max(words - 1, 0)
    chars = ones_between(starts, start, end)
    lines[0, line] = javascript
    lines[1, line] = quote or one == 0x2E or one == 0x21 or one == 0x3F
    lines[2, line] = words
    lines[3, line] = ones_between(upper, start, end) / max(chars, 1)  # 0 only in malformed UTF-8
    lines[4, line] = ones_between(numeric, start, end) / normalised if normalised else 0.0
    lines[5, line] = first >= 0x2013 and (
        first == 0x2013 or first == 0x2022 or first == 0x2023 or first == 0x25A0 or first == 0x25A1
        or first == 0x25AA or first == 0x25AB or first == 0x25B6 or first == 0x25C0 or first == 0x25E6
    )  # fmt: skip
    return ellipsis


@njit(cache=True, nogil=True)
def _entry(
    data: NDArray[np.uint8],
    at: int,
    end: int,
    blocks: NDArray[np.uint16],
    entries: NDArray[np.int32],
    ascii_: NDArray[np.uint16],
) -> tuple[np.int64, int, np.int64, Any]:
    """Return the code point at `at`, its width, its entry for all of Unicode, and whether it is deleted."""
    code, width = decode(data, at, end)
    entry = np.int64(entries[np.int64(blocks[code >> 8]) << 8 | code & 0xFF])
    return code, width, entry, code < 0x80 and entry & 3 != SPACE and ascii_[code] & KEPT == 0


@njit(cache=True, nogil=True)
def _ends_word(
    data: NDArray[np.uint8],
    word_at: int,
    at: int,
    end: int,
    blocks: NDArray[np.uint16],
    entries: NDArray[np.int32],
    ascii_: NDArray[np.uint16],
) -> bool:
    """Whether the capital sigma at `at` is lowered to a final one: a cased letter before it, and none after it.

    Characters that Unicode calls case-ignorable are passed over, and ASCII punctuation, which is deleted by then. No
    step goes past another sigma, so that the time for all is linear.
    """
    before = at
    found = False
    while before > word_at and not found:
        before -= 1
        while before > word_at and data[before] & 0xC0 == 0x80:
            before -= 1
        _, _, entry, deleted = _entry(data, before, end, blocks, entries, ascii_)
        if deleted or entry & IGNORABLE:
            continue
        if not entry & CASED:
            return False
        found = True
    if not found:
        return False
    after = at + 2
    while after < end:
        _, width, entry, deleted = _entry(data, after, end, blocks, entries, ascii_)
        after += width
        if deleted or entry & IGNORABLE:
            continue
        return not entry & CASED
    return True


@njit(cache=True, nogil=True)
def _copy_kept(text: NDArray[np.uint8], start: int, bits: np.uint64, written: NDArray[np.uint8]) -> None:
    """Write the bytes at these bits after `start` one after the other."""
    held = 0
    while bits:
        written[held] = text[start + first_one(bits)]
        bits &= bits - _ONE
        held += 1


@njit(cache=True, nogil=True)
def _hash_written(
    text: NDArray[np.uint8],
    start: int,
    end: int,
    size: int,
    blocks: NDArray[np.uint16],
    entries: NDArray[np.int32],
    ascii_: NDArray[np.uint16],
    pool: NDArray[np.int32],
    written: NDArray[np.uint8],
    marks: NDArray[np.int32],
) -> tuple[np.uint64, int]:
    """Normalise the piece text[start:end]: return the hash of what is written, and its characters.

    Marks are sorted by class, those of one class as they stand.
    """
    value = SEED
    chars = held = bytes_held = bytes_before = 0
    at = start
    while at < end:
        code, width, entry, deleted = _entry(text, at, size, blocks, entries, ascii_)
        if not deleted:
            long = entry & LONG
            place = entry >> 11
            for index in range(np.int64(pool[place]) if long else 1):
                part = np.int64(pool[place + 1 + index]) if long else code + place
                if code == _SIGMA and _ends_word(text, start, at, size, blocks, entries, ascii_):
                    part = np.int64(_FINAL_SIGMA)
                chars += 1
                if part >> 21 == 0:
                    if held:
                        _sort_marks(marks, held)
                        for mark in range(held):
                            bytes_held = _write(written, bytes_held, np.int64(marks[mark] & 0x1FFFFF))
                            if bytes_held > _WRITTEN - 8:
                                value, bytes_before, bytes_held = _take(written, value, bytes_before, bytes_held)
                        held = 0
                    bytes_held = _write(written, bytes_held, part)
                    if bytes_held > _WRITTEN - 8:
                        value, bytes_before, bytes_held = _take(written, value, bytes_before, bytes_held)
                    continue
                if held == len(marks):
                    more = np.empty(2 * held, np.int32)
                    for earlier in range(held):  # an assignment to a slice takes ten seconds to compile
                        more[earlier] = marks[earlier]
                    marks = more
                marks[held] = part
                held += 1
        at += width
    _sort_marks(marks, held)
    for mark in range(held):
        bytes_held = _write(written, bytes_held, np.int64(marks[mark] & 0x1FFFFF))
        if bytes_held > _WRITTEN - 8:
            value, bytes_before, bytes_held = _take(written, value, bytes_before, bytes_held)
    value, bytes_before, bytes_held = _take(written, value, bytes_before, bytes_held)
    for after in range(bytes_held, 16):
        written[after] = 0
    value ^= np.uint64(bytes_before + bytes_held) * MULTIPLIER
    return mix(value, load_little64(written, _NONE), load_little64(written, _EIGHT)), chars


@njit(cache=True, nogil=True)
def _write(written: NDArray[np.uint8], held: int, code: np.int64) -> int:
    """Append a character as UTF-8; return how many bytes there are then."""
    if code < 0x80:
        written[held] = code
        return held + 1
    if code < 0x800:
        written[held], written[held + 1] = 0xC0 | code >> 6, 0x80 | code & 0x3F
        return held + 2
    if code < 0x10000:
        written[held], written[held + 1], written[held + 2] = (
            0xE0 | code >> 12,
            0x80 | code >> 6 & 0x3F,
            0x80 | code & 0x3F,
        )
        return held + 3
    written[held], written[held + 1] = 0xF0 | code >> 18, 0x80 | code >> 12 & 0x3F
    written[held + 2], written[held + 3] = 0x80 | code >> 6 & 0x3F, 0x80 | code & 0x3F
    return held + 4


@njit(cache=True, nogil=True)
def _take(written: NDArray[np.uint8], value: np.uint64, before: int, held: int) -> tuple[np.uint64, int, int]:
    """Take what is written into the hash, but for the last 1 to 16 bytes, which move to the front.

    Returns:
        The hash, how many bytes are in it, and how many are left.
    """
    at: Any = _NONE
    while held > 16:
        value = mix(value, load_little64(written, at), load_little64(written, at + _EIGHT))
        at += _SIXTEEN
        held -= 16
    if at:
        for index in range(held):
            written[index] = written[at + np.uint64(index)]
    return value, before + int(at), held


@njit(cache=True, nogil=True)
def _sort_marks(marks: NDArray[np.int32], held: int) -> None:
    """Put marks (their class << 21 | code point) into the order of their class, equal ones as they are."""
    ordered = True
    for index in range(1, held):
        ordered = ordered and marks[index] >> 21 >= marks[index - 1] >> 21
    if ordered:
        return
    begins = np.zeros(257, np.int64)
    for index in range(held):
        begins[(marks[index] >> 21) + 1] += 1
    for index in range(256):
        begins[index + 1] += begins[index]
    before = marks[:held].copy()
    for index in range(held):
        kind = before[index] >> 21
        marks[begins[kind]] = before[index]
        begins[kind] += 1


@njit(cache=True, nogil=True)
def _may_begin_with_i(data: NDArray[np.uint8], at: int) -> bool:
    """Whether a word's first letter may be an i: cheap, and true rather too often; there is one before its end."""
    while 0x21 <= data[at] <= 0x2F or 0x3A <= data[at] <= 0x40:
        at += 1
    byte = data[at]
    return bool(byte == 0x69 or byte == 0x49 or byte >= 0x7B or 0x5B <= byte <= 0x60)


@njit(cache=True, nogil=True)
def _lorem_ipsum(
    data: NDArray[np.uint8],
    before_at: int,
    before_end: int,
    at: int,
    end: int,
    blocks: NDArray[np.uint16],
    entries: NDArray[np.int32],
    ascii_: NDArray[np.uint16],
) -> tuple[bool, bool]:
    """Whether the word before ends in `lorem` and this one begins with `ipsum`: exactly; as re.IGNORECASE has it."""
    exact = True
    matched = 0
    while at < end and matched < 5:
        code, width, entry, deleted = _entry(data, at, end, blocks, entries, ascii_)
        at += width
        if deleted:
            continue
        if entry & LONG:
            return False, False
        code += entry >> 11
        if (matched == 0 and code == 0x131) or (matched == 2 and code == 0x17F):
            exact = False
        elif code != (0x69, 0x70, 0x73, 0x75, 0x6D)[matched]:
            return False, False
        matched += 1
    if matched < 5:
        return False, False
    tail = np.uint64(0)
    while before_at < before_end:
        code, width, entry, deleted = _entry(data, before_at, before_end, blocks, entries, ascii_)
        before_at += width
        if not deleted:
            code += entry >> 11
            tail = tail << _EIGHT | np.uint64(code if code < 0x80 and not entry & LONG else 0)
    matches = tail & np.uint64(0xFFFFFFFFFF) == np.uint64(0x6C6F72656D)
    return matches and exact, matches


@njit(cache=True, nogil=True)
def _lowered(bytes_: np.uint64) -> np.uint64:
    """Put eight bytes into lower case; those outside ASCII stay."""
    ascii_ = bytes_ & _OTHER_BITS
    upper = ((ascii_ + _FROM_A) ^ (ascii_ + _AFTER_Z)) & ~bytes_ & OUTSIDE_ASCII
    return bytes_ | upper >> _TWO


@njit(cache=True, nogil=True)
def _hash_lowered(text: NDArray[np.uint8], start: int, end: int) -> tuple[np.uint64, np.uint64]:
    """Return the hash of text[start:end] in lower case, and whether a byte of it is outside ASCII."""
    at = np.uint64(start)
    left = end - start
    value = SEED
    seen = _NONE
    while left > 16:
        low, high = load_little64(text, at), load_little64(text, at + _EIGHT)
        seen |= low | high
        value = mix(value, _lowered(low), _lowered(high))
        at += _SIXTEEN
        left -= 16
    low = load_little64(text, at) & LOW_BYTES[left]
    high = load_little64(text, at + _EIGHT) & HIGH_BYTES[left]
    value ^= np.uint64(end - start) * MULTIPLIER
    return mix(value, _lowered(low), _lowered(high)), (seen | low | high) & OUTSIDE_ASCII


@njit(cache=True, nogil=True)
def hash_tokens(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hash words as raw tokens are hashed."""
    keys = np.empty(len(offsets) - 1, np.uint64)
    text = np.zeros(len(data) + PADDING, np.uint8)
    text[: len(data)] = data
    for index in range(len(keys)):
        keys[index] = hash_span(text, offsets[index], offsets[index + 1])[0] | _ONE
    return keys


@njit(cache=True, nogil=True)
def hash_words(codes: NDArray[np.uint32], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hash words, given as code points, as the words of a text that is normalised to just these are hashed."""
    keys = np.empty(len(offsets) - 1, np.uint64)
    text = np.zeros(4 * len(codes) + PADDING, np.uint8)
    for index in range(len(keys)):
        size = 0
        for at in range(offsets[index], offsets[index + 1]):
            size = _write(text, size, np.int64(codes[at]))
        keys[index] = hash_span(text, 0, size)[0]
    return keys


@njit(cache=True, nogil=True)
def fill_slots(keys: NDArray[np.uint64], values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Enter values into a new table; return the slot of each, or none at all where the table is too small."""
    found = np.empty(len(values), np.int64)
    for index in range(len(values)):
        slot = _home(values[index], 0, len(keys))
        last = slot + _WINDOW
        while slot < last and keys[slot] != np.uint64(0) and keys[slot] != values[index]:
            slot += 1
        if slot == last:
            return found[:0]
        keys[slot] = values[index]
        found[index] = slot
    return found


@njit(cache=True, nogil=True)
def _home(key: np.uint64, start: int, end: int) -> np.int64:
    """Return where a key's window begins in the table keys[start:end], a power of two of slots and a few more."""
    return start + (np.int64((key * OTHER_MULTIPLIER) >> _HALF) & (end - start - _WINDOW))


@njit(cache=True, nogil=True)
def _holds(keys: NDArray[np.uint64], home: Any, key: np.uint64) -> bool:
    """Whether the key is in its window: all of it is compared, so that there is no branch to guess."""
    found = False
    first = np.uint64(home)
    for index in range(_WINDOW):
        found |= keys[first + np.uint64(index)] == key
    return found


@njit(cache=True, nogil=True)
def _count_listed(
    listed: Lists,
    which: int,
    words: int,
    keys: NDArray[np.uint64],
    distinct: NDArray[np.uint32],
    copies: NDArray[np.uint32],
) -> int:
    """Count the runs of words that are entries of the list."""
    start, end = listed.at[which], listed.at[which + 1]
    found = 0
    begins = False
    for position in distinct:
        home = _home(keys[position], start, end)
        if _holds(listed.keys, home, keys[position]):
            while listed.keys[home] != keys[position]:
                home += 1
            found += np.int64(listed.single[home]) * copies[position]
            begins |= listed.rest[home, 0] < listed.rest[home, 1]
    if not begins:
        return found
    for position in range(words):
        home = _home(keys[position], start, end)
        if not _holds(listed.keys, home, keys[position]):
            continue
        while listed.keys[home] != keys[position]:
            home += 1
        for entry in range(listed.rest[home, 0], listed.rest[home, 1]):
            first, last = listed.rest_at[entry], listed.rest_at[entry + 1]
            same = position + last - first < words
            for at in range(first, last):
                same = same and listed.rest_keys[at] == keys[position + 1 + at - first]
            found += same
    return found


@njit(cache=True, nogil=True)
def _entropy(words: int, distinct: NDArray[np.uint32], copies: NDArray[np.uint32]) -> float:
    """Return the entropy of words, summed in the order in which they are first met, as the published code does."""
    terms = np.zeros(64, np.float64)  # of the sum, by how often the word occurs; 0: not known yet
    entropy = 0.0
    for position in distinct:
        times = np.int64(copies[position])
        if times < len(terms) and terms[times] > 0.0:
            entropy += terms[times]
            continue
        term = -times / words * math.log(times / words)
        if times < len(terms):
            terms[times] = term
        entropy += term
    return entropy


@njit(cache=True, nogil=True)
def _group(
    held: int,
    keys: NDArray[np.uint64],
    positions: NDArray[np.uint32],
    group: NDArray[np.uint32],
    copies: NDArray[np.uint32],
    distinct: NDArray[np.uint32],
    slots: NDArray[np.uint32],
) -> tuple[int, int]:
    """Group positions by equal key, then keep only those whose key occurs at least twice.

    Args:
        held: how many positions are looked at.
        keys: by position.
        positions: in and out: the first `held`, ascending; those that stay are moved to the front.
        group: out, by position: the first position with the same key.
        copies: out, by first position: how many positions have its key.
        distinct: out: the first positions, ascending.
        slots: scratch for an open-addressed table of positions: a power of two, at least 4 * held.

    Returns:
        How many positions stay, and how many distinct keys there are.
    """
    size = _power_of_two(2 * held)
    mask, shift = np.uint64(size - 1), np.uint64(64 - first_one(np.uint64(size)))
    for slot in range(size):
        slots[slot] = _EMPTY
    found = 0
    for index in range(held):
        position = positions[index]
        key = keys[position]
        slot = key * MULTIPLIER >> shift
        # An empty slot is greater than any position: then this one is the first, and its key is its own.
        first = min(slots[slot], position)
        while keys[first] != key:
            slot = slot + _ONE & mask
            first = min(slots[slot], position)
        slots[slot] = group[position] = first
        copies[position] = 0
        copies[first] += 1
        distinct[found] = position
        found += first == position
    kept = 0
    for index in range(held):
        position = positions[index]
        positions[kept] = position  # no branch here: which words repeat cannot be guessed
        kept += copies[group[position]] > 1
    return kept, found


@njit(cache=True, nogil=True)
def _count_ngrams(
    held: int,
    keys: NDArray[np.uint64],
    word_ends: NDArray[np.int64],
    positions: NDArray[np.uint32],
    group: NDArray[np.uint32],
    copies: NDArray[np.uint32],
    distinct: NDArray[np.uint32],
    slots: NDArray[np.uint32],
    count: NDArray[np.int64],
) -> None:
    """Count the characters of the top 2- to 4-gram, and those in repeated 5- to 10-grams; overwrites `keys`."""
    for n in range(2, _LAST_NGRAM + 1):
        pairs = 0
        for index in range(held - 1):
            position = positions[index]
            keys[position] = np.uint64(group[position]) << _HALF | np.uint64(group[position + 1])
            positions[pairs] = position
            pairs += positions[index + 1] == position + 1
        held, found = _group(pairs, keys, positions, group, copies, distinct, slots)
        if held == 0:
            return
        chars: Any = 0
        if n <= _LAST_TOP:
            most: Any = 1  # of equally frequent ones the first stays
            for position in distinct[:found]:
                if copies[position] > most:
                    most = np.int64(copies[position])
                    chars = most * (word_ends[position + n] - word_ends[position])
        else:
            covered = 0  # words up to here are counted
            for index in range(held):
                position = positions[index]
                chars += word_ends[position + n] - word_ends[max(position, covered)]
                covered = position + n
        count[_NGRAMS + n - 2] = chars
