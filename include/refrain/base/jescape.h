/*
 * jescape - the escapes of one letter in JSON's strings. RFC 8259 section 7.
 */
#pragma once
#include <stdint.h>

/** The letter behind the backslash for @code; 0 where it needs \u, or no escape. Threads: any. */
static inline char jescape_letter(uint32_t code)
{
    switch (code) {
    case '"':
    case '\\':
        return (char)code;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

/** What @letter stands for behind a backslash; 0: it is none such. Threads: any. */
static inline char jescape_meant(char letter)
{
    switch (letter) {
    case '"':
    case '\\':
    case '/':
        return letter;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return 0;
    }
}
