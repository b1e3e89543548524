"""CDN-Cache-Control as a target field: RFC 9213."""

from table import case, date, get, not_stored, says, stored

C = "CDN-Cache-Control"
F = "9213 2.2"  # which field counts
D = "9213 2.1"  # a dictionary


def cdn(value):
    return (C, value)


stored("9213 3.1", "cdn-max-age", "CDN-Cache-Control alone makes fresh", None, cdn("max-age=60"))
not_stored("9213 3.1", "cdn-max-age-0", "or stale", None, cdn("max-age=0"))
stored(F, "cdn-over-cc-short", "it goes before Cache-Control: longer", "max-age=0", cdn("max-age=60"))
not_stored(F, "cdn-over-cc-long", "or shorter", "max-age=60", cdn("max-age=0"))
not_stored(F, "cdn-over-s-maxage", "also before s-maxage", "s-maxage=60", cdn("max-age=0"))
stored(F, "cdn-over-expires", "and before Expires", None, ("Expires", date(-60)), cdn("max-age=60"))
not_stored(F, "cdn-0-over-expires", "in both directions", None, ("Expires", date(60)), cdn("max-age=0"))
stored(F, "cdn-over-no-store", "Cache-Control is not heeded at all beside it", "no-store", cdn("max-age=60"))
stored(F, "cdn-over-private", "none of it", "private, no-cache", cdn("max-age=60"))
not_stored(F, "cdn-no-store", "no-store in it forbids", "max-age=60", cdn("no-store"))
not_stored(F, "cdn-private", "so does private", "max-age=60", ("Expires", date(60)), cdn("private"))
not_stored(F, "cdn-no-lifetime", "one that says nothing of a lifetime leaves none", "max-age=60", cdn("public"))
not_stored(F, "cdn-none", "a word that nobody knows is a word", "max-age=60", cdn("none"))
stored(F, "cdn-empty", "an empty one is as if not there", "max-age=60", cdn(""))
not_stored(F, "cdn-empty-falls-back", "so Cache-Control counts, whatever it says", "no-store", cdn(""))
stored(D, "cdn-unknown", "unknown directives are ignored", None, cdn("sunny, max-age=60, mild=yes"))
stored(D, "cdn-parameters", "so are parameters", None, cdn("max-age=60;x=1;max-age=0"))
stored(D, "cdn-lines", "lines are one dictionary", None, cdn("sunny"), cdn("max-age=60"))
not_stored(D, "cdn-last-counts", "of a key given twice the last counts, as in every dictionary", None,
           cdn("max-age=60, max-age=0"))
stored(D, "cdn-s-maxage", "s-maxage means in it what it means in Cache-Control", None, cdn("max-age=0, s-maxage=60"))
stored(D, "cdn-2-31", "a lifetime past 2^31", None, cdn("max-age=2147483649"))
stored(D, "cdn-11-digits", "and one of eleven digits", None, cdn("max-age=99999999999"))
not_stored(D, "cdn-string-for-number", "a value of another type than the directive takes is not consumed", "max-age=60",
           cdn('max-age="60"'))
not_stored(D, "cdn-decimal-for-number", "least of all rounded", "max-age=60", cdn("max-age=60.0"))
not_stored(D, "cdn-negative", "nor below nothing", "max-age=60", cdn("max-age=-1"))
stored(D, "cdn-false", "what is said to be false is not said", None, cdn("no-store=?0, max-age=60"))
for name, why, value in [
        ("upper-case", "keys are lower case", "Max-Age=0"),
        ("space-before", "no space before the equals sign", "max-age =0"),
        ("space-behind", "nor behind it", "max-age= 0"),
        ("bad-character", "a byte that begins no item", "max-age=0, &"),
        ("comma-at-end", "a comma at the end", "max-age=0,"),
        ("empty-member", "a member that is empty", "max-age=0,,public"),
        ("16-digits", "more digits than an integer may have", "max-age=1000000000000000"),
        ("open-string", "a string that is not closed", 'max-age=0, x="y'),
        ("single-quotes", "single quotes", "max-age='0'"),
        ("no-value", "an equals sign with nothing behind it", "max-age=")]:
    stored(F, f"cdn-malformed-{name}", f"not well-formed, so not there, and Cache-Control counts: {why}",
           "max-age=60", cdn(value))
not_stored(F, "cdn-malformed-line", "one malformed line spoils all of it", "no-store", cdn("max-age=60"), cdn("&"))
case(F, "cdn-age", "Age counts against it",
     [says(None, cdn("max-age=60"), ("Age", "90"))], [get("MISS", of=1), get("MISS", of=2)])
case(F, "cdn-hit-age", "what comes from the store by its leave has an Age",
     [says("max-age=5", cdn("max-age=60"), ("Age", "30"))], [get("MISS"), get("HIT", age=(30, 45))])
case("9213 2.3", "cdn-passed-on", "the field goes on to whoever is next",
     [says(None, cdn("max-age=60"))], [get("MISS", has=((C, "max-age=60"),)), get("HIT", has=((C, "max-age=60"),))])
case("9213 3.1", "other-target", "a field for other caches says nothing here",
     [says("max-age=60", ("Surrogate-Control", "no-store"), ("Cloudflare-CDN-Cache-Control", "no-store"))],
     [get("MISS", of=1), get("HIT", of=1)])
