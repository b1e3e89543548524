/* page - a page of documentation, for tests that hold it against the tables it tells of. Behind cmocka.h. */
#pragma once
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_BYTES_MAX = 1 << 20 };

/* The file that the program's first argument names; the caller frees it. */
static inline char *test_page_read(int argc, char **argv)
{
    char *text = calloc(1, PAGE_BYTES_MAX);
    FILE *file;

    assert(argc > 1 && text);
    file = fopen(argv[1], "r");
    assert(file);
    (void)!fread(text, 1, PAGE_BYTES_MAX - 1, file);
    (void)fclose(file);
    return text;
}

static inline void test_page_has(const char *page, const char *line)
{
    if (!strstr(page, line))
        fail_msg("the page lacks:\n%s", line);
}
