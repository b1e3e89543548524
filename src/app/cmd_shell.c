/* completion, man: what shells and the manual are given, made from the rows of the commands. */
#include <stdio.h>
#include <string.h>

#include "cli_complete.h"
#include "cli_roff.h"
#include "commands.h"
#include "pool.h"
#include "refrain/base/attr.h"
#include "refrain/base/slice.h"

enum { LINE_WORDS_MAX = 512 };

static int flushed(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_DONE;
    (void)fputs("refrain: could not write all of it\n", stderr);
    return EXIT_COULD_NOT;
}

/* @of: the words so far, one a line, each behind a colon, so that an empty one can be told. */
static int complete(const struct cli *cli, const char *of)
{
    AUTO(pool_done) struct pool pool = POOL_INIT;
    const char *words[LINE_WORDS_MAX];
    struct slice rest = slice_str(of);
    int n = 0;

    while (rest.data && n < LINE_WORDS_MAX) {
        struct slice line = slice_cut(&rest, '\n');

        if (slice_starts(line, SLICE_OF(":")))
            words[n++] = pool_text(&pool, slice_skip(line, 1));
    }
    cli_complete_words(stdout, cli->commands, n, words);
    return flushed();
}

static int cmd_completion(const struct cli *cli)
{
    const char *of = cli_value(cli, "of");

    if (of)
        return complete(cli, of);
    if (cli->words_n == 1 && cli_complete_script(stdout, cli->words[0]))
        return flushed();
    (void)fputs("refrain: completion: expected bash, zsh or fish\n", stderr);
    return EXIT_COULD_NOT;
}

static int cmd_man(const struct cli *cli)
{
    const struct command *c;
    int taken = 0;

    if (cli->words_n == 0) {
        cli_roff_overview(stdout, cli->commands);
        return flushed();
    }
    c = cli_find(cli->commands, (int)cli->words_n, cli->words, &taken);
    if (!c || (size_t)taken != cli->words_n) {
        (void)fprintf(stderr, "refrain: man: %s: no such command; `refrain --help` lists them\n",
                      cli->words[0]);
        return EXIT_COULD_NOT;
    }
    cli_roff_command(stdout, c);
    return flushed();
}

static const char *const shells[] = {"bash", "zsh", "fish", NULL};
static const struct cli_flag completion_flags[] = {
    {"of", "WORDS", "Tell what the last of these may be; the scripts ask so.", NULL},
    {NULL, NULL, NULL, NULL},
};
static const struct cli_flag *const completion_lists[] = {completion_flags, NULL};
static const struct cli_flag *const no_lists[] = {NULL};

static const struct cli_example completion_examples[] = {
    {"refrain completion bash > ~/.local/share/bash-completion/completions/refrain", NULL},
    {"refrain completion zsh > ~/.zfunc/_refrain", "with fpath+=~/.zfunc before compinit"},
    {"refrain completion fish > ~/.config/fish/completions/refrain.fish", NULL},
    {NULL, NULL},
};
const struct command command_completion = {
    .name = "completion",
    .args = "bash|zsh|fish",
    .help = "Print a shell's completion script.",
    .group = GROUP_SHELL,
    .flags = completion_lists,
    .run = cmd_completion,
    .about = "`meson install` puts them where the shells find them.\n",
    .examples = completion_examples,
    .words = CLI_WORDS_CHOICE,
    .word_choices = shells,
};

static const struct cli_example man_examples[] = {
    {"refrain man | man -l -", NULL},
    {"refrain man keys | man -l -", NULL},
    {NULL, NULL},
};
const struct command command_man = {
    .name = "man",
    .args = "[COMMAND]",
    .help = "Print a man page.",
    .group = GROUP_SHELL,
    .flags = no_lists,
    .run = cmd_man,
    .about = "`meson install` installs all of them: refrain(1), refrain-keys(1) ...\n",
    .examples = man_examples,
    .words = CLI_WORDS_COMMAND,
};
