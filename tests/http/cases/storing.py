"""What may be stored: RFC 9111 sections 3, 3.1, 3.5, 5.2.2 and 5.4, and the status codes of RFC 9110 section 15."""

from table import case, date, deviates, get, not_stored, options, post, put, says, stored

# Directives that forbid.

not_stored("9111 5.2.2.5", "no-store", "what must not be stored is not", "no-store")
not_stored("9111 5.2.2.5", "no-store-fresh", "however fresh it is", "no-store, max-age=60", ("Expires", date(60)))
not_stored("9111 5.2.2.5", "no-store-case", "in whatever case it is written", "max-age=60, No-StOrE")
not_stored("9111 5.2.2.5", "no-store-line", "on a line of its own, too", "max-age=60", ("Cache-Control", "no-store"))
not_stored("9111 5.2.2.5", "no-store-argument", "an argument, of which it has none, does not weaken it",
           "max-age=60, no-store=yes")
not_stored("9111 5.2.2.5", "no-store-behind-open-quote", "nor can a quote that is never closed hide it",
           'max-age=60, sunny="a, no-store')
not_stored("9111 5.2.2.7", "private", "what is for one user is not for a shared cache", "private, max-age=60")
not_stored("9111 5.2.2.7", "private-case", "in whatever case", "PRIVATE, max-age=60")
not_stored("9111 5.2.2.7", "private-s-maxage", "a lifetime for shared caches does not change that",
           "private, s-maxage=60")
not_stored("9111 5.2.2.7", "private-public", "nor does `public` beside it", "public, private, max-age=60")

# What allows.

stored("9111 5.2.2.9", "public", "`public` with a lifetime", "public, max-age=60")
not_stored("9111 5.2.2.9", "public-alone", "`public` says nothing of how long; heuristics are off", "public")
stored("9111 5.2.2.6", "no-transform", "no-transform does not keep from storing", "no-transform, max-age=60")
stored("9111 5.2.2.2", "must-revalidate-fresh", "must-revalidate is about stale answers", "must-revalidate, max-age=60")
stored("9111 5.2.2.8", "proxy-revalidate-fresh", "proxy-revalidate, too", "proxy-revalidate, max-age=60")
stored("9111 5.4", "pragma-response", "Pragma means nothing in an answer", "max-age=60", ("Pragma", "no-cache"))
not_stored("9111 5.4", "pragma-response-no-lifetime", "neither way", None, ("Pragma", "public"))
stored("9111 5.5", "warning-ignored", "Warning is obsolete and means nothing", "max-age=60",
       ("Warning", '110 - "Response is Stale"'))
stored("9111 3", "query", "a query does not keep from storing", "max-age=60")

# must-understand.

stored("9111 5.2.2.3", "must-understand", "a cache that knows the status code ignores no-store beside it",
       "must-understand, no-store, max-age=60")
stored("9111 5.2.2.3", "must-understand-alone", "on its own it allows what is known", "must-understand, max-age=60")
not_stored("9111 5.2.2.3", "must-understand-unknown", "what is not known is not stored",
           "must-understand, no-store, max-age=60", status=299)
not_stored("9111 5.2.2.3", "must-understand-private", "it lifts no-store, nothing else",
           "must-understand, private, max-age=60")

# Status codes.

for status in (203, 300, 301, 302, 303, 307, 308):
    stored("9111 3", f"status-{status}", f"{status} with a lifetime is stored as it is", "max-age=60", status=status)
case("9111 3", "status-204", "204 with a lifetime is stored as it is, without a body",
     [says("max-age=60", status=204, manner="bodiless")],
     [get("MISS", status=204, text=b""), get("HIT", status=204, text=b"")])
not_stored("9111 3", "status-301-bare", "no status code is fresh by itself while heuristics are off", None, status=301)
for status in (404, 410, 400, 403, 405, 414, 451, 500, 501):
    not_stored("9111 3", f"status-{status}", f"{status} is not stored, whatever lifetime it has",
               "max-age=60", status=status)
not_stored("9111 3", "status-502", "nor is an error of gateways upstream", "public, max-age=60", status=502)
not_stored("9111 3", "status-201", "nor one that only makes sense for the request that made it",
           "max-age=60", status=201)
