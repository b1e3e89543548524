"""Messages on their way through: RFC 9110 sections 6, 7, 9, 10, 12 and 15."""

import gzip

from table import asking, case, deviates, get, head, options, post, says

trace = asking("TRACE")

# 1xx, trailers, framing.

I = "9110 15.2"
for status in (102, 103):
    case(I, f"interim-{status}", f"a {status} on the way does not disturb: the final answer is stored",
         [says("max-age=60", interim=((status, (("Link", "</early>"), ("X-Early", "1"))),))],
         [get("MISS", of=1, lacks=("X-Early",)), get("HIT", of=1, lacks=("X-Early", "Link"))])
case(I, "interim-lifetime", "nothing an interim answer says counts for the final one",
     [says(None, interim=((103, (("Cache-Control", "max-age=60"),)),))], [get("MISS", of=1), get("MISS", of=2)])
deviates(I, "A proxy must forward 1xx answers.", "Only 100 (Continue) is; the HTTP library cannot send others.",
         "interim-103", decision="0005-front.md")
case("9110 6.5.1", "trailers-not-merged", "trailer fields are not merged into the head",
     [says("max-age=60", ("Trailer", "X-Sum"), manner="chunked", trailers=(("X-Sum", "1"), ("Cache-Control", "no-store")))],
     [get("MISS", of=1, lacks=("X-Sum",)), get("HIT", of=1, lacks=("X-Sum",))])
case("9110 15.3.5", "204-stored", "a 204 ends with its head, from the store as well",
     [says("max-age=60", status=204, manner="bodiless")], [get("MISS", status=204, text=b""), get("HIT", status=204, text=b"")])
case("9110 8.6", "204-no-length", "and has no Content-Length",
     [says("max-age=60", status=204, manner="bodiless")], [get("MISS", status=204, lacks=("Content-Length",))])
case("9110 6.6.1", "date-kept", "a Date that came is passed on as it is",
     [says(None, ("Date", "Tue, 01 Jul 2025 10:00:00 GMT"))], [get("MISS", has=(("Date", "Tue, 01 Jul 2025 10:00:00 GMT"),))])
case("9110 6.6.1", "date-made", "one is made where none came, not where the answer goes past the cache only",
     [says("no-store", ("Date", None))], [get("MISS")])

# Fields of the hop, Via, Max-Forwards.

H = "9110 7.6.1"
case(H, "request-connection-listed", "what Connection lists stays here",
     [says(None)], [get("MISS", ("Connection", "From, close"), ("From", "a@b.example"), ("X-End", "2"),
                        sent=(("From", None), ("X-End", "2"), ("Connection", None)))])
case(H, "connection-cannot-strip", "but what counts in the key: it would be keyed, and not sent",
     [says("max-age=60")], [get("MISS", ("Connection", "X-Tenant"), ("X-Tenant", "a"), of=1, sent=(("X-Tenant", "a"),))])
deviates(H, "Every field that Connection lists must be taken out before a message is forwarded.",
         "Not those that are part of the key, credentials among them: a client could otherwise have one request answered "
         "and stored under the key of another.", "connection-cannot-strip", "connection-cannot-strip-cookie")
for name, value in (("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"), ("Proxy-Authorization", "Basic x"),
                    ("TE", "trailers"), ("Trailer", "X-Sum")):
    case(H, f"request-hop-{name.lower()}", f"{name} of a request is about this connection",
         [says(None)], [get("MISS", (name, value), sent=((name, None),))])
case(H, "connection-cannot-strip-cookie", "what tells callers apart cannot be listed away",
     [says("max-age=60")], [get("MISS", ("Connection", "Cookie"), ("Cookie", "id=a"), of=1, sent=(("Cookie", "id=a"),))])
V = "9110 7.6.3"
case(V, "via-alone", "Via is added", [says(None)], [get("MISS", sent=(("Via", "1.1 refrain"),))])
case(V, "via-kept", "behind what came", [says(None)], [get("MISS", ("Via", "1.0 a, 1.1 b"), sent=(("Via", "1.0 a, 1.1 b, 1.1 refrain"),))])
M = "9110 7.6.2"
case(M, "max-forwards-less", "Max-Forwards of OPTIONS counts down",
     [says(None)], [options("BYPASS", ("Max-Forwards", "5"), of=1, sent=(("Max-Forwards", "4"),))])
case(M, "max-forwards-0", "at 0 the request ends here",
     [says(None)], [options("BYPASS", ("Max-Forwards", "0"), asks=0, has=(("Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"),))])
