"""Requests with conditions, answered from what is stored: RFC 9110 sections 8.8 and 13."""

from table import case, get, head, put, says

WHEN = "Tue, 01 Jul 2025 10:00:00 GMT"
LATER = "Wed, 02 Jul 2025 10:00:00 GMT"
EARLIER = "Mon, 30 Jun 2025 10:00:00 GMT"


def tagged(tag):
    return [says("max-age=60", ("ETag", tag))]


def condition(name, why, tag, asked, matches, section="9110 13.1.2"):
    case(section, name, why, tagged(tag),
         [get("MISS", of=1), get("HIT", ("If-None-Match", asked), status=304 if matches else 200, text=b"" if matches else b"answer 1")])


condition("inm-same", "the tag the client has is current", '"a"', '"a"', True)
condition("inm-other", "another is not", '"a"', '"b"', False)
condition("inm-weak-stored", "tags are compared weakly: stored weak", 'W/"a"', '"a"', True)
condition("inm-weak-asked", "asked weak", '"a"', 'W/"a"', True)
condition("inm-weak-both", "both weak", 'W/"a"', 'W/"a"', True)
condition("inm-first", "any of a list: the first", '"a"', '"a", "b", "c"', True)
condition("inm-middle", "one in the middle", '"a"', '"b", "a", "c"', True)
condition("inm-last", "the last, without spaces", '"a"', '"b","c",W/"a"', True)
condition("inm-none-of", "none of it", '"a"', '"b", "c"', False)
condition("inm-empty-elements", "empty elements are passed over", '"a"', ', ,"a",', True)
condition("inm-comma-inside", "a comma may stand inside a tag", '"a,b"', '"x", "a,b"', True)
condition("inm-comma-inside-other", "and parts nothing there", '"b"', '"a,"b",c"', False)
condition("inm-star", "`*` is any", '"a"', "*", True)
condition("inm-star-quoted", "but not as a tag", '"a"', '"*"', False)
condition("inm-unquoted", "what has no quotes is no tag", '"a"', "a", False)
condition("inm-case", "tags are compared by their bytes", '"a"', '"A"', False, "9110 8.8.3.2")
condition("inm-lower-w", "the mark of weakness is a capital W", 'W/"a"', 'w/"a"', False, "9110 8.8.3")
condition("inm-obs-text", "bytes beyond ASCII may stand in a tag", '"\xe4"', '"\xe4"', True, "9110 8.8.3")
condition("inm-empty-tag", "so may none at all", '""', '""', True, "9110 8.8.3")
condition("inm-escape", "nothing is escaped in a tag", '"a\\"', '"a\\"', True, "9110 8.8.3")
condition("inm-longer", "a tag is the whole of it", '"ab"', '"a"', False)
case("9110 13.1.2", "inm-lines", "lines of the field are one list", tagged('"a"'),
     [get("MISS", of=1), get("HIT", ("If-None-Match", '"b"'), ("If-None-Match", '"a"'), status=304)])
case("9110 15.4.5", "304-fields", "a 304 says what the 200 would say of caching",
     [says("max-age=60", ("ETag", '"a"'), ("Content-Location", "/x"), ("Expires", LATER), ("Vary", "X-A"))],
     [get("MISS"), get("HIT", ("If-None-Match", '"a"'), status=304, age=(0, 15),
                       has=(("ETag", '"a"'), ("Content-Location", "/x"), ("Expires", LATER), ("Vary", "X-A"),
                            ("Cache-Control", "max-age=60")))])
case("9110 8.6", "304-length", "a 304 has the length of the 200, or says none",
     tagged('"a"'), [get("MISS"), get("HIT", ("If-None-Match", '"a"'), status=304, text=b"")])
case("9110 15.4.5", "304-head", "HEAD gets the same", tagged('"a"'),
     [get("MISS"), head("HIT", ("If-None-Match", '"a"'), status=304, has=(("ETag", '"a"'),))])


def since(name, why, modified, asked, matches, section="9110 13.1.3"):
    fields = (("Last-Modified", modified),) if modified else (("Date", WHEN), ("Cache-Control", "max-age=999999999"))
    case(section, name, why, [says("max-age=60" if modified else None, *fields)],
         [get("MISS", of=1), get("HIT", ("If-Modified-Since", asked), status=304 if matches else 200,
                                 text=b"" if matches else b"answer 1")])


since("ims-same", "not modified since just then", WHEN, WHEN, True)
since("ims-later", "nor since later", WHEN, LATER, True)
since("ims-earlier", "but since earlier", WHEN, EARLIER, False)
since("ims-bad", "what is no date is no condition", WHEN, "yesterday", False)
since("ims-rfc850", "the obsolete form is a date", WHEN, "Wednesday, 02-Jul-25 10:00:00 GMT", True)
since("ims-asctime", "asctime's as well", WHEN, "Wed Jul  2 10:00:00 2025", True)
since("ims-rfc850-earlier", "and means what it says", WHEN, "Monday, 30-Jun-25 10:00:00 GMT", False)
since("ims-no-last-modified", "without Last-Modified the Date stands for it", None, LATER, True, "9111 4.3.2")
since("ims-no-last-modified-earlier", "in both directions", None, EARLIER, False, "9111 4.3.2")
P = "9110 13.2.2"
BOTH = [says("max-age=60", ("ETag", '"a"'), ("Last-Modified", WHEN))]
case(P, "inm-before-ims", "If-None-Match goes before If-Modified-Since: the tag differs", BOTH,
     [get("MISS"), get("HIT", ("If-None-Match", '"b"'), ("If-Modified-Since", LATER), of=1)])
case(P, "inm-before-ims-same", "the tag is the same", BOTH,
     [get("MISS"), get("HIT", ("If-None-Match", '"a"'), ("If-Modified-Since", EARLIER), status=304)])
case(P, "inm-before-range", "and before Range", BOTH,
     [get("MISS"), get("HIT", ("If-None-Match", '"a"'), ("Range", "bytes=0-1"), status=304)])
for name, value in (("If-Match", '"a"'), ("If-Unmodified-Since", LATER)):
    case("9110 13.1.1" if name == "If-Match" else "9110 13.1.4", f"{name.lower()}-forwarded",
         f"{name} is for the origin to judge", BOTH,
         [get("MISS", of=1), get(None, (name, value), of=2, sent=((name, value),))])
    case("9110 13.1.1" if name == "If-Match" else "9110 13.1.4", f"{name.lower()}-put",
         f"{name} on an unsafe request reaches it as it is", [says(None)],
         [put("BYPASS", (name, value), body=b"x", of=1, sent=((name, value),))])
case("9110 13.2.1", "condition-not-200", "a condition is judged on what would be a 2xx",
     [says("max-age=60", ("ETag", '"a"'), ("Location", "/x"), status=301)],
     [get("MISS", status=301), get("HIT", ("If-None-Match", '"a"'), status=301)])
case("9110 8.8.3", "no-etag-made", "a stored answer without an ETag gets none made up",
     [says("max-age=60")], [get("MISS", lacks=("ETag",)), get("HIT", lacks=("ETag",))])
