"""The scenario harness: a scripted client, a scripted upstream, and the real binary between them."""
