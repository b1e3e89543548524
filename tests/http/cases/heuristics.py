"""Lifetimes that the operator gives: heuristics, only on a route that switches them on (RFC 9111 section 4.2.2), and a
route's own TTL."""

from table import case, date, get, not_stored, says

H = "9111 4.2.2"
YEAR_OLD = ("Last-Modified", date(-365 * 24 * 3600))


def guessed(name, why, *answer, status=200, section=H):
    case(section, name, why, [says(*answer, status=status)],
         [get("MISS", of=1, status=status), get("HIT", of=1, status=status)], where="heuristic")


def not_guessed(name, why, *answer, status=200, section=H):
    case(section, name, why, [says(*answer, status=status)],
         [get("MISS", of=1, status=status), get("MISS", of=2, status=status)], where="heuristic")


not_stored(H, "heuristic-off", "without leave nothing is guessed", None, YEAR_OLD)
guessed("heuristic", "with it, what was not modified for long is taken to last a while", None, YEAR_OLD)
for status in (203, 300, 301, 308):
    guessed(f"heuristic-{status}", f"{status} is one of the statuses that allow it", None, YEAR_OLD, status=status)
for status in (302, 303, 307):
    not_guessed(f"heuristic-not-{status}", f"{status} is not", None, YEAR_OLD, status=status)
not_guessed("heuristic-nothing", "without Last-Modified there is nothing to guess by", None)
not_guessed("heuristic-just-modified", "what was modified just now may be so again", None, ("Last-Modified", date(0)))
not_guessed("heuristic-future", "a Last-Modified ahead says nothing", None, ("Last-Modified", date(3600)))
not_guessed("heuristic-bad-date", "nor does one that is no date", None, ("Last-Modified", "yesterday"))
not_guessed("heuristic-max-age-0", "what upstream says goes before any guess", "max-age=0", YEAR_OLD)
not_guessed("heuristic-expires", "also by Expires", None, YEAR_OLD, ("Expires", "0"))
not_guessed("heuristic-no-store", "and what it forbids", "no-store", YEAR_OLD)
not_guessed("heuristic-age", "an Age beyond the guess makes stale", None, YEAR_OLD, ("Age", "99999999"))
case(H, "heuristic-share", "a tenth of the time since then at most",
     [says(None, ("Last-Modified", date(-1000)))],
     [get("MISS", of=1), get("MISS", ("Cache-Control", "min-fresh=110"), of=2), get("HIT", ("Cache-Control", "min-fresh=60"), of=2)],
     where="heuristic")
case(H, "heuristic-day", "and never more than a day",
     [says(None, ("Last-Modified", date(-10 * 365 * 24 * 3600)))],
     [get("MISS", of=1), get("MISS", ("Cache-Control", "min-fresh=86500"), of=2), get("HIT", ("Cache-Control", "min-fresh=86000"), of=2)],
     where="heuristic")
case("9111 5.4", "heuristic-pragma", "Pragma in an answer does not forbid a guess",
     [says(None, YEAR_OLD, ("Pragma", "no-cache"))], [get("MISS", of=1), get("HIT", of=1)], where="heuristic")

T = "9111 4.2.1"
case(T, "route-ttl", "a route's TTL is a lifetime where upstream gives none",
     [says(None)], [get("MISS", of=1), get("HIT", of=1)], where="timed")
case(T, "route-ttl-max-age-0", "where it gives one, that counts",
     [says("max-age=0")], [get("MISS", of=1), get("MISS", of=2)], where="timed")
case(T, "route-ttl-no-store", "and what it forbids is forbidden",
     [says("no-store")], [get("MISS", of=1), get("MISS", of=2)], where="timed")
case(T, "route-ttl-age", "it begins when the answer comes: it is the operator's word, not upstream's",
     [says(None, ("Age", "7200"))], [get("MISS", of=1), get("HIT", of=1, age=(7200, 7215))], where="timed")
case("9110 8.8.3", "etag-made", "under a route's TTL, where nothing comes from upstream, Refrain makes the ETag",
     [says(None)], [get("MISS", of=1), get("HIT", of=1)], where="timed")
