"""Server-sent events come out the same however their bytes were cut, in linear time and within a limit."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.dialects.sse import EventTooLargeError, Splitter

LIMIT = 1 << 20


def split(*pieces: bytes, limit: int = LIMIT) -> list[bytes]:
    splitter = Splitter(limit)
    return [data for piece in pieces for data in splitter.feed(piece)] + splitter.end()


def read(stream: bytes) -> list[bytes]:
    """The standard, written down line by line: what the splitter must agree with."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events: list[bytes] = []
    data: list[bytes] = []
    for line in [*text.split(b"\n"), b""]:
        name, colon, value = line.partition(b":")
        if not line:
            events += [b"\n".join(data)] if b"\n".join(data) else []
            data = []
        elif name == b"data":
            data.append(value.removeprefix(b" ") if colon else b"")
    return events


# ------------------------------------------------- the standard's examples


def test_two_events_with_lf():
    assert split(b"data: a\n\ndata: b\n\n") == [b"a", b"b"]


def test_events_with_crlf():
    assert split(b"data: a\r\n\r\ndata: b\r\n\r\n") == [b"a", b"b"]


def test_events_with_cr_alone():
    assert split(b"data: a\r\rdata: b\r\r") == [b"a", b"b"]


def test_a_crlf_may_be_cut_between_its_two_bytes():
    assert split(b"data: a\r", b"\n\r", b"\ndata: b\r", b"\n", b"\r\n") == [b"a", b"b"]


def test_a_cr_ends_the_event_at_once_even_if_its_lf_never_comes():
    splitter = Splitter(LIMIT)
    assert splitter.feed(b"data: a\r\n\r") == [b"a"]
    assert splitter.feed(b"\ndata: b\r\n\r\n") == [b"b"]


