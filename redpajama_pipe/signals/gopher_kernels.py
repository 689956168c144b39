"""Count what the signals are made of: where words and lines lie, from 64 bytes at once, then what repeats among them.

A document is copied to where more may be read than its last byte. Each word, line and paragraph gets a 64-bit hash,
sixteen bytes a step. n-grams are not hashed: an n-gram can only repeat where both (n-1)-grams in it do, so each n looks
at the positions that are left from the one before, and names an n-gram exactly by the pair of groups its two
(n-1)-grams fell in. Time is linear in the text; scratch is at most about 45 bytes a word of the largest document and
16 a line, and is released on return: gopher_long has a long document read in pieces.

Everything compiled is in this file and in text/, whose changes Numba's cache does not see.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import BLOCK, first_one, ones, ones_between, places, power_of_two, within
from redpajama_pipe.text.decode import decode
from redpajama_pipe.text.groups import group
from redpajama_pipe.text.lean import lean, lean_entry
from redpajama_pipe.text.span_hash import LOW_BYTES, SEED, hash_span, mix
from redpajama_pipe.text.unaligned import load_little64

# The columns of what `tally` returns, in order.
TALLIES = (
    "bytes",
    "chars",
    "words",
    "word_chars",
    "alphabetic_words",
    "hash_marks",
    "ellipses",
    "stop_words",
    "lines",
    "line_chars",
    "bullet_lines",
    "ellipsis_lines",
    "paragraphs",
    "paragraph_chars",
    "duplicate_lines",
    "duplicate_line_chars",
    "duplicate_paragraphs",
    "duplicate_paragraph_chars",
    *(f"top_{n}gram_chars" for n in (2, 3, 4)),
    *(f"duplicate_{n}gram_chars" for n in (5, 6, 7, 8, 9, 10)),
)
_BYTES, _CHARS, _WORDS, _WORD_CHARS, _ALPHABETIC_WORDS, _HASH_MARKS, _ELLIPSES, _STOP_WORDS = range(8)
_LINES, _LINE_CHARS, _BULLET_LINES, _ELLIPSIS_LINES, _PARAGRAPHS, _PARAGRAPH_CHARS = range(8, 14)
_DUPLICATE_LINES, _DUPLICATE_PARAGRAPHS, _NGRAMS = 14, 16, 18
_LAST_TOP, _LAST_NGRAM = 4, 10

# The flags of text.characters; a test compares them.
ALPHABETIC, SPACE, BULLET, ALPHANUMERIC, ALONE = 1, 2, 8, 16, 32

_HALF = np.uint64(32)
_NONE, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)
PADDING = 2 * BLOCK  # so much may be read after a page
OPENED = 5  # what a piece of a document tells the next one of a paragraph that goes on
INDENT, BLANK, TRAIL = np.uint64(1), np.uint64(2), np.uint64(3)  # what a gap is made of
# The upper three bits of the product with this are the place of each stop word, as a number, among the eight.
_STOP_MULTIPLIER = np.uint64(0xC42DDDC22F41F7CD)
_STOP_WORDS_AT = [b"the", b"be", b"of", b"with", b"that", b"and", b"to", b"have"]
_STOP_LENGTHS_AT = np.array([len(word) for word in _STOP_WORDS_AT])
_STOP_NUMBERS_AT = np.array([int.from_bytes(word, "little") for word in _STOP_WORDS_AT], np.uint64)


@njit(cache=True, nogil=True)
def tally(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    properties: NDArray[np.uint8],
    repetition: bool,
    unspaced: bool = False,
) -> NDArray[np.int64]:
    """Count for every document.

    Args:
        data: the documents' UTF-8, end to end. Malformed bytes give some count, never a read outside the document.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: leave zeros.
        properties: the flags of every code point, text.characters.properties().
        repetition: whether to fill the columns on duplicates and n-grams.
        unspaced: whether words are parted as `part_words` says.

    Returns:
        (documents, TALLIES); zeros where `valid` is False.
    """
    documents = len(valid)
    counts = np.zeros((documents, len(TALLIES)), np.int64)
    longest: Any = 0
    for document in range(documents):
        if valid[document]:
            longest = max(longest, offsets[document + 1] - offsets[document])
    # np.empty takes no memory before it is written: a word or line has two bytes or more, and most words have five.
    room = longest // 2 + 2
    page = np.empty(longest + PADDING, np.uint8)
    characters = np.empty(longest // BLOCK + 2, np.uint64)
    begins, ends = np.empty(room, np.uint32), np.empty(room, np.uint32)
    breaks = np.empty((2, longest + 2), np.int64)
    word_hashes, word_ends = np.empty(room, np.uint64), np.empty(room + 1, np.uint32)
    parts = room if unspaced else 0
    part_begins, part_ends = np.empty(parts, np.uint32), np.empty(parts, np.uint32)
    segments = np.empty((2, room), np.uint64), np.empty((2, room), np.int64)  # of lines, of paragraphs
    opened = np.empty(OPENED, np.uint64)
    positions, firsts = begins, ends  # which nobody asks for when everything has its hash
    copies = np.empty(room, np.uint32)
    slots = np.empty(power_of_two(4 * room), np.uint32)
    for document in range(documents):
        if not valid[document]:
            continue
        count = counts[document]
        start, size = np.uint64(offsets[document]), offsets[document + 1] - offsets[document]
        for at in range(size):
            page[np.uint64(at)] = data[start + np.uint64(at)]
        for at in range(size, size + PADDING):
            page[at] = 0
        find_words(page, size, properties, characters, begins, ends, breaks, count)
        opened[0] = 0
        hash_lines(page, properties, characters, begins, ends, breaks, opened, True, segments[0], segments[1], count)
        if unspaced and count[_CHARS] < size:
            part_words(page, properties, begins, ends, part_begins, part_ends, count)
            hash_words(page, characters, part_begins, part_ends, word_hashes, word_ends, count)
        else:
            hash_words(page, characters, begins, ends, word_hashes, word_ends, count)
        count[_STOP_WORDS] = ones(np.uint64(count[_STOP_WORDS]))
        if not repetition:
            continue
        for kind, column, out in (
            (0, _LINES, _DUPLICATE_LINES),
            (1, _PARAGRAPHS, _DUPLICATE_PARAGRAPHS),
        ):
            hashes, chars = segments[0][kind], segments[1][kind]
            held = count[column]
            for index in range(held):
                positions[index] = index
            kept = group(positions, held, hashes, slots, firsts, copies)
            count[out] = kept
            for index in range(kept):
                count[out + 1] += chars[positions[index]]
        _count_ngrams(count[_WORDS], word_hashes, word_ends, positions, firsts, copies, slots, count)
    return counts


@lean_entry
def find_words(
    page: NDArray[np.uint8],
    size: int,
    properties: NDArray[np.uint8],
    characters: NDArray[np.uint64],
    begins: NDArray[np.uint32],
    ends: NDArray[np.uint32],
    breaks: NDArray[np.int64],
    count: NDArray[np.int64],
) -> None:
    """Find where words and lines lie, and count what needs no more than the class of each byte.

    Args:
        page: the document, and zeros after it.
        size: its bytes.
        properties: of every code point.
        characters: out, a bit for each byte: it begins a character.
        begins: out, (words,) where each word begins.
        ends: out, (words,) and ends.
        breaks: out, (2, newlines and the end) where each is, and how many words begin before it.
        count: out: bytes, chars, words, alphabetic_words, hash_marks, ellipses; lines is the number of breaks.
    """
    chars = words = ended = alphabetic = hash_marks = ellipses = lines = next_ellipsis = 0
    in_word = carry = dots_before = no_word = _NONE  # what the blocks before leave to this one
    for at in range(0, size + 1, BLOCK):  # there is a byte after the last, where everything ends
        place = np.uint64(at)
        inside = ~_NONE if size - at >= BLOCK else (_ONE << np.uint64(size - at)) - _ONE
        newlines = within(page, place, 0x0A, 0x0A)
        spaces = within(page, place, 0x20, 0x20) | within(page, place, 0x09, 0x0D) | within(page, place, 0x1C, 0x1F)
        letters = within(page, place, 0x61, 0x7A) | within(page, place, 0x41, 0x5A)
        dots = within(page, place, 0x2E, 0x2E)
        hash_marks += ones(within(page, place, 0x23, 0x23))
        starts = inside & ~within(page, place, 0x80, 0xBF)
        word = inside & ~spaces & ~no_word
        no_word = _NONE
        others = starts & within(page, place, 0x80, 0xFF)
        while others:
            bit = np.uint64(first_one(others))
            others &= others - _ONE
            code, width = decode(page, at + int(bit), size)
            flags = properties[np.uint64(code)]
            letters |= np.uint64(flags & ALPHABETIC) << bit
            ellipses += code == 0x2026
            if flags & SPACE:
                bytes_of = (_ONE << np.uint64(width)) - _ONE
                word &= ~(bytes_of << bit)
                no_word = bytes_of >> np.uint64(BLOCK - 1) - bit >> _ONE  # those that lie in the next block
        characters[at // BLOCK] = starts
        chars += ones(starts)

        # A sum carries a letter's bit past the end of its word; many letters of one word carry one bit.
        letters &= word
        total = word + letters
        carried = total + carry
        carry = np.uint64(total < word) | np.uint64(carried < total)
        alphabetic += ones(carried & ~word)

        ahead = word << _ONE | in_word
        in_word = word >> np.uint64(63)
        begin, end = word & ~ahead, ahead & ~word
        while newlines:
            bit = np.uint64(first_one(newlines))
            newlines &= newlines - _ONE
            breaks[0, lines] = at + int(bit)
            breaks[1, lines] = words + ones(begin & ((_ONE << bit) - _ONE))
            lines += 1
        words = places(begin, at, begins, words)
        ended = places(end, at, ends, ended)

        third = dots & (dots << _ONE | dots_before >> np.uint64(63)) & (dots << _TWO | dots_before >> np.uint64(62))
        dots_before = dots
        while third:  # three dots end here
            last = at + first_one(third)
            third &= third - _ONE
            if last >= next_ellipsis:
                ellipses += 1
                next_ellipsis = last + 3
    breaks[0, lines], breaks[1, lines] = size, words
    count[_BYTES], count[_CHARS], count[_WORDS], count[_ALPHABETIC_WORDS] = size, chars, words, alphabetic
    count[_HASH_MARKS], count[_ELLIPSES], count[_LINES] = hash_marks, ellipses, lines + 1


@lean_entry
def part_words(
    page: NDArray[np.uint8],
    properties: NDArray[np.uint8],
    begins: NDArray[np.uint32],
    ends: NDArray[np.uint32],
    part_begins: NDArray[np.uint32],
    part_ends: NDArray[np.uint32],
    count: NDArray[np.int64],
) -> None:
    """Part words so that each letter or digit of a script without spaces is a word of its own.

    Punctuation and combining marks never begin a word: they stay with what they follow, or else precede.

    Args:
        page: the document, and zeros after it.
        properties: of every code point.
        begins: (words,) where each begins ...
        ends: ... and ends.
        part_begins: out, the same of their parts, of which there are at most half as many as bytes and one more.
        part_ends: out.
        count: in and out: words and alphabetic_words.
    """
    parts = alphabetic = 0
    for word in range(count[_WORDS]):
        at: Any = np.int64(begins[word])
        end: Any = np.int64(ends[word])
        part_begins[parts] = at
        seen = np.uint8(0)  # the flags of the part's characters
        while at < end:
            code, width = decode(page, at, end)
            flags = properties[np.uint64(code)]
            if flags & ALPHANUMERIC and seen & ALPHANUMERIC and (flags | seen) & ALONE:
                part_ends[parts] = at
                alphabetic += (seen & ALPHABETIC) != 0
                parts += 1
                part_begins[parts] = at
                seen = np.uint8(0)
            seen |= flags
            at += width
        part_ends[parts] = end
        alphabetic += (seen & ALPHABETIC) != 0
        parts += 1
    count[_WORDS], count[_ALPHABETIC_WORDS] = parts, alphabetic


@lean_entry
def hash_words(
    page: NDArray[np.uint8],
    characters: NDArray[np.uint64],
    begins: NDArray[np.uint32],
    ends: NDArray[np.uint32],
    word_hashes: NDArray[np.uint64],
    word_ends: NDArray[np.uint32],
    count: NDArray[np.int64],
) -> None:
    """Leave the hash of each word and the characters in all words up to each; fill the columns that they make.

    In place of how many stop words there are, it leaves a bit for each.
    """
    chars = 0
    stop_words = np.uint64(0)
    word_ends[0] = 0
    for word in range(count[_WORDS]):
        start: Any = np.int64(begins[word])
        end: Any = np.int64(ends[word])
        word_hashes[word], other = hash_span(page, start, end)
        chars += ones_between(characters, start, end) if other else end - start
        word_ends[word + 1] = chars
        low = load_little64(page, np.uint64(start)) & LOW_BYTES[min(end - start, 16)]
        slot = low * _STOP_MULTIPLIER >> np.uint64(61)
        stop_words |= np.uint64((_STOP_NUMBERS_AT[slot] == low) & (_STOP_LENGTHS_AT[slot] == end - start)) << slot
    count[_WORD_CHARS], count[_STOP_WORDS] = chars, stop_words


@lean_entry
def hash_lines(
    page: NDArray[np.uint8],
    properties: NDArray[np.uint8],
    characters: NDArray[np.uint64],
    begins: NDArray[np.uint32],
    ends: NDArray[np.uint32],
    breaks: NDArray[np.int64],
    opened: NDArray[np.uint64],
    last: bool,
    segment_hashes: NDArray[np.uint64],
    segment_chars: NDArray[np.int64],
    count: NDArray[np.int64],
) -> None:
    """Leave the hash and length of each line and paragraph, and fill the columns on them.

    The hash of a paragraph is made of those of its lines and of the gaps between them; a gap, of what follows the last
    word of a line, of lines without one and of what precedes the next line's first: so lines may come in pieces.

    Args:
        page: whole lines of a document, and zeros after them.
        properties: of every code point.
        characters: a bit for each byte: it begins a character.
        begins: where each word begins ...
        ends: ... and ends.
        breaks: of the lines: where each ends, and how many words begin before.
        opened: in and out: whether a paragraph has begun, the hash and the characters up to its last word, and those of
            the gap after it.
        last: whether the document ends here.
        segment_hashes: out, (2, lines) of lines and of paragraphs.
        segment_chars: out, likewise.
        count: in: lines is the number of breaks; out: lines and paragraphs.
    """
    lines = line_chars = bullets = ellipsis_lines = paragraphs = word = line_at = 0
    paragraph_chars: Any = 0
    in_paragraph, paragraph_hash, held, gap_hash, gap = opened[0] != _NONE, opened[1], opened[2], opened[3], opened[4]
    for index in range(count[_LINES]):
        newline, words = breaks[0, index], breaks[1, index]
        if words > word:
            start: Any = np.int64(begins[word])
            end: Any = np.int64(ends[words - 1])
            word = words
            line_hash, other = hash_span(page, start, end)
            chars = ones_between(characters, start, end) if other else end - start
            segment_hashes[0, lines], segment_chars[0, lines] = line_hash, chars
            lines += 1
            line_chars += chars
            ellipsis_lines += _ends_in_ellipsis(page, start, end)
            bullets += (properties[np.uint64(decode(page, start, end)[0])] & BULLET) != 0
            if in_paragraph:
                if start > line_at:
                    gap_hash = mix(gap_hash, hash_span(page, line_at, start)[0], INDENT)
                    gap += np.uint64(ones_between(characters, line_at, start))
                paragraph_hash = mix(paragraph_hash, gap_hash, line_hash)
                held += gap + np.uint64(chars)
            else:
                in_paragraph, paragraph_hash, held = True, line_hash, np.uint64(chars)
            gap_hash, gap = SEED, _ONE
            if newline > end:
                gap_hash = mix(gap_hash, hash_span(page, end, newline)[0], TRAIL)
                gap += np.uint64(ones_between(characters, end, newline))
        elif in_paragraph:
            if newline > line_at:
                gap_hash = mix(gap_hash, hash_span(page, line_at, newline)[0], BLANK)
                gap += np.uint64(ones_between(characters, line_at, newline)) + _ONE
            else:
                in_paragraph = False
                segment_hashes[1, paragraphs], segment_chars[1, paragraphs] = paragraph_hash, held
                paragraph_chars += np.int64(held)
                paragraphs += 1
        line_at = newline + 1
    if in_paragraph and last:
        segment_hashes[1, paragraphs], segment_chars[1, paragraphs] = paragraph_hash, held
        paragraph_chars += np.int64(held)
        paragraphs += 1
    opened[0], opened[1], opened[2], opened[3], opened[4] = in_paragraph, paragraph_hash, held, gap_hash, gap
    count[_LINES], count[_LINE_CHARS] = lines, line_chars
    count[_BULLET_LINES], count[_ELLIPSIS_LINES] = bullets, ellipsis_lines
    count[_PARAGRAPHS], count[_PARAGRAPH_CHARS] = paragraphs, paragraph_chars


@lean
def _ends_in_ellipsis(data: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether a stripped line ends in `...`, `. . .` or `…`."""
    if end - start < 3:
        return False
    third, second, last = data[end - 3], data[end - 2], data[end - 1]
    if last == 0x2E and third == 0x2E:
        spaced = second == 0x20 and end - start >= 5 and data[end - 4] == 0x20 and data[end - 5] == 0x2E
        return bool(second == 0x2E or spaced)
    return bool(third == 0xE2 and second == 0x80 and last == 0xA6)


