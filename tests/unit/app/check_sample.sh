#!/usr/bin/env bash
# The sample is good as it stands, without a warning, and every option turned on that it has commented out.
set -euo pipefail
refrain=$1 sample=$2
dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT
# Only that what it keeps on disk has a place is the machine's business.
sed 's#/var/lib/refrain/#'"$dir"'/#' "$sample" >"$dir/sample.yaml"
sample=$dir/sample.yaml schema=$(dirname "$2")/refrain.schema.json
env -i "$refrain" config check --strict --config "$sample"

sed -E 's/^( *)#([a-z])/\1\2/; s/^( *)#(  [a-z])/\1\2/; s#/etc/(refrain|ssl/certs)/#'"$dir"'/#g' "$sample" >"$dir/all.yaml"
if cmp -s "$sample" "$dir/all.yaml"; then exit 1; fi
install -m 0600 /dev/stdin "$dir/admin.token" <<<0123456789abcdef
install -m 0600 /dev/stdin "$dir/cache.secret" <<<0123456789abcdef
install -m 0600 /dev/stdin "$dir/encryption.key" <<<0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
install -m 0600 /dev/stdin "$dir/redis.password" <<<0123456789abcdef
install -m 0600 /dev/stdin "$dir/openai.key" <<<sk-0123456789abcdef
install -m 0600 /dev/stdin "$dir/anthropic.key" <<<sk-ant-0123456789abcdef
install -m 0644 /dev/null "$dir/internal.pem"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=cache.internal \
    -keyout "$dir/tls.key" -out "$dir/tls.pem" 2>"$dir/openssl.log"
install -m 0644 "$(dirname "$2")/pricing-2026-11.yaml" "$dir"
env -i "$refrain" config check --strict --config "$dir/all.yaml"
env -i "$refrain" config show --config "$dir/all.yaml" >"$dir/shown" # a pipe would break at the first match
grep -q '^upstreams.openai.headers.remove: \[Cookie\]' "$dir/shown"
grep -q '^pricing\[0\].model: \[my-finetune-\*\]' "$dir/shown" # one's own row, …
grep -q '^pricing\[1\].model: \[gpt-5-nano\*\]' "$dir/shown"   # … then those of the file

# The schema knows every name of both.
python3 - "$schema" "$sample" "$dir/all.yaml" <<'EOF'
import json
import sys

import yaml


def unknown(value, schema, path):
    """Names in @value that @schema does not have."""
    if isinstance(value, dict):
        for name, inner in value.items():
            known = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if not known:
                yield f"{path}.{name}"
            else:
                yield from unknown(inner, known, f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from unknown(inner, schema["items"], f"{path}[]")


schema = json.load(open(sys.argv[1]))
missing = [name for file in sys.argv[2:] for name in unknown(yaml.safe_load(open(file)), schema, "")]
assert not missing, missing
EOF
