# Varnish as a POST cache: the body is read ahead and hashed (SHA-256) by the bodyaccess module. @WORDS@: see bench.py.
vcl 4.1;
import std;
import bodyaccess;

backend upstream { .host = "127.0.0.1"; .port = "@UPSTREAM@"; }

sub vcl_recv {
    std.cache_req_body(512KB);
    return (hash);
}

sub vcl_hash {
    bodyaccess.hash_req_body();
}

sub vcl_backend_fetch {
    set bereq.method = "POST"; # the built-in code asks with GET on a miss
    return (fetch);
}

sub vcl_backend_response {
    set beresp.ttl = 1d;
    return (deliver);
}

sub vcl_deliver {
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    } else {
        set resp.http.X-Cache = "MISS";
    }
}
