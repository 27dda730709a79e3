"""Which of the requests that come have a head that was seen before."""

from infra.http.known_heads import MAX_HEAD_BYTES, MAX_HEADS, KnownHead, KnownHeads

HEAD = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n"


def head(number: int, size: int = 0) -> bytes:
    return b"POST /%d HTTP/1.1\r\nX: %s\r\n\r\n" % (number, b"x" * size)


def test_a_head_is_known_once_it_was_learned_and_only_with_a_body_of_its_length() -> None:
    heads: KnownHeads[str] = KnownHeads()
    assert heads.find(HEAD + b"abc") is None
    heads.learn(HEAD, 3, "three")
    known = heads.find(HEAD + b"xyz")
    assert known is not None
    assert (known.meaning, known.body_in(HEAD + b"xyz")) == ("three", b"xyz")
    others = (HEAD, HEAD + b"ab", HEAD + b"abcd")
    assert [known.body_in(other) for other in others] == [None] * 3
    for other in (b"\r\n" + HEAD + b"abc", HEAD.lower() + b"abc", HEAD[:-1], b""):
        assert heads.find(other) is None
        assert known.body_in(other) is None


def test_the_oldest_heads_are_forgotten_when_there_are_too_many() -> None:
    heads: KnownHeads[int] = KnownHeads()
    for number in range(MAX_HEADS + 1):
        heads.learn(head(number), 0, number)
    assert heads.find(head(0)) is None
    assert heads.find(head(1)) == KnownHead(head(1), 0, 1)
    heads.learn(head(MAX_HEADS), 0, -1)
    assert heads.find(head(1)) == KnownHead(head(1), 0, 1)
    assert heads.find(head(MAX_HEADS)) == KnownHead(head(MAX_HEADS), 0, -1)


def test_a_long_head_is_not_learned() -> None:
    heads: KnownHeads[int] = KnownHeads()
    heads.learn(head(7, MAX_HEAD_BYTES), 0, 7)
    assert heads.find(head(7, MAX_HEAD_BYTES)) is None
