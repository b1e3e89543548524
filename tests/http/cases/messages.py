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
         "interim-103", decision="0005-front-beyond-libmicrohttpd.md")
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
         "and stored under the key of another.", "connection-cannot-strip", "connection-cannot-strip-cookie",
         decision="0014-http-where-we-differ.md")
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

N = "9110 7.7"
NO = ("Cache-Control", "no-transform")
case(N, "no-transform-hit", "who says no-transform is not given what would have to be decoded: it goes to upstream as it came",
     [CODED, says(None)], [get("MISS", GZ, text=Z), get("BYPASS", NO, of=2, sent=(("Accept-Encoding", None),)),
                           get("HIT", GZ, text=Z)])
case(N, "no-transform-hit-gzip", "but what is stored as it takes it",
     [CODED], [get("MISS", GZ, text=Z), get("HIT", NO, GZ, text=Z)])
case(N, "no-transform-miss", "where nothing is stored upstream is asked for no coding, and the answer is for everyone",
     [says("max-age=60")], [get("MISS", NO, of=1, sent=(("Accept-Encoding", "identity"),)), get("HIT", GZ, of=1)])
case(N, "no-transform-answer", "an answer with no-transform is decoded for who takes no gzip",
     [says("max-age=60, no-transform", ("Content-Encoding", "gzip"), body=Z)],
     [get("MISS", GZ, text=Z), get("HIT", of=1, lacks=("Content-Encoding",))])
deviates(N, "The content of an answer with no-transform must not be transformed.",
         "Its gzip coding is undone for a client that takes none: it was Refrain that asked for gzip, and what the client "
         "gets is what it would have got by itself.", "no-transform-answer", decision="0014-http-where-we-differ.md")

R = "9110 15.4"
case(R, "redirect-not-followed", "a redirection is the client's to follow",
     [says(None, ("Location", "{base}else"), status=302)], [get("MISS", of=1, status=302, has=(("Location", "{base}else"),), asks=1)])
F = "9110 5.5"
case(F, "value-bytes", "bytes beyond ASCII in a field value pass, from the store as well",
     [says("max-age=60", ("X-Any", "gr\xfc\xdfe"))], [get("MISS", has=(("X-Any", "gr\xfc\xdfe"),)), get("HIT", has=(("X-Any", "gr\xfc\xdfe"),))])
case("9110 5.3", "lines-in-order", "lines of one field keep their order",
     [says("max-age=60", ("Link", "</a>"), ("X-Any", "1"), ("Link", "</b>"))],
     [get("MISS", has=(("Link", "</a>, </b>"),)), get("HIT", has=(("Link", "</a>, </b>"),))])
case("9110 7.2", "host", "Host is upstream's own",
     [says(None)], [get("MISS", sent=(("Host", "{there_host}"),))])
case("9110 7.8", "upgrade", "Upgrade is about this connection",
     [says(None)], [get("MISS", ("Connection", "upgrade"), ("Upgrade", "h2c"), sent=(("Upgrade", None), ("Connection", None)))])
case("9110 8.6", "length-stored", "what is stored is served with its length, chunks or not",
     [says("max-age=60", manner="chunked")], [get("MISS"), get("HIT", has=(("Content-Length", "8"),), lacks=("Transfer-Encoding",))])
