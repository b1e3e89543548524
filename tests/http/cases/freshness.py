"""How long an answer is fresh: RFC 9111 sections 4.2.1, 5.2.2.1, 5.2.2.10 and 5.3. An answer that is stale when it
comes is one that must not be used again, which needs no waiting."""

from table import case, date, get, not_stored, says, stored

S = "9111 4.2.1"

# Directives.

stored("9111 5.2.2.1", "max-age", "within max-age an answer is used again", "max-age=60")
not_stored(S, "nothing-said", "without a word about freshness nothing is used again; heuristics are off", None)
not_stored("9111 5.2.2.1", "max-age-0", "max-age=0 is stale at once", "max-age=0")
case("9111 5.2.2.1", "max-age-passes", "when the time has passed upstream is asked again",
     [says("max-age=1")], [get("MISS", of=1), get("MISS", of=2, eventually=True)])
stored("9111 5.2.2.10", "s-maxage", "s-maxage alone makes an answer usable for a shared cache", "s-maxage=60")
stored("9111 5.2.2.10", "s-maxage-over-max-age", "a shared cache goes by s-maxage, whatever max-age says",
       "max-age=0, s-maxage=60")
stored("9111 5.2.2.10", "s-maxage-first", "the order of the two does not matter", "s-maxage=60, max-age=0")
not_stored("9111 5.2.2.10", "s-maxage-0-over-max-age", "s-maxage=0 overrides a long max-age", "max-age=60, s-maxage=0")
not_stored("9111 5.2.2.10", "s-maxage-0-line", "s-maxage on a line of its own counts the same",
           "max-age=60", ("Cache-Control", "s-maxage=0"))
stored("9111 5.2.2.10", "s-maxage-over-expires", "s-maxage overrides Expires", "s-maxage=60", ("Expires", date(-60)))

# Values.

stored("9111 1.2.2", "max-age-2-31-less-1", "the largest value that fits 32 bits", "max-age=2147483647")
stored("9111 1.2.2", "max-age-2-31", "what does not fit counts as 2^31", "max-age=2147483648")
stored("9111 1.2.2", "max-age-huge", "however large it is", "max-age=99999999999999999999999999")
stored("9111 1.2.2", "max-age-leading-zeros", "leading zeros are digits like others", "max-age=0003600")
stored("9111 5.2", "max-age-case", "directives are compared without regard to case", "MaX-aGe=60")
stored("9111 5.2", "max-age-quoted", "either form of argument is to be accepted", 'max-age="60"')
not_stored("9111 5.2", "max-age-quoted-0", "and means the same", 'max-age="0"')
not_stored(S, "max-age-negative", "a value that is no delta-seconds makes the answer stale", "max-age=-60")
not_stored(S, "max-age-word", "so does a word", "max-age=soon")
not_stored(S, "max-age-decimal", "so does a fraction", "max-age=60.5")
not_stored(S, "max-age-decimal-zero", "even one that is none", "max-age=60.0")
not_stored(S, "max-age-letters-behind", "so do letters behind the digits", "max-age=60s")
not_stored(S, "max-age-letters-before", "and before them", "max-age=a60")
not_stored(S, "max-age-single-quotes", "single quotes are no quotes", "max-age='60'")
not_stored(S, "max-age-empty", "so does an empty value", "max-age=")
not_stored(S, "max-age-bare", "and none at all", "max-age")
not_stored(S, "max-age-quote-open", "and a quote that is never closed", 'max-age="60')
not_stored(S, "max-age-plus", "a sign is no digit", "max-age=+60")
not_stored(S, "max-age-hex", "nor is a hexadecimal one", "max-age=0x60")

# Lists.

stored("9111 5.2", "unknown-directive", "unknown directives are ignored", "max-age=60, sunny=true")
stored("9111 5.2", "unknown-directive-quoted", "also with an argument in quotes", 'sunny="a, b", max-age=60')
stored("9111 5.2", "unknown-holds-no-store", "a word inside a quoted argument is no directive",
       'sunny="no-store, private", max-age=60')
not_stored("9111 5.2", "max-age-in-quotes", "nor does a max-age inside one make anything fresh",
           'sunny="max-age=60"')
not_stored("9111 5.2", "quotes-before-real", "the real one counts, if a quoted one stands before it",
           'sunny="max-age=60", max-age=0')
not_stored("9111 5.2", "quotes-behind-real", "or behind it", 'max-age=0, sunny="max-age=60"')
stored("9111 5.2", "escaped-quote", "an escaped quote does not end the argument",
       'sunny="a\\", no-store", max-age=60')
