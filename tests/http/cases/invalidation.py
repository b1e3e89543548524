"""What unsafe requests do to stored answers: RFC 9111 section 4.4."""

from table import asking, case, delete, get, options, post, put, says

S = "9111 4.4"
patch, propfind, unknown = asking("PATCH"), asking("PROPFIND"), asking("FROBNICATE")
FRESH = says("max-age=600")
DONE = says(None)


def after(name, why, request, *then, section=S):
    case(section, name, why, [FRESH, *then, FRESH], [get("MISS", of=1), get("HIT", of=1), request, get("MISS", of=3)])


def unmoved(name, why, request, *then, section=S, at=""):
    case(section, name, why, [FRESH, *then, FRESH], [get("MISS", of=1, at=at), request, get("HIT", of=1, at=at)])


after("post-invalidates", "a POST that succeeds drops what is stored of its target", post("BYPASS", body=b"x"), DONE)
after("put-invalidates", "so does PUT", put("BYPASS", body=b"x", status=204), says(None, status=204, manner="bodiless"))
after("delete-invalidates", "and DELETE", delete("BYPASS"), DONE)
after("patch-invalidates", "and PATCH", patch("BYPASS", body=b"x"), DONE)
after("unknown-method-invalidates", "and a method that nobody knows: it may well be unsafe", unknown("BYPASS"), DONE)
after("redirect-invalidates", "a redirection is no error", post("BYPASS", body=b"x", status=303),
      says(None, ("Location", "/elsewhere"), status=303))
for status in (400, 404, 409, 500, 503):
    unmoved(f"post-{status}", f"a request that failed ({status}) changed nothing", post("BYPASS", body=b"x", status=status),
            says(None, status=status))
unmoved("options-leaves", "a safe method changes nothing", options("BYPASS"), DONE)
unmoved("propfind-leaves", "nor does one that is registered as safe", propfind("BYPASS"), DONE)
unmoved("other-path-stays", "other paths stay", post("BYPASS", body=b"x", at="other"), DONE)
unmoved("other-query-stays", "so do other queries", post("BYPASS", body=b"x", at="?b=1"), DONE, at="?a=1")
case(S, "invalidates-variants", "every variant of the target goes",
     [FRESH, FRESH, DONE, FRESH],
     [get("MISS", ("X-Tenant", "a"), of=1), get("MISS", ("X-Tenant", "b"), of=2), post("BYPASS", body=b"x"),
      get("MISS", ("X-Tenant", "a"), of=4), get("MISS", ("X-Tenant", "b"), of=5)])
case(S, "invalidates-credentials", "whoever it was stored for",
     [says("public, max-age=600"), DONE, says("public, max-age=600")],
     [get("MISS", ("Authorization", "Bearer a"), of=1), post("BYPASS", ("Authorization", "Bearer b"), body=b"x"),
      get("MISS", ("Authorization", "Bearer a"), of=3)])
for field in ("Location", "Content-Location"):
    low = field.lower()
    for name, why, value in [("", "the path it names goes, too", "{base}made"),
                             ("-relative", "also named relative to the target", "made"),
                             ("-absolute", "also with the origin before it", "{there}{base}made")]:
        case(S, f"invalidates-{low}{name}", f"{field}: {why}",
             [FRESH, says(None, (field, value), status=201), FRESH],
             [get("MISS", of=1, at="made"), post("BYPASS", body=b"x", status=201), get("MISS", of=3, at="made")])
    case(S, f"{low}-other-origin", f"{field}: of another origin nothing goes",
         [FRESH, says(None, (field, "http://other.example{base}made"), status=201), FRESH],
         [get("MISS", of=1, at="made"), post("BYPASS", body=b"x", status=201), get("HIT", of=1, at="made")])
    case(S, f"{low}-failed", f"{field}: nor when the request failed",
         [FRESH, says(None, (field, "{base}made"), status=500), FRESH],
         [get("MISS", of=1, at="made"), post("BYPASS", body=b"x", status=500), get("HIT", of=1, at="made")])
