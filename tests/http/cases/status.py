"""Cache-Status on every outcome: RFC 9211. That each answer has one well-formed member of Refrain's, with `hit` or `fwd`
as X-Cache says, is held of every answer in this suite (play.py)."""

from table import case, get, post, says, unchanged

TAG = ("ETag", '"a"')
S = "9211 2"


def status(section, name, why, answers, *asks):
    case(section, name, why, answers, list(asks))


status("9211 2.1", "cs-hit", "a hit says so, and how long it is fresh",
       [says("max-age=60", ("Age", "30"))], get("MISS"), get("HIT", cache_status=(("hit", True), ("fwd", None))))
status("9211 2.4", "cs-stored", "a miss that is stored says so",
       [says("max-age=60")], get("MISS", cache_status=(("fwd", "miss"), ("stored", True))))
status("9211 2.4", "cs-not-stored", "one that is not says why",
       [says("no-store")], get("MISS", cache_status=(("fwd", "miss"), ("stored", None), ("detail", "not-stored:cache_control"))))
status("9211 2.2", "cs-request", "a request's own wish: fwd=request",
       [says("max-age=60")], get("MISS"), get("MISS", ("Cache-Control", "no-cache"), cache_status=(("fwd", "request"), ("stored", True))))
status("9211 2.2", "cs-request-max-age", "a max-age that nothing stored meets is such a wish, too",
       [says("max-age=600", ("Age", "100"))], get("MISS"),
       get("MISS", ("Cache-Control", "max-age=50"), cache_status=(("fwd", "request"),)))
status("9211 2.2", "cs-stale", "something stale was there: fwd=stale",
       [says("max-age=60", TAG, ("Age", "90")), says("max-age=60")], get("MISS"), get("MISS", cache_status=(("fwd", "stale"), ("stored", True))))
status("9211 2.3", "cs-revalidated", "fwd-status says what upstream's answer was where the client's is another",
       [says("max-age=60", TAG, ("Age", "90")), unchanged("max-age=60", TAG)], get("MISS"),
       get("REVALIDATED", cache_status=(("fwd", "stale"), ("fwd-status", 304))))
status("9211 2.3", "cs-stale-if-error", "so where a stale answer stands in for an error",
       [says("max-age=60, stale-if-error=600", ("Age", "90")), says(None, status=503)], get("MISS"),
       get("STALE", cache_status=(("fwd", "stale"), ("fwd-status", 503))))
status("9211 2.1", "cs-swr", "what is served stale without asking is a hit, with a lifetime below nothing",
       [says("max-age=60, stale-while-revalidate=600", ("Age", "90"))], get("MISS"), get("STALE", cache_status=(("hit", True), ("fwd", None))))
status("9211 2.2", "cs-vary-miss", "other variants are stored, not this one: fwd=vary-miss",
       [says("max-age=60", ("Vary", "User-Agent"))], get("MISS", ("User-Agent", "a")),
       get("MISS", ("User-Agent", "b"), cache_status=(("fwd", "vary-miss"),)))
status("9211 2.2", "cs-bypass", "what the cache has nothing to do with: fwd=bypass",
       [says(None)], get("BYPASS", ("Cache-Control", "no-store"), cache_status=(("fwd", "bypass"), ("detail", "no-store"))))
status("9211 2.2", "cs-method", "or fwd=method, where the method is why",
       [says(None)], post("BYPASS", body=b"x", cache_status=(("fwd", "method"),)))
status("9211 2.2", "cs-error-status", "an error from upstream is a miss like any other",
       [says(None, status=500)], get("MISS", status=500, cache_status=(("fwd", "miss"), ("detail", "not-stored:status"))))
status("9211 2", "cs-own-error", "an error of Refrain's own, without asking upstream, is neither",
       [says(None)], get(None, ("Cache-Control", "only-if-cached"), status=504,
                         cache_status=(("hit", None), ("fwd", None), ("detail", "only_if_cached_miss"))))
status("9211 2", "cs-upstream-silent", "one after upstream failed was forwarded",
       [says(None, manner="silent")], get(None, status=502, cache_status=(("fwd", "miss"), ("detail", "upstream_protocol_error"))))
status("9211 2", "cs-appended", "caches nearer to the origin come first",
       [says("max-age=60", ("Cache-Status", "origin; hit"))], get("MISS"))
status("9211 2", "cs-304", "a 304 has one as well",
       [says("max-age=60", TAG)], get("MISS"), get("HIT", ("If-None-Match", '"a"'), status=304, cache_status=(("hit", True),)))