stored("9110 5.6.1", "empty-elements", "empty list elements are passed over", ", ,max-age=60,, ,")
stored("9110 5.6.1", "no-space-after-comma", "white space around commas is optional", "sunny,max-age=60\t,\tmild")
stored("9110 5.3", "two-lines", "lines of one field are one list", "sunny", ("Cache-Control", "max-age=60"))
stored(S, "twice-fresh-stale", "of a directive given twice the first counts", "max-age=60, max-age=0")
not_stored(S, "twice-stale-fresh", "also where the second would be fresh", "max-age=0, max-age=60")
not_stored(S, "twice-stale-fresh-lines", "also on two lines", "max-age=0", ("Cache-Control", "max-age=60"))
stored(S, "twice-fresh-stale-lines", "the first line first", "max-age=60", ("Cache-Control", "max-age=0"))
not_stored("9111 5.2", "directive-prefix", "a directive is its whole name", "xmax-age=60, max-ageing=60")
not_stored("9111 5.2", "semicolons", "a semicolon parts nothing", "max-age=60; no-store, max-age=0")

# Expires.

E = "9111 5.3"
stored(E, "expires-future", "a date ahead makes fresh", None, ("Expires", date(60)))
not_stored(E, "expires-past", "a date behind makes stale", None, ("Expires", date(-60)))
not_stored(E, "expires-now", "fresh means before it, not at it", None, ("Expires", date(0)))
not_stored(E, "expires-0", "what is no date lies in the past, above all 0", None, ("Expires", "0"))
not_stored(E, "expires-minus-1", "so does -1", None, ("Expires", "-1"))
not_stored(E, "expires-empty", "so does an empty value", None, ("Expires", ""))
stored(E, "max-age-over-expires", "max-age overrides Expires", "max-age=60", ("Expires", date(-60)))
not_stored(E, "max-age-0-over-expires", "in both directions", "max-age=0", ("Expires", date(60)))
stored(E, "max-age-over-bad-expires", "also one that is no date", "max-age=60", ("Expires", "0"))
not_stored(E, "expires-date-equal", "the lifetime is Expires less Date, whatever the clock here says",
           None, ("Date", date(60)), ("Expires", date(60)))
stored(E, "expires-by-date", "an upstream whose clock is ahead is believed on the distance",
       None, ("Date", date(600)), ("Expires", date(660)))
stored(E, "expires-bad-date", "where Date is no date the time of receipt stands for it",
       None, ("Date", "yesterday"), ("Expires", date(60)))
stored(E, "expires-no-date", "also where there is none", None, ("Date", None), ("Expires", date(60)))
not_stored(E, "expires-twice-past-first", "of several Expires the first counts", None,
           ("Expires", date(-60)), ("Expires", date(60)))
stored(E, "expires-far", "however far ahead", None, ("Expires", "Fri, 31 Dec 9999 23:59:59 GMT"))
stored(E, "expires-32-bits", "past 32 bits of seconds", None, ("Expires", "Sun, 07 Feb 2106 06:28:16 GMT"))

# Forms of dates.

D = "9110 5.6.7"
stored(D, "expires-rfc850", "the obsolete form with a day's full name and two digits of the year",
       None, ("Expires", "Wednesday, 18-Nov-65 08:49:37 GMT"))
not_stored(D, "expires-rfc850-past", "two digits that seem over 50 years ahead lie in the past",
           None, ("Expires", "Sunday, 06-Nov-94 08:49:37 GMT"))
stored(D, "expires-asctime", "and asctime's", None, ("Expires", "Wed Nov 18 08:49:37 2065"))
stored(D, "expires-asctime-padded", "a day of one digit is padded with a space there",
       None, ("Expires", "Fri Nov  6 08:49:37 2065"))
stored("9111 4.2", "expires-case-day", "dates are compared without regard to case: the day", None,
       ("Expires", "wed, 18 Nov 2065 08:49:37 GMT"))
stored("9111 4.2", "expires-case-month", "the month", None, ("Expires", "Wed, 18 nOV 2065 08:49:37 GMT"))
stored("9111 4.2", "expires-case-zone", "and the zone", None, ("Expires", "Wed, 18 Nov 2065 08:49:37 gMT"))
not_stored("9111 4.2", "expires-zone-utc", "no zone but GMT makes a date", None,
           ("Expires", "Wed, 18 Nov 2065 08:49:37 UTC"))
not_stored("9111 4.2", "expires-zone-other", "least of all a local one", None,
           ("Expires", "Wed, 18 Nov 2065 08:49:37 AEST"))
