"""What repeats in one long document: items, words and n-grams, with a table of a fixed size, in rounds.

Items come a piece at a time, each with a 64-bit hash; the text is read again for every round, which looks at the hashes
of one part of all 64-bit numbers, no more of them than the table holds. A word then is a number of 32 bits. An n-gram
can only repeat where both (n-1)-grams in it do: what repeats is a bit for each position, and each n looks at what is
left from the one before, with 64-bit hashes of numbers of words as keys. Memory is the table, four bytes a word, four
a different word and three bits a word. Time is linear but for the rounds.

What is compiled here is called from Python alone, so that no other kernel's cache holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import first_one, power_of_two
from redpajama_pipe.text.lean import lean_entry
from redpajama_pipe.text.prefetch import prefetch
from redpajama_pipe.text.span_hash import MULTIPLIER, OTHER_MULTIPLIER

SLOTS = 1 << 22  # of the table, for 128 MiB of text or less: 64 MiB
_ALL = 1 << 32  # the parts of all hashes, by their upper halves
_FULL = 3, 4  # so many slots of so many are used
_SAMPLE = 64  # where there may be more keys than room, the first round looks at one part of so many
_SMALL = 32  # where nobody knows how many keys there are, a table of one slot of so many is tried first
_WAITING = 192  # n-grams that are entered together, when the table's slots have been fetched

_NONE, _ONE, _TWO, _FIVE, _PAIRS = (np.uint64(number) for number in (0, 1, 2, 5, 31))
_SIX, _SIX_BITS, _LAST_BIT = np.uint64(6), np.uint64(63), np.uint64(63)
_HALF, _LOW_HALF, _OCCURRENCE = np.uint64(32), np.uint64(0xFFFFFFFF), np.uint64(1 << 32)
_AHEAD = 16

# The hashes of the items of a piece in their order, and the characters of all up to each: one more, the first is 0.
Piece = tuple[NDArray[np.uint64], NDArray[np.uint32]]
Read = Callable[[], Iterator[Piece]]


@dataclass(frozen=True)
class Words:
    """The words of a document.

    Attributes:
        names: (words,) a number for each, the same for equal ones, from 1 on; any that occurs once may be 0.
        lengths: (different words,) characters, by name.
        repeated: (words / 64 + 2,) a bit for each word: it occurs at least twice.
        positions: how many bits are set.
    """

    names: NDArray[np.uint32]
    lengths: NDArray[np.uint32]
    repeated: NDArray[np.uint64]
    positions: int


@dataclass(frozen=True)
class Ngrams:
    """The n-grams of a document that occur at least twice.

    Attributes:
        n: words of each.
        repeated: a bit for the first word of each; overwritten when the next but one is asked for.
        positions: how many bits are set.
        times: how often the top one occurs; 0: it was not asked for, or none occurs twice.
        chars: characters of one occurrence of it.
        first: the position of its first one; -1: there is none.
    """

    n: int
    repeated: NDArray[np.uint64]
    positions: int
    times: int = 0
    chars: int = 0
    first: int = -1


def slots_for(size: int, slots: int = SLOTS) -> int:
    """Return the slots of a table, 16 bytes each, for a text of so many bytes: a power of two, at most a budget.

    The budget doubles with each doubling of a text beyond 128 MiB, since each round reads what may be all of it.
    """
    return min(slots << (max(size - 1, 0) >> 27).bit_length(), power_of_two(size // 16))


class _Rounds:
    """The table, and the part of all hashes that is looked at."""

    def __init__(self, slots: int) -> None:
        self._entries: NDArray[np.uint64] = np.empty(2 * slots, np.uint64)
        self.sketch = np.full(1, ~_NONE)  # none yet: whatever is asked for may occur twice
        self.start(slots // _SMALL)

    def start(self, keys: int, sample: bool = False) -> None:
        """Start with the first part; there are some `keys` in all of them together. `sample`: or far fewer."""
        self.most = len(self._entries) * _FULL[0] // (2 * _FULL[1])
        self.keys, self.found = float(keys), 0
        self.low, self.width = 0, _ALL
        if keys > self.most:
            self.width = _ALL // _SAMPLE if sample else max(1, int(_ALL * 0.9 * self.most / keys))

    def more(self) -> bool:
        return self.low < _ALL

    def begin(self) -> tuple[NDArray[np.uint64], np.uint64, np.uint64, np.uint64, int]:
        """Clear the table: return its entries, the shift to a slot, the part's low end and span, and the room."""
        expected = int(self.keys * 1.1 * self.width / _ALL) + 64
        slots = min(len(self._entries) // 2, power_of_two(expected * _FULL[1] // _FULL[0]))
        self.room = slots * _FULL[0] // _FULL[1]
        self.table = self._entries[: 2 * slots]
        self.table.fill(0)
        low, span = np.uint64(self.low << 32), np.uint64((self.width << 32) - 1)
        return self.table, np.uint64(65 - slots.bit_length()), low, span, self.room

    def again(self) -> None:
        """Make ready to do this part, or less, again: it had more keys than there was room for."""
        if self.room < self.most:
            self.keys *= _SMALL
        else:
            self.width = max(self.width // 8, 1)

    def end(self, held: int) -> None:
        """Go on to the next part, after one with so many keys."""
        self.found += held
        self.keys = held * _ALL / self.width
        self.low += self.width
        self.width = min(_ALL - self.low, int(self.width * self.most * 0.9 / max(held, 1)) + 1)

    def enter(self, read: Read, names: NDArray[np.uint32], named: int, lengths: NDArray[np.uint32]) -> tuple[int, int]:
        """Enter the items of a part; return how many keys it had, and how many items there are in all parts.

        If the table is too small, half of it becomes a sketch of which hashes may occur twice; others are passed over.
        """
        while True:
            part = self.begin()
            held = items = 0
            for hashes, ends in read():
                out = names[items:] if len(names) else np.empty(len(ends), np.uint32)
                held = _enter(hashes, ends, *part, self.sketch, held, out, named, lengths[named:])
                if held < 0:
                    break
                items += len(ends) - 1
            if held >= 0:
                self.end(held)
                return held, items
            if self.room < self.most or len(self.sketch) > 1:
                self.again()
                continue
            half = len(self._entries) // 2
            self._entries, self.sketch = self._entries[:half], self._entries[half:]
            self.most //= 2
            self.keys = float(self.most) * _ALL / self.width
            self.sketch.fill(0)
            for hashes, ends in read():
                _draw(hashes, len(ends) - 1, self.sketch)


def duplicates(read: Read, slots: int) -> NDArray[np.int64]:
    """Return how many items have an equal one, the first of them too, and their characters.

    Args:
        read: reads the text and gives its pieces, as often as it is called; they may overwrite one another.
        slots: of the table.

    Returns:
        (2, 2) items and characters, of those whose hash is even, and odd: so two kinds may be read together.
    """
    rounds = _Rounds(slots)
    lengths = np.empty(rounds.most + 1, np.uint32)
    sums = np.zeros((2, 2), np.int64)
    while rounds.more():
        rounds.enter(read, lengths[:0], 0, lengths)
        _sum_up(rounds.table, lengths, sums)
    return sums


def name_words(read: Read, most: int, slots: int) -> Words:
    """Number the words of a text.

    Args:
        read: reads the text and gives its pieces, as often as it is called; they may overwrite one another.
        most: there are no more words than that.
        slots: of the table.
    """
    # np.empty takes no memory before it is written.
    names, lengths = np.empty(most + 1, np.uint32), np.empty(most + 1, np.uint32)
    lengths[0] = 0
    rounds = _Rounds(slots)
    twice = np.zeros(1, np.uint64)
    named = 1
    positions = words = 0
    while rounds.more():
        held, words = rounds.enter(read, names, named, lengths)
        named += held
        twice = np.append(twice, np.zeros(named // 64 + 1 - len(twice), np.uint64))
        positions += _mark(rounds.table, twice)
    repeated = np.zeros(words // 64 + 2, np.uint64)
    _mark_words(names, words, twice, repeated)
    return Words(names[:words], lengths[:named], repeated, positions)


def repeated_ngrams(words: Words, last_top: int, last: int, longest: bool, slots: int) -> Iterator[Ngrams]:
    """Find which n-grams repeat for n from 2 to `last`, as long as any does.

    Args:
        words: of the document.
        last_top: up to this n the most frequent one is told.
        last: the largest n.
        longest: of equally frequent ones the one with most characters is the top one, then the first; else the first.
        slots: of the table.
    """
    shorter, longer = words.repeated, np.empty_like(words.repeated)
    keys, places = np.empty((2, _WAITING + 64), np.uint64)
    positions = words.positions
    rounds = _Rounds(slots)
    for n in range(2, last + 1):
        longer.fill(0)
        rounds.start(positions if n == 2 else min(positions, rounds.found * 9 // 8), sample=n == 2)
        positions, top = 0, (0, 0, -1)
        while rounds.more():
            part = rounds.begin()
            held = _enter_ngrams(words.names, n, shorter, longer, *part, keys, places)
            if held < 0:
                rounds.again()
                continue
            rounds.end(held)
            positions += _mark(rounds.table, longer)
            if n <= last_top:
                top = _top(rounds.table, words.names, words.lengths, n, longest, *top)
        if not positions:
            return
        yield Ngrams(n, longer, positions, *top)
        shorter, longer = longer, shorter if n > 2 else np.empty_like(longer)  # what was given stays as it is


@lean_entry
def _enter(
    hashes: NDArray[np.uint64],
    ends: NDArray[np.uint32],
    table: NDArray[np.uint64],
    shift: np.uint64,
    low: np.uint64,
    span: np.uint64,
    room: int,
    sketch: NDArray[np.uint64],
    held: int,
    names: NDArray[np.uint32],
    named: int,
    lengths: NDArray[np.uint32],
) -> int:
    """Enter the items of a piece whose hash is in this part.

    Args:
        hashes: of the items.
        ends: (items + 1,) characters up to each.
        table: two numbers a slot: the hash; how often it was met and, in the lower half, its name.
        shift: from the product of a hash to its slot.
        low: where the part of all hashes begins.
        span: how many it has, less one.
        room: how many different ones the table may hold.
        sketch: as `_draw` leaves it; all ones: every item is entered.
        held: how many the table holds.
        names: out, by item.
        named: the name of the first that the table holds.
        lengths: out, characters, by name from that one on.

    Returns:
        How many the table then holds; -1: there are too many.
    """
    items, mask = len(ends) - 1, np.uint64(len(sketch) - 1)
    for item in range(items):
        ahead = hashes[min(item + _AHEAD, items - 1)]
        prefetch(table, ahead * MULTIPLIER >> shift << _ONE)
        prefetch(sketch, ahead >> _FIVE & mask)
        key = hashes[item]
        if key - low > span:
            continue
        if not sketch[key >> _FIVE & mask] >> ((key & _PAIRS) << _ONE) & _TWO:
            names[item] = 0
            continue
        slot = key * MULTIPLIER >> shift
        met = table[slot << _ONE | _ONE]
        while met != _NONE and table[slot << _ONE] != key:
            slot = slot + _ONE & ~_NONE >> shift
            met = table[slot << _ONE | _ONE]
        if met == _NONE:
            if held == room:
                return -1
            table[slot << _ONE] = key
            met = np.uint64(named + held)
            lengths[held] = ends[item + 1] - ends[item]
            held += 1
        table[slot << _ONE | _ONE] = met + _OCCURRENCE
        names[item] = met & _LOW_HALF
    return held


@lean_entry
def _draw(hashes: NDArray[np.uint64], items: int, sketch: NDArray[np.uint64]) -> None:
    """Leave two bits at the place of each hash: one with that place was met, and was met again."""
    mask = np.uint64(len(sketch) - 1)
    for item in range(items):
        prefetch(sketch, hashes[min(item + _AHEAD, items - 1)] >> _FIVE & mask)
        at, pair = hashes[item] >> _FIVE & mask, (hashes[item] & _PAIRS) << _ONE
        met = sketch[at] >> pair & _ONE
        sketch[at] |= (met << _ONE | _ONE) << pair


@lean_entry
def _sum_up(table: NDArray[np.uint64], lengths: NDArray[np.uint32], sums: NDArray[np.int64]) -> None:
    """Add the items of the table that were met at least twice, and their characters."""
    for at in range(1, len(table), 2):
        times: Any = np.int64(table[at] >> _HALF)
        if times > 1:
            kind = table[at - 1] & _ONE
            sums[kind, 0] += times
            sums[kind, 1] += times * np.int64(lengths[table[at] & _LOW_HALF])


@lean_entry
def _mark(table: NDArray[np.uint64], bits: NDArray[np.uint64]) -> int:
    """Set the bits of the names or first positions that were met at least twice; return how often they were."""
    positions = 0
    for at in range(1, len(table), 2):
        bit = table[at] & _LOW_HALF
        times: Any = np.int64(table[at] >> _HALF)
        if times > 1:
            bits[bit >> _SIX] |= _ONE << (bit & _SIX_BITS)
            positions += times
    return positions


@lean_entry
def _mark_words(names: NDArray[np.uint32], words: int, twice: NDArray[np.uint64], repeated: NDArray[np.uint64]) -> None:
    """Set the bits of the words whose names have one."""
    for block in range((words + 63) >> 6):
        bits = _NONE
        for position in range(block << 6, min((block + 1) << 6, words)):
            name = np.uint64(names[position])
            bits |= (twice[name >> _SIX] >> (name & _SIX_BITS) & _ONE) << np.uint64(position & 63)
        repeated[block] = bits


@lean_entry
def _enter_ngrams(
    names: NDArray[np.uint32],
    n: int,
    shorter: NDArray[np.uint64],
    longer: NDArray[np.uint64],
    table: NDArray[np.uint64],
    shift: np.uint64,
    low: np.uint64,
    span: np.uint64,
    room: int,
    keys: NDArray[np.uint64],
    places: NDArray[np.uint64],
) -> int:
    """Enter the n-grams of this part whose both (n-1)-grams repeat, each with its first position in place of a name.

    Args:
        names: (words,) the same for equal ones.
        n: of two words or more.
        shorter: a bit for each position: its (n-1)-gram repeats.
        longer: in and out: its n-gram was met before. `_mark` sets those of the first.
        table: as for words.
        shift: from the product of a key to its slot.
        low: where the part of all keys begins.
        span: how many it has, less one.
        room: how many different ones the table may hold.
        keys: scratch, (_WAITING + 64,).
        places: the same.

    Returns:
        How many the table holds; -1: there are too many.
    """
    held = 0
    waiting: Any = 0
    last = len(shorter) - 2
    for block in range(last + 1):
        both = shorter[block]
        both &= both >> _ONE | shorter[block + 1] << _LAST_BIT
        first = waiting
        while both:
            place = np.uint64(block) << _SIX | np.uint64(first_one(both))
            both &= both - _ONE
            key = np.uint64(names[place]) * OTHER_MULTIPLIER + np.uint64(names[place + _ONE])
            for word in range(2, n):
                key = key * OTHER_MULTIPLIER + np.uint64(names[place + np.uint64(word)])
            key = (key ^ key >> _HALF) * MULTIPLIER
            key ^= key >> _HALF  # its upper half says in which round it is looked at
            keys[waiting], places[waiting] = key, place
            waiting += np.int64(key - low <= span)  # no branch: which ones cannot be guessed
        for index in range(first, waiting):
            prefetch(table, keys[index] * MULTIPLIER >> shift << _ONE)
        if waiting < _WAITING and block < last:
            continue
        for index in range(waiting):
            key, place = keys[index], places[index]
            slot = key * MULTIPLIER >> shift
            met = table[slot << _ONE | _ONE]
            while met != _NONE and table[slot << _ONE] != key:
                slot = slot + _ONE & ~_NONE >> shift
                met = table[slot << _ONE | _ONE]
            longer[place >> _SIX] |= np.uint64(met != _NONE) << (place & _SIX_BITS)
            if met == _NONE:
                if held == room:
                    return -1
                table[slot << _ONE] = key
                met = place
                held += 1
            table[slot << _ONE | _ONE] = met + _OCCURRENCE
        waiting = 0
    return held


@lean_entry
def _top(
    table: NDArray[np.uint64],
    names: NDArray[np.uint32],
    lengths: NDArray[np.uint32],
    n: int,
    longest: bool,
    most: int,
    most_chars: int,
    first: int,
) -> tuple[int, int, int]:
    """Find the top n-gram of the table and the rounds before, whose figures are the last three; give it likewise."""
    for at in range(1, len(table), 2):
        times: Any = np.int64(table[at] >> _HALF)
        if times < 2 or times < most:
            continue
        place: Any = np.int64(table[at] & _LOW_HALF)
        chars: Any = 0
        for word in range(n):
            chars += np.int64(lengths[names[place + word]])
        earlier = place < first
        better = chars > most_chars or (chars == most_chars and earlier) if longest else earlier
        if times > most or better:
            most, most_chars, first = times, chars, place
    return most, most_chars, first
