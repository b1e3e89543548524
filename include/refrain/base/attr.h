/*
 * attr - the few compiler attributes the tree uses, under readable names.
 */
#pragma once

/* Runs @fn on the variable's address when it leaves scope, on every path. */
#define AUTO(fn) __attribute__((cleanup(fn)))

#define ATTR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define ATTR_UNUSED            __attribute__((unused))
#define ATTR_MUST_USE          __attribute__((warn_unused_result))

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - __builtin_offsetof(type, member)))