@lean
def _count_ngrams(
    words: int,
    keys: NDArray[np.uint64],
    word_ends: NDArray[np.uint32],
    positions: NDArray[np.uint32],
    firsts: NDArray[np.uint32],
    copies: NDArray[np.uint32],
    slots: NDArray[np.uint32],
    count: NDArray[np.int64],
) -> None:
    """Count the characters in the top 2- to 4-gram and in all repeated 5- to 10-grams; overwrites `keys`."""
    for position in range(words):
        positions[position] = position
    held = group(positions, words, keys, slots, firsts, copies)
    for n in range(2, _LAST_NGRAM + 1):
        pairs = 0
        for index in range(held - 1):
            position = positions[index]
            keys[position] = np.uint64(firsts[position]) << _HALF | np.uint64(firsts[position + 1])
            positions[pairs] = position
            pairs += positions[index + 1] == position + 1
        held = group(positions, pairs, keys, slots, firsts, copies)
        if held == 0:
            return
        top = -1
        if n <= _LAST_TOP:
            most = longest = 0
            for index in range(held):
                position = positions[index]
                if firsts[position] == position:
                    length: Any = np.int64(word_ends[position + n]) - word_ends[position]
                    if copies[position] > most or (copies[position] == most and length > longest):
                        most, longest, top = copies[position], length, position
        covered = chars = 0  # words up to here are counted
        for index in range(held):
            position = positions[index]
            if top < 0 or firsts[position] == top:
                chars += np.int64(word_ends[position + n]) - word_ends[max(position, covered)]
                covered = position + n
        count[_NGRAMS + n - 2] = chars
