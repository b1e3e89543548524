"""Asking upstream whether a stored answer is still good, and what a 304 or a HEAD changes: RFC 9111 sections 3.2, 4.3
and 5.2.2.4, RFC 9110 sections 8.8 and 9.3.2."""

from table import case, date, deviates, get, head, not_stored, says, unchanged

TAG = ("ETag", '"a"')
MODIFIED = ("Last-Modified", "Tue, 01 Jul 2025 10:00:00 GMT")
STALE = says("max-age=60", TAG, ("Age", "90"))  # stale when it comes
OLD = ("Age", "90")

V = "9111 4.3.1"
case(V, "etag-sent", "what is stale is asked for with its ETag, and a 304 makes it an answer again",
     [STALE, unchanged("max-age=60", TAG)],
     [get("MISS", of=1), get("REVALIDATED", of=1, sent=(("If-None-Match", '"a"'),))])
case(V, "last-modified-sent", "or with its Last-Modified",
     [says("max-age=60", MODIFIED, OLD), unchanged("max-age=60")],
     [get("MISS", of=1), get("REVALIDATED", of=1, sent=(("If-Modified-Since", MODIFIED[1]),))])
case(V, "both-sent", "or both", [says("max-age=60", TAG, MODIFIED, OLD), unchanged("max-age=60")],
     [get("MISS", of=1), get("REVALIDATED", of=1, sent=(("If-None-Match", '"a"'), ("If-Modified-Since", MODIFIED[1])))])
case(V, "weak-etag-sent", "a weak ETag is sent as it is",
     [says("max-age=60", ("ETag", 'W/"a"'), OLD), unchanged("max-age=60")],
     [get("MISS", of=1), get("REVALIDATED", of=1, sent=(("If-None-Match", 'W/"a"'),))])
case(V, "no-validator", "without a validator it is asked for in whole",
     [says("max-age=60", OLD)], [get("MISS", of=1), get("MISS", of=2, sent=(("If-None-Match", None), ("If-Modified-Since", None)))])
case(V, "max-age-0-validated", "max-age=0 with a validator is asked about each time",
     [says("max-age=0", TAG), unchanged("max-age=0", TAG)],
     [get("MISS", of=1), get("REVALIDATED", of=1), get("REVALIDATED", of=1, asks=3)])
case("9111 4.2.4", "stale-validated", "an answer that only became stale is asked about just the same",
     [says("max-age=1", TAG), unchanged("max-age=60", TAG)],
     [get("MISS", of=1), get("REVALIDATED", of=1, eventually=True), get("HIT", of=1)])

N = "9111 5.2.2.4"
case(N, "no-cache-validated", "no-cache is stored, and asked about each time",
     [says("no-cache", TAG), unchanged("no-cache", TAG)], [get("MISS", of=1), get("REVALIDATED", of=1), get("REVALIDATED", of=1)])
case(N, "no-cache-fresh", "however fresh it is",
     [says("no-cache, max-age=60", TAG), unchanged(None, TAG)], [get("MISS", of=1), get("REVALIDATED", of=1)])
case(N, "no-cache-case", "in whatever case",
     [says("max-age=60, No-CaChE", TAG), unchanged(None, TAG)], [get("MISS", of=1), get("REVALIDATED", of=1)])
not_stored(N, "no-cache-no-validator", "what could not be asked about is asked for again", "no-cache, max-age=60")
for name in ("no-cache", "private"):
    section = N if name == "no-cache" else "9111 5.2.2.7"
    case(section, f"{name}-field", f"{name} with a name keeps that field out of the store, and the rest in it",
         [says(f'max-age=60, {name}="X-Secret"', ("X-Secret", "1"), ("X-Open", "2"))],
         [get("MISS", has=(("X-Secret", "1"),)), get("HIT", of=1, has=(("X-Open", "2"),), lacks=("X-Secret",))])
    case(section, f"{name}-fields", "each of several names, in whatever case",
         [says(f'{name}="X-Open, x-secret", max-age=60', ("X-Secret", "1"), ("X-Open", "2"), ("X-Else", "3"))],
         [get("MISS"), get("HIT", of=1, has=(("X-Else", "3"),), lacks=("X-Secret", "X-Open"))])
    case(section, f"{name}-field-token", "also where the name came without quotes",
         [says(f"max-age=60, {name}=X-Secret", ("X-Secret", "1"))], [get("MISS"), get("HIT", of=1, lacks=("X-Secret",))])

# What comes back.

