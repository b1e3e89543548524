/*
 * hiredis_compat - what differs between hiredis 0.14 (Debian 12) and 1.x (Debian 13).
 */
#pragma once
#include <hiredis/hiredis.h>

#if HIREDIS_MAJOR >= 1
typedef size_t hiredis_array_len;
#else
typedef int hiredis_array_len;
#endif
