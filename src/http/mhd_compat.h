/*
 * mhd_compat - what differs between the libmicrohttpd of Debian 12 (0.9.75) and that of Debian 13 (1.0). The
 * one place in the tree that asks for a version.
 */
#pragma once
#include <microhttpd.h>

#if MHD_VERSION >= 0x01000000
/* Strict, it answers a folded line or a bare LF with one 400 by itself; lenient, it mends them before we can
 * see. */
enum { MHD_COMPAT_STRICT = 1 };
#else
/* What it refuses by itself it answers badly (twice) or not at all; the guard refuses more, and well. */
enum { MHD_COMPAT_STRICT = 0 };
#endif