R = "9111 4.3.3"
case(R, "replaced", "a whole answer takes the place of the stored one",
     [STALE, says("max-age=60", ("ETag", '"b"'))], [get("MISS", of=1), get("MISS", of=2), get("HIT", of=2, has=(("ETag", '"b"'),))])
case(R, "validation-404", "an answer that is no server's error is passed on",
     [STALE, says(None, status=404)], [get("MISS", of=1), get("MISS", status=404, of=2)])
case("9111 4.3.4", "304-other-strong-etag", "a 304 about another representation does not make this one good",
     [STALE, unchanged("max-age=60", ("ETag", '"b"')), says("max-age=60", ("ETag", '"b"'))],
     [get("MISS", of=1), get(None, of=3, asks=3), get("HIT", of=3)])
case("9111 4.3.4", "304-no-validator", "a 304 that names none is about the one that was asked about",
     [STALE, unchanged("max-age=60")], [get("MISS", of=1), get("REVALIDATED", of=1), get("HIT", of=1)])
case("9111 4.3.4", "304-weak-to-strong", "a weak tag equal but for its W/ is about it, too",
     [STALE, unchanged("max-age=60", ("ETag", 'W/"a"'))], [get("MISS", of=1), get("REVALIDATED", of=1)])

U = "9111 3.2"
case(U, "304-freshens", "a 304 gives a new lifetime",
     [STALE, unchanged("max-age=600", TAG)], [get("MISS", of=1), get("REVALIDATED", of=1), get("HIT", of=1, age=(0, 15))])
case(U, "304-expires", "by Expires as well",
     [says(None, ("Expires", date(-10)), TAG), unchanged(None, ("Expires", date(60)), TAG)],
     [get("MISS", of=1), get("REVALIDATED", of=1), get("HIT", of=1)])
case(U, "304-date-alone", "its Date alone begins the old lifetime anew",
     [STALE, unchanged(None, TAG)], [get("MISS", of=1), get("REVALIDATED", of=1), get("HIT", of=1, age=(0, 15))])
case(U, "304-still-stale", "one that gives no lifetime that is left does not",
     [STALE, unchanged("max-age=0", TAG)], [get("MISS", of=1), get("REVALIDATED", of=1), get("REVALIDATED", of=1)])
case(U, "304-age", "the age is counted from the 304 on, with the Age it has",
     [STALE, unchanged("max-age=600", TAG, ("Age", "20"))], [get("MISS", of=1), get("REVALIDATED", of=1), get("HIT", of=1, age=(20, 35))])
case(U, "304-updates", "fields in the 304 take the place of stored ones, all lines of them",
     [says("max-age=60", TAG, OLD, ("X-New", "1"), ("X-New", "2"), ("X-Old", "1")), unchanged("max-age=60", TAG, ("X-New", "3"))],
     [get("MISS", of=1), get("REVALIDATED", of=1, has=(("X-New", "3"), ("X-Old", "1"))),
      get("HIT", of=1, has=(("X-New", "3"), ("X-Old", "1")))])
case(U, "304-adds", "fields that were not there come in",
     [STALE, unchanged("max-age=60", TAG, ("X-Added", "1"))], [get("MISS"), get("REVALIDATED"), get("HIT", has=(("X-Added", "1"),))])
case(U, "304-omits", "fields it leaves out stay",
     [says("max-age=60", TAG, OLD, ("X-Kept", "1"), ("Content-Language", "en")), unchanged("max-age=60")],
     [get("MISS"), get("REVALIDATED"), get("HIT", has=(("X-Kept", "1"), ("Content-Language", "en"), TAG))])
case(U, "304-content-length", "what describes the message itself stays: Content-Length",
     [STALE, unchanged("max-age=60", TAG, ("Content-Length", "8"))],
     [get("MISS"), get("REVALIDATED", of=1), get("HIT", of=1, has=(("Content-Length", "8"),))])
case(U, "304-content-encoding", "Content-Encoding",
     [STALE, unchanged("max-age=60", TAG, ("Content-Encoding", "gzip"))],
     [get("MISS"), get("REVALIDATED", of=1), get("HIT", of=1, lacks=("Content-Encoding",))])
case(U, "304-content-type", "Content-Type",
     [STALE, unchanged("max-age=60", TAG, ("Content-Type", "text/html"))],
     [get("MISS"), get("REVALIDATED", of=1), get("HIT", of=1, has=(("Content-Type", "text/plain"),))])
case(U, "304-content-range", "and Content-Range",
     [STALE, unchanged("max-age=60", TAG, ("Content-Range", "bytes 0-1/8"))],
     [get("MISS"), get("REVALIDATED", of=1), get("HIT", of=1, lacks=("Content-Range",))])
