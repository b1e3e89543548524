"""Parts of a stored whole: RFC 9110 section 14, RFC 9111 section 3.3."""

from table import case, deviates, get, head, says

TEN = b"0123456789"
WHEN = "Tue, 01 Jul 2025 10:00:00 GMT"
STORED = [says("max-age=60", ("ETag", '"a"'), ("Last-Modified", WHEN), body=TEN)]


def part(name, why, asked, content, content_range, section="9110 14.1.2"):
    case(section, name, why, STORED,
         [get("MISS", text=TEN), get("HIT", ("Range", asked), status=206, text=content, age=(0, 15),
                                     has=(("Content-Range", content_range), ("Content-Length", str(len(content))),
                                          ("ETag", '"a"')))])


def whole(name, why, asked, section="9110 14.2", extra=()):
    case(section, name, why, STORED,
         [get("MISS", text=TEN), get("HIT", ("Range", asked), *extra, text=TEN, lacks=("Content-Range",))])


def none(name, why, asked, section="9110 15.5.17"):
    case(section, name, why, STORED,
         [get("MISS", text=TEN), get("HIT", ("Range", asked), status=416, has=(("Content-Range", "bytes */10"),))])


part("range", "a part in the middle", "bytes=2-4", b"234", "bytes 2-4/10")
part("range-first", "the first byte", "bytes=0-0", b"0", "bytes 0-0/10")
part("range-all", "all of it is a part, too", "bytes=0-9", TEN, "bytes 0-9/10")
part("range-open", "from here to the end", "bytes=7-", b"789", "bytes 7-9/10")
part("range-suffix", "the last few", "bytes=-3", b"789", "bytes 7-9/10")
part("range-suffix-long", "more than there are: all", "bytes=-100", TEN, "bytes 0-9/10")
part("range-past-end", "an end past the end is the end", "bytes=8-100", b"89", "bytes 8-9/10")
part("range-huge-end", "however far past", "bytes=8-99999999999999999999999", b"89", "bytes 8-9/10")
part("range-unit-case", "units are compared without regard to case", "BYTES=2-4", b"234", "bytes 2-4/10", "9110 14.1")
part("range-leading-zeros", "leading zeros are digits", "bytes=002-004", b"234", "bytes 2-4/10")
none("range-past", "a part that begins past the end is none", "bytes=10-")
none("range-far-past", "however far", "bytes=99999999999999999999999-")
none("range-suffix-0", "nor is a suffix of nothing", "bytes=-0")
whole("range-other-unit", "a unit that nobody knows is ignored", "lines=1-2")
whole("range-backwards", "so is a range that ends before it begins", "bytes=4-2", "9110 14.1.1")
whole("range-no-numbers", "and one of letters", "bytes=a-b", "9110 14.1.1")
whole("range-empty", "and one of nothing", "bytes=-", "9110 14.1.1")
whole("range-no-set", "and a unit alone", "bytes", "9110 14.1.1")
whole("range-negative", "and a number below nothing", "bytes=--3", "9110 14.1.1")
case("9110 14.2", "range-head", "Range means nothing on HEAD", STORED,
     [get("MISS"), head("HIT", ("Range", "bytes=2-4"), has=(("Content-Length", "10"),), lacks=("Content-Range",))])
case("9110 14.2", "range-not-200", "nor on what is no 200", [says("max-age=60", ("Location", "/x"), status=301, body=TEN)],
     [get("MISS", status=301), get("HIT", ("Range", "bytes=2-4"), status=301, text=TEN)])
case("9110 14.2", "range-multiple", "several ranges are upstream's to answer",
     [STORED[0], says(None, ("Content-Type", "multipart/byteranges; boundary=x"), status=206, body=b"--x--")],
     [get("MISS", text=TEN), get(None, ("Range", "bytes=0-1,4-5"), status=206, text=b"--x--", asks=2,
                                 sent=(("Range", "bytes=0-1,4-5"),))])
case("9111 3.3", "range-miss", "without a stored whole upstream answers, and its part is not stored",
     [says("max-age=60", ("Content-Range", "bytes 2-4/10"), status=206, body=b"234"), STORED[0]],
     [get(None, ("Range", "bytes=2-4"), status=206, text=b"234", sent=(("Range", "bytes=2-4"),)), get("MISS", text=TEN),
      get("HIT", ("Range", "bytes=2-4"), status=206, text=b"234")])
case("9111 3.3", "range-miss-206-never-whole", "nor is it ever taken for the whole",
     [says("max-age=60", ("Content-Range", "bytes 0-2/3"), status=206, body=b"012"), says("max-age=60")],
     [get(None, ("Range", "bytes=0-"), status=206, text=b"012"), get("MISS", of=2)])


def if_range(name, why, validator, matches, answer=STORED):
    wanted = {"status": 206, "text": b"234"} if matches else {"text": TEN, "lacks": ("Content-Range",)}
    case("9110 13.1.5", name, why, answer,
         [get("MISS", text=TEN), get("HIT", ("Range", "bytes=2-4"), ("If-Range", validator), **wanted)])


WEAK = [says("max-age=60", ("ETag", 'W/"a"'), body=TEN)]
if_range("if-range-same", "the part, if it is still the same whole", '"a"', True)
if_range("if-range-other", "else the whole", '"b"', False)
if_range("if-range-weak", "a weak tag never will do", 'W/"a"', False)
if_range("if-range-weak-stored", "nor one that is stored weak", 'W/"a"', False, WEAK)
if_range("if-range-weak-to-strong", "even asked for as if it were strong", '"a"', False, WEAK)
if_range("if-range-date", "a date that is just that of Last-Modified will", WHEN, True)
if_range("if-range-date-later", "no other", "Wed, 02 Jul 2025 10:00:00 GMT", False)
if_range("if-range-bad", "nor what is neither", "soon", False)
if_range("if-range-date-weak", "nor one less than a second before the Date, when it may have changed twice",
         WHEN, False, [says("max-age=999999999", ("Last-Modified", WHEN), ("Date", WHEN), body=TEN)])
if_range("if-range-no-validator", "nor any where nothing is stored to compare", '"a"', False,
         [says("max-age=60", body=TEN)])
case("9110 13.1.5", "if-range-alone", "If-Range without Range means nothing", STORED,
     [get("MISS"), get("HIT", ("If-Range", '"b"'), text=TEN)])
deviates("9110 14.2", "Several ranges may be answered from a stored whole as multipart/byteranges.",
         "Upstream is asked: no client of LLM APIs sends them, and they are known for amplifying requests.", "range-multiple")