not_stored("9111 3", "status-299", "nor one that nobody knows", "max-age=60", status=299)
not_stored("9111 3.3", "status-206", "a part is not stored", "max-age=60", ("Content-Range", "bytes 0-7/100"), status=206)

deviates("9111 3", "Errors with explicit freshness (404, 410, 5xx) may be stored.",
         "Never stored: an error that was stored outlives its cause, and clients of LLM APIs retry by themselves.",
         "status-404", "status-410", "status-500", decision="0014-http-where-we-differ.md")
deviates("9111 3.3", "Partial answers (206) may be stored and put together.",
         "Never stored; single ranges are served from a stored whole.", "status-206")

# Methods.

case("9111 3", "options-not-stored", "the method must be one whose answers may be stored",
     [says("max-age=60")], [options("BYPASS", of=1), options("BYPASS", of=2)])
case("9111 3", "put-not-stored", "an answer to PUT is none to GET",
     [says("max-age=60")], [put("BYPASS", of=1, body=b"x"), get("MISS", of=2)])
case("9111 3", "post-not-stored", "nor is one to POST on a path that no operation claims",
     [says("max-age=60", ("Content-Location", "{base}"))], [post("BYPASS", of=1, body=b"x"), get("MISS", of=2)])
case("9110 9.3.1", "fat-get", "a GET with a body goes past the cache, which no one could key rightly",
     [says("max-age=60")], [get("BYPASS", of=1, body=b"{}"), get("BYPASS", of=2, body=b"{}"), get("MISS", of=3)])

deviates("9111 3", "An answer to POST with Content-Location and a lifetime may be stored for later GETs.",
         "Not done; POST is cached by operation (chat, embeddings …) with a key over its body.", "post-not-stored")

# The key.

case("9111 2", "other-query", "another query is another resource",
     [says("max-age=60")], [get("MISS", of=1, at="?a=1"), get("MISS", of=2, at="?a=2"), get("HIT", of=1, at="?a=1")])
case("9111 2", "query-order", "queries are compared as they are written",
     [says("max-age=60")], [get("MISS", of=1, at="?a=1&b=2"), get("MISS", of=2, at="?b=2&a=1")])
case("9111 2", "other-case-of-path", "so are paths",
     [says("max-age=60")], [get("MISS", of=1, at="x"), get("MISS", of=2, at="X")])
case("9111 2", "escaped-path", "also where another spelling might mean the same",
     [says("max-age=60")], [get("MISS", of=1, at="a/b"), get("MISS", of=2, at="a%2fb")])
case("9111 2", "dot-segments", "dots are not taken out, so nothing reaches another path's entry",
     [says("max-age=60")], [get("MISS", of=1, at="b"), get("MISS", of=2, at="a/../b")])
deviates("9111 4.1", "A cache may reuse an answer whatever request fields Vary does not name.",
         "Every end-to-end request field that is not known to be noise parts the key, so that no field that upstream "
         "forgot in Vary can poison an entry.", "unnamed-field-parts", "noise-field-does-not")
case("9111 4.1", "unnamed-field-parts", "a request field that Vary does not name still parts the key",
     [says("max-age=60")], [get("MISS", ("X-Tenant", "a"), of=1), get("MISS", ("X-Tenant", "b"), of=2),
                            get("HIT", ("X-Tenant", "a"), of=1)])
case("9111 4.1", "noise-field-does-not", "fields that only tell who calls and how do not",
     [says("max-age=60")], [get("MISS", ("User-Agent", "a/1"), ("X-Request-Id", "one"), of=1),
                            get("HIT", ("User-Agent", "b/2"), ("X-Request-Id", "two"), of=1)])
case("9111 4.1", "cookie-parts", "Cookie parts callers",
     [says("max-age=60")], [get("MISS", ("Cookie", "id=a"), of=1), get("MISS", ("Cookie", "id=b"), of=2),
                            get("MISS", of=3)])

# Fields that are not stored (3.1).

case("9111 3.1", "connection-listed", "fields that Connection lists, and Connection itself, are neither stored nor passed on",
     [says("max-age=60", ("Connection", "X-Hop"), ("X-Hop", "1"), ("X-End", "2"))],
     [get("MISS", has=(("X-End", "2"),), lacks=("X-Hop",)), get("HIT", has=(("X-End", "2"),), lacks=("X-Hop",))])