case(U, "304-hop", "fields of one connection are not stored from a 304 either",
     [STALE, unchanged("max-age=60", TAG, ("Connection", "X-Hop"), ("X-Hop", "1"))],
     [get("MISS"), get("REVALIDATED", lacks=("X-Hop",)), get("HIT", lacks=("X-Hop",))])
case(U, "304-set-cookie", "nor is a cookie",
     [STALE, unchanged("max-age=60", TAG, ("Set-Cookie", "id=a"))], [get("MISS"), get("REVALIDATED"), get(None, lacks=("Set-Cookie",))])
case(U, "304-not-for-others", "nobody else's condition brings a 304 to who asked for the whole",
     [STALE, unchanged("max-age=60", TAG)],
     [get("MISS"), get("REVALIDATED", ("If-None-Match", '"a"'), status=304), get("HIT", of=1)])
deviates("9111 3.2", "Content-Type is among the fields that a 304 may update.",
         "It stays as stored with Content-Encoding, Content-Length and Content-Range: the stored bytes were judged under it.",
         "304-content-type", decision="0014-http-where-we-differ.md")

# Clients with conditions of their own, on what is stale (4.3.2).

C = "9111 4.3.2"
case(C, "client-condition-same", "a client that holds what upstream confirms gets a 304",
     [STALE, unchanged("max-age=60", TAG)], [get("MISS", of=1), get("REVALIDATED", ("If-None-Match", '"a"'), status=304)])
case(C, "client-condition-other", "one that holds something else gets the whole",
     [STALE, unchanged("max-age=60", TAG)], [get("MISS", of=1), get("REVALIDATED", ("If-None-Match", '"z"'), of=1)])
case(C, "client-condition-new", "what upstream sends instead is stored, and judged by the client's condition",
     [STALE, says("max-age=60", ("ETag", '"b"'))],
     [get("MISS", of=1), get("MISS", ("If-None-Match", '"b"'), status=304, text=b""), get("HIT", of=2)])
case(C, "client-condition-miss", "without anything stored the whole is fetched, stored, and judged so as well",
     [says("max-age=60", TAG)], [get("MISS", ("If-None-Match", '"a"'), status=304, text=b""), get("HIT", of=1)])
case(C, "client-condition-miss-other", "and sent, where the client holds something else",
     [says("max-age=60", TAG)], [get("MISS", ("If-None-Match", '"z"'), of=1), get("HIT", of=1)])

# HEAD.

H = "9110 9.3.2"
case(H, "head-hit", "a stored GET answers HEAD, without its body but with its length",
     [says("max-age=60", TAG)], [get("MISS"), head("HIT", has=(("Content-Length", "8"), TAG), age=(0, 15))])
case(H, "head-miss", "HEAD alone stores nothing for GET",
     [says("max-age=60")], [head("MISS"), get("MISS", of=2)])
case(H, "head-condition", "HEAD with a condition gets its 304",
     [says("max-age=60", TAG)], [get("MISS"), head("HIT", ("If-None-Match", '"a"'), status=304)])
F = "9111 4.3.5"
case(F, "head-freshens", "an answer to HEAD that agrees with the stored GET makes it fresh",
     [says("max-age=60", TAG, OLD, ("X-New", "1")), says("max-age=60", TAG, ("X-New", "2"), ("Content-Length", "8"), body=b""),
      says("max-age=60", TAG)],
     [get("MISS", of=1), head("MISS"), get("HIT", of=1, has=(("X-New", "2"),), age=(0, 15))])
case(F, "head-other-etag", "one with another ETag says that the stored one is over",
     [says("max-age=600", TAG, ("Age", "100")), says("max-age=60", ("ETag", '"b"'), ("Content-Length", "8"), body=b""),
      says("max-age=60", ("ETag", '"b"'))],
     [get("MISS", of=1), head("MISS", ("Cache-Control", "max-age=50")), get("MISS", of=3)])
case(F, "head-other-length", "so does another length",
     [says("max-age=600", ("Age", "100")), says("max-age=60", ("Content-Length", "9"), body=b""), says("max-age=60")],
     [get("MISS", of=1), head("MISS", ("Cache-Control", "max-age=50")), get("MISS", of=3)])
case(F, "head-error", "one that is an error says nothing of it",
     [says("max-age=600", ("Age", "100")), says("max-age=60", status=404, body=b"")],
     [get("MISS", of=1), head("MISS", ("Cache-Control", "max-age=50"), status=404), get("HIT", of=1)])
