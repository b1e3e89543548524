/*
 * cli_complete - completion scripts for shells. A script asks the program itself, by `refrain completion
 * words`: so it never knows other commands, flags, values or options than the program that is installed.
 */
#pragma once
#include "cli.h"

/** Prints the script for "bash", "zsh" or "fish"; false: another shell. */
bool cli_complete_script(FILE *to, const char *shell);
/** Prints what the last of @words (those behind "refrain") may be, one a line: the word, a tab, what it is. A
 * line that is ":files" says that files are meant. */
void cli_complete_words(FILE *to, const struct command *const *commands, int words_n,
                        const char *const *words);