for name, why, text in [
        ("one-digit-hour", "an hour of one digit", "Wed, 18 Nov 2065 8:49:37 GMT"),
        ("no-comma", "a missing comma", "Wed 18 Nov 2065 08:49:37 GMT"),
        ("two-spaces", "more than one space", "Wed,  18 Nov 2065 08:49:37 GMT"),
        ("dashes", "dashes in the form that has none", "Wed, 18-Nov-2065 08:49:37 GMT"),
        ("two-digit-year", "two digits of the year in the form that has four", "Wed, 18 Nov 65 08:49:37 GMT"),
        ("periods", "periods in the time", "Wed, 18 Nov 2065 08.49.37 GMT"),
        ("no-seconds", "a time without seconds", "Wed, 18 Nov 2065 08:49 GMT"),
        ("day-32", "a day that no month has", "Wed, 32 Nov 2065 08:49:37 GMT"),
        ("feb-30", "a day that this month has not", "Wed, 30 Feb 2065 08:49:37 GMT"),
        ("hour-24", "an hour that no day has", "Wed, 18 Nov 2065 24:49:37 GMT"),
        ("behind", "anything behind the date", "Wed, 18 Nov 2065 08:49:37 GMT, soon"),
        ("iso", "another standard's form", "2065-11-18T08:49:37Z"),
        ("number", "seconds since the epoch", "3025529377")]:
    not_stored(D, f"expires-bad-{name}", f"no date, so in the past: {why}", None, ("Expires", text))

# Age and Date as they come (4.2.3).

A = "9111 4.2.3"
stored(A, "age-below", "an Age that leaves some of the lifetime", "max-age=60", ("Age", "30"))
not_stored(A, "age-above", "an Age beyond the lifetime: stale when it came", "max-age=60", ("Age", "90"))
not_stored("9111 4.2", "age-equal", "the lifetime must exceed the age", "max-age=60", ("Age", "60"))
case(A, "age-carried", "a hit's Age goes on from the one that came",
     [says("max-age=60", ("Age", "30"))], [get("MISS"), get("HIT", age=(30, 45))])
case(A, "age-of-its-own", "and starts from nothing where none came",
     [says("max-age=60")], [get("MISS"), get("HIT", age=(0, 15))])
case("9111 5.1", "age-passes", "an Age is told while forwarding, too",
     [says("max-age=60", ("Age", "30"))], [get("MISS", age=(30, 45))])
case(A, "apparent-age", "a Date behind is age",
     [says("max-age=100", ("Date", date(-50)))], [get("MISS"), get("HIT", age=(50, 65))])
not_stored(A, "apparent-age-above", "and may be more than the lifetime", "max-age=60", ("Date", date(-90)))
case(A, "apparent-age-smaller", "of apparent age and Age the larger counts",
     [says("max-age=100", ("Date", date(-20)), ("Age", "50"))], [get("MISS"), get("HIT", age=(50, 65))])
case(A, "apparent-age-larger", "whichever it is",
     [says("max-age=100", ("Date", date(-50)), ("Age", "20"))], [get("MISS"), get("HIT", age=(50, 65))])
case(A, "date-ahead", "a Date ahead is no negative age",
     [says("max-age=60", ("Date", date(30)))], [get("MISS"), get("HIT", age=(0, 15))])
not_stored(A, "age-and-expires", "Age counts against Expires as well",
           None, ("Expires", date(60)), ("Age", "90"))

P = "9111 5.1"
stored(P, "age-word", "an Age that is no number is ignored", "max-age=60", ("Age", "old"))
stored(P, "age-negative", "so is a negative one", "max-age=60", ("Age", "-90"))
stored(P, "age-decimal", "and one with a fraction", "max-age=60", ("Age", "90.5"))
stored(P, "age-empty", "and an empty one", "max-age=60", ("Age", ""))
stored(P, "age-parameter", "and one with something behind it", "max-age=60", ("Age", "90;old"))
not_stored(P, "age-2-31", "an Age past 32 bits is very old", "max-age=3600", ("Age", "2147483648"))
not_stored(P, "age-huge", "however large", "max-age=3600", ("Age", "99999999999999999999"))
stored(P, "age-list-young", "of a list, which it must not be, the first member counts",
       "max-age=60", ("Age", "0, 90"))
not_stored(P, "age-list-old", "old or young", "max-age=60", ("Age", "90, 0"))
stored(P, "age-lines-young", "of several lines the first", "max-age=60", ("Age", "0"), ("Age", "90"))
not_stored(P, "age-lines-old", "old or young on lines, too", "max-age=60", ("Age", "90"), ("Age", "0"))
stored(P, "age-list-word-first", "a first member that is no number makes the field invalid", "max-age=60",
       ("Age", "old, 90"))

case(A, "age-of-delay", "the time that upstream took is age where it sends an Age",
     [says("max-age=60", ("Age", "10"), pause_s=1.1)], [get("MISS"), get("HIT", age=(11, 30))])
