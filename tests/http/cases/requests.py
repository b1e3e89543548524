"""What a request asks of the cache: RFC 9111 sections 5.2.1 and 5.4."""

from table import case, get, says

FRESH = [says("max-age=600", ("Age", "100"))]


def cc(value):
    return ("Cache-Control", value)


case("9111 5.2.1.4", "req-no-cache", "no-cache asks upstream, fresh or not",
     [says("max-age=60")], [get("MISS", of=1), get("MISS", cc("no-cache"), of=2), get("HIT", of=2)])
case("9111 5.2.1.4", "req-no-cache-validates", "with a condition, where there is a validator",
     [says("max-age=60", ("ETag", '"a"')), says("max-age=60", ("ETag", '"a"'), status=304, manner="bodiless")],
     [get("MISS", of=1), get("REVALIDATED", cc("no-cache"), of=1, sent=(("If-None-Match", '"a"'),))])
case("9111 5.2.1.4", "req-no-cache-case", "in whatever case",
     [says("max-age=60")], [get("MISS", of=1), get("MISS", cc("No-CACHE"), of=2)])
case("9111 5.2.1.5", "req-no-store", "no-store neither reads nor stores",
     [says("max-age=60")], [get("BYPASS", cc("no-store"), of=1), get("MISS", of=2), get("BYPASS", cc("no-store"), of=3),
                            get("HIT", of=2)])
case("9111 5.2.1.1", "req-max-age-0", "max-age=0 takes only what was made this second",
     [says("max-age=600", ("Age", "100"))], [get("MISS", of=1), get("MISS", cc("max-age=0"), of=2)])
case("9111 5.2.1.1", "req-max-age-below", "max-age takes nothing older",
     FRESH, [get("MISS", of=1), get("MISS", cc("max-age=50"), of=2)])
case("9111 5.2.1.1", "req-max-age-above", "and what is younger",
     FRESH, [get("MISS", of=1), get("HIT", cc("max-age=200"), of=1)])
case("9111 5.2.1.1", "req-max-age-bad", "one that is no number is ignored",
     FRESH, [get("MISS", of=1), get("HIT", cc("max-age=soon"), of=1)])
case("9111 5.2.1.1", "req-max-age-quoted", "quotes are no hindrance",
     FRESH, [get("MISS", of=1), get("MISS", cc('max-age="50"'), of=2)])
case("9111 5.2.1.3", "req-min-fresh-above", "min-fresh wants that much left",
     FRESH, [get("MISS", of=1), get("MISS", cc("min-fresh=550"), of=2)])
case("9111 5.2.1.3", "req-min-fresh-below", "and takes what has it",
     FRESH, [get("MISS", of=1), get("HIT", cc("min-fresh=400"), of=1)])
case("9111 5.2.1.7", "req-only-if-cached", "only-if-cached without an entry is 504, and upstream hears nothing",
     [says("max-age=60")], [get(None, cc("only-if-cached"), status=504, asks=0)])
case("9111 5.2.1.7", "req-only-if-cached-hit", "with one it is a hit",
     [says("max-age=60")], [get("MISS", of=1), get("HIT", cc("only-if-cached"), of=1)])
case("9111 5.2.1.7", "req-only-if-cached-stale", "a stale one is none",
     [says("max-age=60", ("ETag", '"a"'), ("Age", "90"))],
     [get("MISS", of=1), get(None, cc("only-if-cached"), status=504, asks=1)])
case("9111 5.2.1.7", "req-only-if-cached-no-cache", "it goes before no-cache, which would ask upstream",
     [says("max-age=60")], [get("MISS", of=1), get(None, cc("only-if-cached, no-cache"), status=504, asks=1)])
case("9111 5.2.1.2", "req-max-stale", "max-stale takes what is stale by no more",
     [says("max-age=60", ("ETag", '"a"'), ("Age", "90"))],
     [get("MISS", of=1), get("STALE", cc("max-stale=100"), of=1, age=(90, 105), asks=1)])
case("9111 5.2.1.2", "req-max-stale-any", "without a value by any age",
     [says("max-age=60", ("ETag", '"a"'), ("Age", "90000"))], [get("MISS", of=1), get("STALE", cc("max-stale"), of=1, asks=1)])
case("9111 5.2.1.2", "req-max-stale-below", "not by more",
     [says("max-age=60", ("ETag", '"a"'), ("Age", "90"))], [get("MISS", of=1), get("MISS", cc("max-stale=20"), of=2)])
case("9111 5.2.1.2", "req-max-stale-must-revalidate", "must-revalidate goes before it",
     [says("max-age=60, must-revalidate", ("ETag", '"a"'), ("Age", "90"))],
     [get("MISS", of=1), get("MISS", cc("max-stale"), of=2)])
for word in ("s-maxage=60", "proxy-revalidate"):
    case("9111 5.2.1.2", f"req-max-stale-{word.split('=')[0]}", f"so does {word.split('=')[0]}, in a shared cache",
         [says(f"max-age=60, {word}", ("ETag", '"a"'), ("Age", "90"))],
         [get("MISS", of=1), get("MISS", cc("max-stale"), of=2)])
case("9111 5.2.1.6", "req-no-transform", "no-transform leaves the hit as it is",
     [says("max-age=60")], [get("MISS", of=1), get("HIT", cc("no-transform"), of=1)])
case("9111 5.2", "req-unknown", "unknown directives are ignored",
     [says("max-age=60")], [get("MISS", of=1), get("HIT", cc("sunny, mild=yes"), of=1)])
case("9111 5.2", "req-response-directives", "so are those of answers",
     [says("max-age=60")], [get("MISS", of=1), get("HIT", cc("private, must-revalidate, s-maxage=0"), of=1)])
case("9111 5.4", "req-pragma", "Pragma: no-cache alone means Cache-Control: no-cache",
     [says("max-age=60")], [get("MISS", of=1), get("MISS", ("Pragma", "no-cache"), of=2)])
case("9111 5.4", "req-pragma-with-cc", "beside Cache-Control it means nothing",
     [says("max-age=60")], [get("MISS", of=1), get("HIT", ("Pragma", "no-cache"), cc("max-age=60"), of=1)])
case("9111 5.4", "req-pragma-unknown", "nor does any other word of it",
     [says("max-age=60")], [get("MISS", of=1), get("HIT", ("Pragma", "sunny"), of=1)])
case("9111 5.2.1", "req-not-forwarded-in-key", "what is asked of the cache does not part the key",
     [says("max-age=60")], [get("MISS", cc("max-age=300"), of=1), get("HIT", cc("min-fresh=1"), of=1), get("HIT", of=1)])