case(M, "max-forwards-get", "on other methods it means nothing",
     [says(None)], [get("MISS", ("Max-Forwards", "0"), of=1)])

# Methods.

case("9110 9.3.8", "trace", "TRACE is refused: it would show credentials",
     [says(None)], [trace(None, status=405, asks=0, has=(("Allow", {"GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"}),))])
case("9110 9.3.7", "options-passes", "OPTIONS passes, and is not stored",
     [says("max-age=60", ("Allow", "GET"))], [options("BYPASS", of=1, has=(("Allow", "GET"),)), options("BYPASS", of=2)])
case("9110 9.3.3", "post-passes", "so does POST where no operation claims the path",
     [says("max-age=60")], [post("BYPASS", body=b"x", of=1), post("BYPASS", body=b"x", of=2)])
case("9110 10.1.1", "expect-100", "Expect: 100-continue is answered, and does not part the key",
     [says(None)], [post("BYPASS", ("Expect", "100-continue"), body=b"x", of=1)])
case("9110 10.1.1", "expect-unknown", "any other expectation is refused",
     [says(None)], [post(None, ("Expect", "wonders"), body=b"x", status=417, asks=0)])

# Codings.

Z = gzip.compress(b"answer 1", mtime=0)
CODED = says("max-age=60", ("Content-Encoding", "gzip"), ("ETag", '"a"'), body=Z)
E = "9110 12.5.3"
GZ = ("Accept-Encoding", "gzip")
case(E, "gzip-kept", "who takes gzip gets it as it was stored",
     [CODED], [get("MISS", GZ, text=Z), get("HIT", GZ, text=Z, has=(("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")))])
case(E, "gzip-decoded", "who does not gets it decoded",
     [CODED], [get("MISS", GZ, text=Z), get("HIT", ("Accept-Encoding", "identity"), of=1, lacks=("Content-Encoding",),
                                            has=(("Vary", "Accept-Encoding"),))])
case(E, "gzip-no-field", "so does who says nothing",
     [CODED], [get("MISS", GZ, text=Z), get("HIT", of=1, lacks=("Content-Encoding",))])
case(E, "gzip-weight-0", "a weight of 0 means not at all",
     [CODED], [get("MISS", GZ, text=Z), get("HIT", ("Accept-Encoding", "br, gzip;q=0"), of=1, lacks=("Content-Encoding",))])
case(E, "gzip-star", "`*` means anything",
     [CODED], [get("MISS", GZ, text=Z), get("HIT", ("Accept-Encoding", "*"), text=Z)])
case(E, "gzip-star-but", "but what is excluded by name",
     [CODED], [get("MISS", GZ, text=Z), get("HIT", ("Accept-Encoding", "gzip;q=0, *"), of=1)])
case("9110 8.8.3.3", "gzip-other-tag", "decoded bytes do not go under the strong tag of the coded ones",
     [CODED], [get("MISS", GZ, has=(("ETag", '"a"'),)), get("HIT", GZ, has=(("ETag", '"a"'),)),
               get("HIT", ("Accept-Encoding", "identity"), of=1, has=(("ETag", 'W/"a"'),))])
case("9110 8.8.3.3", "gzip-other-tag-miss", "nor on the way through",
     [CODED], [get("MISS", of=1, has=(("ETag", 'W/"a"'),))])
case("9110 13.1.2", "gzip-tag-matches", "either will do for If-None-Match",
     [CODED], [get("MISS", GZ), get("HIT", ("If-None-Match", 'W/"a"'), status=304), get("HIT", ("If-None-Match", '"a"'), status=304)])
case("9110 12.5.5", "vary-joined", "Vary of upstream's and our own are both there",
     [says("max-age=60", ("Content-Encoding", "gzip"), ("Vary", "X-A"), body=Z)],
     [get("MISS", GZ), get("HIT", GZ, has=(("Vary", "X-A, Accept-Encoding"),))])
case("9110 8.4", "other-coding", "a coding that Refrain does not know is stored and served as it is",
     [says("max-age=60", ("Content-Encoding", "br"))], [get("MISS", of=1), get("HIT", of=1, has=(("Content-Encoding", "br"),))])
case("9110 12.5.3", "head-decoded", "HEAD says of the length what holds for the one who asks, or nothing",
     [CODED], [get("MISS", GZ, text=Z), head("HIT", GZ, has=(("Content-Length", str(len(Z))), ("Content-Encoding", "gzip")))])