for name, value in (("Proxy-Authenticate", "Basic"), ("Proxy-Authentication-Info", "x=y"), ("Keep-Alive", "timeout=5"),
                    ("Proxy-Connection", "close")):
    case("9111 3.1", f"hop-{name.lower()}", f"{name} is about one connection",
         [says("max-age=60", (name, value))], [get("MISS", lacks=(name,)), get("HIT", lacks=(name,))])
for name, value in (("Content-Type", "text/csv"), ("Content-Language", "en"), ("Content-Location", "/x"), ("Link", "</x>"),
                    ("Server", "scripted"), ("X-Any", "a, b"), ("Content-Disposition", "attachment"),
                    ("Content-MD5", "abc"), ("Access-Control-Allow-Origin", "*"),
                    ("Strict-Transport-Security", "max-age=1"), ("Content-Security-Policy", "x")):
    case("9111 3.1", f"kept-{name.lower()}", f"{name} is stored and served",
         [says("max-age=60", (name, value))], [get("MISS", has=((name, value),)), get("HIT", has=((name, value),))])
case("9111 3.1", "kept-unknown", "fields that nobody knows are stored, too, each line of them",
     [says("max-age=60", ("X-Line", "1"), ("X-Other", "-"), ("X-Line", "2"))], [get("MISS"), get("HIT", has=(("X-Line", "1, 2"),))])
not_stored("9111 7.3", "set-cookie", "an answer that sets a cookie is made for one client", "public, max-age=60",
           ("Set-Cookie", "id=a"))
deviates("9111 7.3", "Set-Cookie does not by itself keep an answer from being stored.",
         "It does: a cookie served twice hands one client's session to another.", "set-cookie",
         decision="0014-http-where-we-differ.md")
case("9111 3.1", "clear-site-data", "Clear-Site-Data is for the one client that was told",
     [says("max-age=60", ("Clear-Site-Data", '"cookies"'))], [get("MISS"), get("HIT", lacks=("Clear-Site-Data",))])
case("9111 3.1", "authentication-info", "Authentication-Info is about one exchange",
     [says("max-age=60", ("Authentication-Info", "nextnonce=a"))],
     [get("MISS", has=(("Authentication-Info", "nextnonce=a"),)), get("HIT", lacks=("Authentication-Info",))])

# Authorization (3.5).

A = ("Authorization", "Bearer a")
B = ("Authorization", "Bearer b")
case("9111 3.5", "authorization", "an answer to a request with Authorization is not stored",
     [says("max-age=60")], [get("MISS", A, of=1), get("MISS", A, of=2)])
for name, word in (("public", "public, max-age=60"), ("s-maxage", "s-maxage=60"),
                   ("must-revalidate", "must-revalidate, max-age=60")):
    case("9111 3.5", f"authorization-{name}", f"unless {name} allows it",
         [says(word)], [get("MISS", A, of=1), get("HIT", A, of=1)])
case("9111 3.5", "authorization-expires", "Expires does not",
     [says(None, ("Expires", date(60)))], [get("MISS", A, of=1), get("MISS", A, of=2)])
case("9111 3.5", "authorization-parts", "even then it is never given to another credential, or to none",
     [says("public, max-age=60")], [get("MISS", A, of=1), get("MISS", B, of=2), get("MISS", of=3), get("HIT", A, of=1)])
case("9111 3.5", "authorization-none-first", "nor what was stored without one to somebody with one",
     [says("public, max-age=60")], [get("MISS", of=1), get("MISS", A, of=2)])
deviates("9111 3.5", "With `public`, an answer may be given to users with other credentials.",
         "Not unless `cache.scope` says so: who shares answers is the operator's decision, not upstream's.",
         "authorization-parts", "authorization-none-first", decision="0014-http-where-we-differ.md")

# How it came.

case("9111 3", "chunked", "how it was framed does not matter",
     [says("max-age=60", manner="chunked")], [get("MISS", of=1), get("HIT", of=1, has=(("Content-Length", "8"),))])
case("9111 3", "empty-body", "an empty body is a body",
     [says("max-age=60", body=b"")], [get("MISS", text=b""), get("HIT", text=b"", has=(("Content-Length", "0"),))])
