"""What a stored answer looks like when it is used: RFC 9111 sections 4, 4.1 and 5."""

from table import case, deviates, get, says

case("9111 4", "hit-says-age", "an answer from the store has an Age",
     [says("max-age=60")], [get("MISS", lacks=("Age",)), get("HIT", age=(0, 15))])
case("9110 6.6.1", "hit-keeps-date", "Date is when upstream made the answer, not when it was served",
     [says("max-age=600", ("Date", "Tue, 01 Jul 2025 10:00:00 GMT"), ("Expires", "Tue, 01 Jul 2025 10:00:00 GMT"))],
     [get("MISS", has=(("Date", "Tue, 01 Jul 2025 10:00:00 GMT"),))])
case("9110 6.6.1", "date-added", "an answer without a Date gets one when it comes",
     [says("max-age=60", ("Date", None))], [get("MISS"), get("HIT")])
case("9111 5.3", "hit-keeps-expires", "Expires is served as it came",
     [says("max-age=600", ("Expires", "Tue, 01 Jul 2025 10:00:00 GMT"))],
     [get("MISS"), get("HIT", has=(("Expires", "Tue, 01 Jul 2025 10:00:00 GMT"),))])
case("9111 5.2", "hit-keeps-cache-control", "so is Cache-Control, unknown directives and all",
     [says('max-age=60, sunny="a, b"')], [get("MISS"), get("HIT", has=(("Cache-Control", 'max-age=60, sunny="a, b"'),))])
case("9111 5.1", "hit-age-not-upstreams", "one Age, even where upstream's came along",
     [says("max-age=60", ("Age", "7"))], [get("MISS"), get("HIT", age=(7, 22))])
case("9110 7.6.3", "via-up", "Via tells upstream who forwards",
     [says("max-age=60")], [get("MISS", ("Via", "1.0 edge"), sent=(("Via", "1.0 edge, 1.1 refrain"),))])

# Vary.

V = "9111 4.1"
L = "Accept-Language"
en, de = (L, "en"), (L, "de")
case(V, "vary-same", "requests that agree in what Vary names share an entry",
     [says("max-age=60", ("Vary", L))], [get("MISS", en, of=1), get("HIT", en, of=1)])
case(V, "vary-other", "those that differ do not, and keep an entry each",
     [says("max-age=60", ("Vary", L))], [get("MISS", en, of=1), get("MISS", de, of=2), get("HIT", en, of=1), get("HIT", de, of=2)])
case(V, "vary-stored-without", "absent is a value of its own: stored without",
     [says("max-age=60", ("Vary", L))], [get("MISS", of=1), get("MISS", en, of=2), get("HIT", of=1)])
case(V, "vary-asked-without", "and asked without",
     [says("max-age=60", ("Vary", L))], [get("MISS", en, of=1), get("MISS", of=2)])
case(V, "vary-name-case", "names in Vary are compared without regard to case",
     [says("max-age=60", ("Vary", "aCCEPT-lANGUAGE"))], [get("MISS", en, of=1), get("MISS", de, of=2), get("HIT", en, of=1)])
case(V, "vary-unkeyed", "what the key leaves out as noise counts where Vary names it",
     [says("max-age=60", ("Vary", "User-Agent"))],
     [get("MISS", ("User-Agent", "a"), of=1), get("MISS", ("User-Agent", "b"), of=2), get("HIT", ("User-Agent", "a"), of=1)])
case(V, "vary-unkeyed-list", "each name of the list",
     [says("max-age=60", ("Vary", "X-Forwarded-For, User-Agent"))],
     [get("MISS", ("User-Agent", "a"), ("X-Forwarded-For", "10.0.0.1"), of=1),
      get("MISS", ("User-Agent", "a"), ("X-Forwarded-For", "10.0.0.2"), of=2),
      get("MISS", ("User-Agent", "b"), ("X-Forwarded-For", "10.0.0.1"), of=3),
      get("HIT", ("User-Agent", "a"), ("X-Forwarded-For", "10.0.0.1"), of=1)])
case(V, "vary-unkeyed-lines", "on each line",
     [says("max-age=60", ("Vary", "X-Forwarded-For"), ("Vary", "User-Agent"))],
     [get("MISS", ("User-Agent", "a"), of=1), get("MISS", ("User-Agent", "b"), of=2), get("HIT", ("User-Agent", "a"), of=1)])
case(V, "vary-accept-encoding", "Vary: Accept-Encoding parts nothing: codings are Refrain's own affair",
     [says("max-age=60", ("Vary", "Accept-Encoding"))],
     [get("MISS", ("Accept-Encoding", "gzip"), of=1), get("HIT", ("Accept-Encoding", "identity"), of=1)])
for name, value in (("vary-star", "*"), ("vary-star-star", "*, *"), ("vary-star-empty", ", *"), ("vary-star-first", "*, X-A"),
                    ("vary-star-last", "X-A, *")):
    case(V, name, "`*` never matches", [says("max-age=60", ("Vary", value))], [get("MISS", of=1), get("MISS", of=2)])
case(V, "vary-star-line", "on whichever line it stands",
     [says("max-age=60", ("Vary", "X-A"), ("Vary", "*"))], [get("MISS", of=1), get("MISS", of=2)])
case(V, "vary-empty", "an empty Vary names nothing",
     [says("max-age=60", ("Vary", ""))], [get("MISS", of=1), get("HIT", of=1)])
case(V, "vary-changes", "the answer last stored tells what counts",
     [says("max-age=60"), says("max-age=60", ("Vary", "User-Agent"))],
     [get("MISS", ("User-Agent", "a"), of=1), get("MISS", ("User-Agent", "a"), ("Cache-Control", "no-cache"), of=2),
      get("MISS", ("User-Agent", "b"), of=3), get("HIT", ("User-Agent", "a"), of=2)])
case(V, "vary-lines-combined", "a field on two lines equals the same list on one",
     [says("max-age=60", ("Vary", "X-Forwarded-For"))],
     [get("MISS", ("X-Forwarded-For", "1"), ("X-Forwarded-For", "2"), of=1), get("HIT", ("X-Forwarded-For", "1, 2"), of=1)])
case(V, "vary-cookie", "Vary: Cookie parts like any other",
     [says("max-age=60", ("Vary", "Cookie"))],
     [get("MISS", ("Cookie", "a"), of=1), get("MISS", ("Cookie", "b"), of=2), get("HIT", ("Cookie", "a"), of=1)])
case(V, "vary-sent-on", "Vary is served with the answer",
     [says("max-age=60", ("Vary", "X-A"))], [get("MISS"), get("HIT", has=(("Vary", "X-A"),))])
deviates(V, "A cache may normalise request fields (order of a list, white space, case) before it compares them.",
         "Fields are compared as they were sent, once lines of one field are joined: equal bytes are all that is "
         "certain to mean the same.", "vary-not-normalised")
case(V, "vary-not-normalised", "what is written differently differs",
     [says("max-age=60", ("Vary", L))], [get("MISS", (L, "en, de"), of=1), get("MISS", (L, "de, en"), of=2)])
