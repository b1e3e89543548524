/*
 * cli_roff - man pages, made from the rows of the commands.
 */
#pragma once
#include "cli.h"

/** refrain(1). */
void cli_roff_overview(FILE *to, const struct command *const *commands);
/** refrain-COMMAND(1). */
void cli_roff_command(FILE *to, const struct command *c);
