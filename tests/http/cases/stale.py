"""When a stale answer may be served, and what it says of itself: RFC 9111 sections 4.2.4 and 5.2.2, RFC 5861, RFC 8246."""

from table import case, deviates, get, says, unchanged

TAG = ("ETag", '"a"')


def old(cache_control, age="90", *fields):
    return says(cache_control, ("Age", age), *fields)


W = "5861 3"
case(W, "swr", "inside stale-while-revalidate the stale answer comes at once, and a new one meanwhile",
     [old("max-age=60, stale-while-revalidate=600"), says("max-age=60")],
     [get("MISS", of=1), get("STALE", of=1, age=(90, 105)), get("HIT", of=2, eventually=True)])
case(W, "swr-validates", "the new one is asked for with a condition",
     [old("max-age=60, stale-while-revalidate=600", "90", TAG), unchanged("max-age=60", TAG)],
     [get("MISS", of=1), get("STALE", of=1), get("HIT", of=1, eventually=True, sent=(("If-None-Match", '"a"'),))])
case(W, "swr-over", "past the window upstream is asked first",
     [old("max-age=60, stale-while-revalidate=20")], [get("MISS", of=1), get("MISS", of=2)])
case(W, "swr-fresh", "what is fresh is just a hit",
     [says("max-age=60, stale-while-revalidate=600")], [get("MISS", of=1), get("HIT", of=1)])
case(W, "swr-bad", "a window that is no number is none",
     [old("max-age=60, stale-while-revalidate=soon")], [get("MISS", of=1), get("MISS", of=2)])
case(W, "swr-error", "a refresh that fails leaves the stale answer where it is",
     [old("max-age=60, stale-while-revalidate=600"), says(None, status=503)],
     [get("MISS", of=1), get("STALE", of=1), get("STALE", of=1)])
case(W, "swr-must-revalidate", "must-revalidate goes before it",
     [old("max-age=60, stale-while-revalidate=600, must-revalidate")], [get("MISS", of=1), get("MISS", of=2)])
case(W, "swr-request-no-cache", "so does a request's no-cache",
     [old("max-age=60, stale-while-revalidate=600")], [get("MISS", of=1), get("MISS", ("Cache-Control", "no-cache"), of=2)])
case(W, "swr-request-max-age", "and a request's max-age, which takes nothing that old",
     [old("max-age=60, stale-while-revalidate=600")], [get("MISS", of=1), get("MISS", ("Cache-Control", "max-age=80"), of=2)])

E = "5861 4"
for status in (500, 502, 503, 504):
    case(E, f"sie-{status}", f"inside stale-if-error the stale answer stands in for a {status}",
         [old("max-age=60, stale-if-error=600"), says(None, status=status)],
         [get("MISS", of=1), get("STALE", of=1, age=(90, 105), asks=2)])
case(E, "sie-429", "and for a 429, which also means that upstream cannot serve now",
     [old("max-age=60, stale-if-error=600"), says(None, status=429)], [get("MISS", of=1), get("STALE", of=1, asks=2)])
case(E, "sie-silence", "and for a connection that ends without a word",
     [old("max-age=60, stale-if-error=600"), says(None, manner="silent")], [get("MISS", of=1), get("STALE", of=1)])
case(E, "sie-404", "a 404 is an answer, not a failure",
     [old("max-age=60, stale-if-error=600"), says(None, status=404)], [get("MISS", of=1), get("MISS", of=2, status=404)])
case(E, "sie-over", "past the window the error is passed on",
     [old("max-age=60, stale-if-error=20"), says(None, status=503)], [get("MISS", of=1), get("MISS", of=2, status=503)])
case(E, "sie-good", "where upstream answers well its answer comes",
     [old("max-age=60, stale-if-error=600")], [get("MISS", of=1), get("MISS", of=2)])
case(E, "sie-again", "the stale answer stays for the next failure",
     [old("max-age=60, stale-if-error=600"), says(None, status=503)],
     [get("MISS", of=1), get("STALE", of=1), get("STALE", of=1)])
case(E, "sie-must-revalidate", "must-revalidate goes before it",
     [old("max-age=60, stale-if-error=600, must-revalidate"), says(None, status=503)],
     [get("MISS", of=1), get("MISS", of=2, status=503)])
case(E, "sie-request", "a request may ask for it where the answer said nothing",
     [old("max-age=60", "90", TAG), says(None, status=503)],
     [get("MISS", of=1), get("STALE", ("Cache-Control", "stale-if-error=600"), of=1)])
deviates(E, "stale-if-error is about 500, 502, 503 and 504.",
         "A 429 counts as well: upstream says that it cannot answer now, and a stored answer spares the client the wait.",
         "sie-429")

S = "9111 4.2.4"
case(S, "stale-not-served", "without leave nothing stale is served: the error is passed on",
     [old("max-age=60", "90", TAG), says(None, status=503)], [get("MISS", of=1), get("MISS", of=2, status=503)])
case(S, "stale-not-served-silence", "nor where upstream ends without a word",
     [old("max-age=60", "90", TAG), says(None, manner="silent")], [get("MISS", of=1), get(None, status=502)])
M = "9111 5.2.2.2"
case(M, "must-revalidate-stale", "must-revalidate asks once it is stale",
     [old("max-age=60, must-revalidate", "90", TAG), unchanged("max-age=60, must-revalidate", TAG)],
     [get("MISS", of=1), get("REVALIDATED", of=1)])
case(M, "must-revalidate-silence", "and is an error where upstream cannot be asked",
     [old("max-age=60, must-revalidate, stale-if-error=600", "90", TAG), says(None, manner="silent")],
     [get("MISS", of=1), get(None, status=502)])
case("9111 5.2.2.8", "proxy-revalidate-silence", "proxy-revalidate says the same to a shared cache",
     [old("max-age=60, proxy-revalidate, stale-if-error=600", "90", TAG), says(None, status=503)],
     [get("MISS", of=1), get("MISS", of=2, status=503)])

I = "8246 2"
case(I, "immutable-fresh", "what is immutable and fresh is a hit like any other",
     [says("max-age=60, immutable")], [get("MISS", of=1), get("HIT", of=1)])
case(I, "immutable-stale", "it does not outlive its lifetime",
     [old("max-age=60, immutable", "90", TAG), unchanged("max-age=60, immutable", TAG)],
     [get("MISS", of=1), get("REVALIDATED", of=1)])
case(I, "immutable-alone", "nor does it make fresh what has none", [says("immutable")], [get("MISS", of=1), get("MISS", of=2)])
case(I, "immutable-argument", "an argument, of which it has none, is ignored",
     [says("max-age=60, immutable=no")], [get("MISS", of=1), get("HIT", of=1)])
case(I, "immutable-no-cache", "a client that says no-cache still reaches upstream",
     [says("max-age=60, immutable")], [get("MISS", of=1), get("MISS", ("Cache-Control", "no-cache"), of=2)])