def test_several_data_lines_are_joined_by_lf():
    assert split(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [b"YHOO\n+2\n10"]


def test_the_space_after_the_colon_is_optional_and_only_one_is_taken():
    assert split(b"data:a\n\ndata: a\n\ndata:  a\n\n") == [b"a", b"a", b" a"]


def test_comments_and_other_fields_are_skipped():
    stream = b": OPENROUTER PROCESSING\n\nevent: message_start\nid: 7\nretry: 9\ndata: x\nodd\n\n: keep-alive\n\n"
    assert split(stream) == [b"x"]


def test_a_field_whose_name_only_begins_with_data_is_another_field():
    assert split(b"database: x\ndata: y\n\n") == [b"y"]


def test_a_data_line_without_a_colon_is_an_empty_line():
    assert split(b"data: a\ndata\ndata: b\n\n") == [b"a\n\nb"]


def test_events_without_data_are_not_handed_on():
    assert split(b"event: ping\n\ndata:\n\ndata: \n\n") == []


def test_more_blank_lines_than_needed_change_nothing():
    assert split(b"\n\n\n\ndata: a\n\n\n", b"\n\n\ndata: b\n\n\n\n") == [b"a", b"b"]


def test_a_byte_order_mark_is_ignored_at_the_start_only():
    assert split(b"\xef", b"\xbb", b"\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n") == [b"a"]


def test_half_a_byte_order_mark_is_no_mark():
    assert split(b"\xef\xbb", b"data: a\n\n") == []
    assert split(b"\xef") == []


def test_utf8_may_be_cut_inside_a_character():
    euro = "€".encode()
    assert split(b"data: " + euro[:1], euro[1:2], euro[2:] + b"\n\n") == [euro]


def test_a_last_event_without_its_blank_line_is_given_at_the_end():
    assert split(b"data: a\n\ndata: [DONE]") == [b"a", b"[DONE]"]
    assert split(b"data: a\n\ndata: [DONE]\n") == [b"a", b"[DONE]"]
    assert split(b'data: a\n\ndata: {"b":1}') == [b"a", b'{"b":1}']
    assert split(b"data: a\n\ndata: b\r") == [b"a", b"b"]


def test_a_last_event_that_broke_off_in_its_line_is_not_given():
    assert split(b'data: a\n\ndata: {"b":') == [b"a"]


def test_an_event_is_given_as_soon_as_it_is_whole():
    splitter = Splitter(LIMIT)
    assert splitter.feed(b"data: a\n") == []
    assert splitter.feed(b"\n") == [b"a"]
    assert splitter.feed(b"data: b\n\ndata: c") == [b"b"]
    assert splitter.feed(b"\n\n") == [b"c"]


# ---------------------------------------------------------------- the limit


def test_an_event_of_exactly_the_limit_passes():
    event = b"data: " + b"x" * 94
    assert split(event + b"\n\n", limit=100) == [b"x" * 94]
    assert split(event, b"\n", b"\n", limit=100) == [b"x" * 94]


def test_an_event_beyond_the_limit_is_refused_before_it_is_whole():
    splitter = Splitter(100)
    splitter.feed(b"data: " + b"x" * 94)
    with pytest.raises(EventTooLargeError, match="100 bytes"):
        splitter.feed(b"x")


def test_what_came_before_a_too_large_event_is_not_lost():
    splitter = Splitter(10)
    assert splitter.feed(b"data: a\n\ndata: " + b"x" * 99 + b"\n\ndata: b\n\n") == [b"a"]
    with pytest.raises(EventTooLargeError):
        splitter.feed(b"data: c\n\n")
    with pytest.raises(EventTooLargeError):
        splitter.end()


def test_blank_lines_do_not_count_towards_the_limit():
    stream = b"\ndata: a\n\n\ndata: xxxx\n\n\n\ndata: yyyy\n\n\n"
    for first in range(len(stream)):
        for second in range(first, len(stream)):
            pieces = (stream[:first], stream[first:second], stream[second:])
            assert split(*pieces, limit=10) == [b"a", b"xxxx", b"yyyy"]


# --------------------------------------------------------------- properties

LINES = st.lists(
    st.one_of(
        st.binary(max_size=12).filter(lambda b: not set(b) & {10, 13}),
        st.sampled_from([b"data: x", b"data:y", b"data:  z", b"data", b"data:", b": ping", b"event: e", b"", b"", b""]),
    ),
    max_size=20,
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream with any line ends, and the same bytes cut anywhere."""
    ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
    stream = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + b"".join(line + draw(ends) for line in draw(LINES))
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    return stream, pieces


@given(streams())
def test_what_comes_out_is_what_the_standard_says_however_the_bytes_were_cut(case: tuple[bytes, list[bytes]]):
    stream, pieces = case
    assert split(*pieces) == split(stream) == split(*(stream[i : i + 1] for i in range(len(stream)))) == read(stream)


def until_refused(pieces: list[bytes], limit: int) -> tuple[list[bytes], bool]:
    splitter = Splitter(limit)
    found: list[bytes] = []
    try:
        for piece in pieces:
            found += splitter.feed(piece)
        found += splitter.end()
    except EventTooLargeError:
        return found, True
    return found, False


@given(streams(), st.integers(1, 20))
def test_the_limit_strikes_at_the_same_event_however_the_bytes_were_cut(case: tuple[bytes, list[bytes]], limit: int):
    stream, pieces = case
    assert until_refused(pieces, limit) == until_refused([stream], limit)


def test_the_work_is_linear_in_the_size_of_an_event():
    """Counted in bytecode lines, not in seconds: four times the pieces take four times the steps."""

    def steps(size: int) -> int:
        pieces = [b"data: ", *([b"x" * 1000] * size), b"\n\n"]
        count = 0

        def trace(*_: object) -> object:
            nonlocal count
            count += 1
            return trace

        sys.settrace(trace)  # type: ignore[arg-type]  # a trace function returns itself
        try:
            split(*pieces, limit=1 << 30)
        finally:
            sys.settrace(None)
        return count

    assert steps(400) < 4.2 * steps(100)


def test_pieces_of_an_unfinished_event_are_joined_once():
    """No piece is copied again for each piece that follows it: they are kept as they came."""
    splitter = Splitter(LIMIT)
    piece = b"x" * 1000
    for _ in range(50):
        splitter.feed(piece)
    assert all(kept is piece for kept in splitter._pieces)
