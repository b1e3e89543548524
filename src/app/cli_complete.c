#include "cli_complete.h"

#include <string.h>

#include "config_table.h"
#include "refrain/base/attr.h"
#include "refrain/base/slice.h"

/* -- scripts -- */

static const char bash_script[] =
    "# Completion of refrain for bash. It asks refrain itself.\n"
    "_refrain() {\n"
    "    local program=${COMP_WORDS[0]/#\\~/$HOME} words=() word what prefix=\n"
    "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD}\"; do # bash takes = for a word of its own\n"
    "        if [[ ${#words[@]} -gt 0 && ( $word == = || ${words[-1]} == *= ) ]]; then\n"
    "            words[-1]+=$word\n"
    "        else\n"
    "            words+=(\"$word\")\n"
    "        fi\n"
    "    done\n"
    "    [[ $COMP_WORDBREAKS == *=* && ${words[-1]} == *=* ]] && prefix=${words[-1]%=*}=\n"
    "    COMPREPLY=()\n"
    "    while IFS=$'\\t' read -r word what; do\n"
    "        if [[ $word == :files ]]; then\n"
    "            compopt -o filenames 2>/dev/null\n"
    "            mapfile -t COMPREPLY < <(compgen -f -- \"${words[-1]#\"$prefix\"}\")\n"
    "        elif [[ $word == \"${words[-1]}\"* ]]; then\n"
    "            [[ $word == *= ]] && compopt -o nospace 2>/dev/null\n"
    "            COMPREPLY+=(\"${word#\"$prefix\"}\")\n"
    "        fi\n"
    "    done < <(\"$program\" completion --of \"$(printf ':%s\\n' \"${words[@]}\")\" 2>/dev/null)\n"
    "}\n"
    "complete -F _refrain refrain\n";

static const char zsh_script[] =
    "#compdef refrain\n"
    "# Completion of refrain for zsh. It asks refrain itself.\n"
    "_refrain() {\n"
    "    local -a done open\n"
    "    local of line word what\n"
    "    for word in \"${(@)words[2,CURRENT]}\"; do\n"
    "        of+=\":$word\"$'\\n'\n"
    "    done\n"
    "    \"${(Q)words[1]}\" completion --of \"$of\" 2>/dev/null | while IFS= read -r line; do\n"
    "        word=${line%%$'\\t'*} what=${line#*$'\\t'}\n"
    "        if [[ $word == :files ]]; then\n"
    "            compset -P '--[a-z-]##='\n"
    "            _files\n"
    "        elif [[ $word == *= ]]; then\n"
    "            open+=(\"${word//:/\\\\:}:$what\")\n"
    "        else\n"
    "            done+=(\"${word//:/\\\\:}:$what\")\n"
    "        fi\n"
    "    done\n"
    "    (( $#done )) && _describe -o refrain done\n"
    "    (( $#open )) && _describe -o refrain open -S ''\n"
    "}\n"
    "if [[ ${funcstack[1]} == _refrain ]]; then\n"
    "    _refrain \"$@\"\n"
    "else\n"
    "    compdef _refrain refrain\n"
    "fi\n";

static const char fish_script[] =
    "# Completion of refrain for fish. It asks refrain itself.\n"
    "function __refrain_complete\n"
    "    set -l words (commandline -opc)\n"
    "    set -l current (commandline -ct)\n"
    "    set -l of\n"
    "    for word in $words[2..]\n"
    "        set of $of \":$word\"\n"
    "    end\n"
    "    set of $of \":$current\"\n"
    "    $words[1] completion --of (string join \\n -- $of | string collect) 2>/dev/null | "
    "while read -l line\n"
    "        if test \"$line\" = :files\n"
    "            __fish_complete_path $current\n"
    "        else\n"
    "            echo $line\n"
    "        end\n"
    "    end\n"
    "end\n"
    "complete -c refrain -f -a '(__refrain_complete)'\n";

bool cli_complete_script(FILE *to, const char *shell)
{
    static const struct {
        const char *shell, *script;
    } scripts[] = {{"bash", bash_script}, {"zsh", zsh_script}, {"fish", fish_script}};

    for (size_t i = 0; i < ARRAY_LEN(scripts); i++)
        if (strcmp(scripts[i].shell, shell) == 0) {
            (void)fputs(scripts[i].script, to);
            return true;
        }
    return false;
}

/* -- candidates -- */

/* One that may be meant. @before is what stands in front of it in the same word: "--color=". */
static void offer(FILE *to, struct slice before, const char *word, size_t len, const char *end,
                  const char *what)
{
    (void)fprintf(to, "%.*s%.*s%s\t%s\n", (int)before.len, before.data ? before.data : "", (int)len, word,
                  end, what);
}

static void offer_all(FILE *to, struct slice before, const char *const *choices, const char *what)
{
    for (; choices && *choices; choices++)
        offer(to, before, *choices, strlen(*choices), "", what);
}

/* The word of each command behind @before, once each: the first of all, or the second of a group. */
static void offer_commands(FILE *to, const struct command *const *commands, const char *group)
{
    size_t skip = strlen(group);

    for (size_t i = 0; commands[i]; i++) {
        const char *rest = commands[i]->name + skip;
        size_t len;
        bool known = false;

        if (strncmp(commands[i]->name, group, skip) != 0)
            continue;
        len = strcspn(rest, " ");
        for (size_t k = 0; k < i; k++)
            known = known || strncmp(commands[k]->name, commands[i]->name, skip + len + 1) == 0;
        if (!known)
            offer(to, (struct slice){NULL, 0}, rest, len, "",
                  rest[len] ? "More commands." : commands[i]->help);
    }
}

static const struct option_row *option_of(struct slice name)
{
    for (size_t i = 0; i < option_sections[0]->rows_n; i++)
        if (slice_eq(slice_str(option_sections[0]->rows[i].name), name))
            return &option_sections[0]->rows[i];
    return NULL;
}

/* Names of options, or what one may be set to. @word: "log.le", "log.level=de". */
static void offer_settings(FILE *to, struct slice before, struct slice word)
{
    static const char *const truths[] = {"true", "false", NULL};
    struct slice value = word, name = slice_cut(&value, '=');
    const struct option_row *row = value.data ? option_of(name) : NULL;
    struct slice in_front = {before.data ? before.data : word.data, before.len + name.len + 1};

    if (row) {
        offer_all(to, in_front, row->type == OPTION_BOOL ? truths : row->choices, row->help);
        return;
    }
    for (size_t i = 0; !value.data && i < option_sections[0]->rows_n; i++)
        offer(to, before, option_sections[0]->rows[i].name, strlen(option_sections[0]->rows[i].name), "=",
              option_sections[0]->rows[i].help);
}

/* What may be the value of a flag. @before and @word lie behind each other. */
static void offer_values(FILE *to, const struct cli_flag *flag, struct slice before, struct slice word)
{
    if (flag->choices)
        offer_all(to, before, flag->choices, flag->help);
    else if (strcmp(flag->arg, "FILE") == 0)
        (void)fputs(":files\n", to);
    else if (strcmp(flag->arg, "NAME=VALUE") == 0)
        offer_settings(to, before, word);
}

/* The flag that @word names, "--tier" or "--tier=memory"; NULL: none. */
static const struct cli_flag *flag_of(const struct command *c, struct slice word)
{
    struct slice name = slice_starts(word, SLICE_OF("--")) ? slice_skip(word, 2) : SLICE_OF("");

    name = slice_cut(&name, '=');
    for (const struct cli_flag *const *list = c->flags; *list; list++)
        for (const struct cli_flag *f = *list; f->name; f++)
            if (slice_eq(slice_str(f->name), name))
                return f;
    return NULL;
}

static void offer_flags(FILE *to, const struct command *c)
{
    for (const struct cli_flag *const *list = c->flags; *list; list++)
        for (const struct cli_flag *f = *list; f->name; f++)
            offer(to, SLICE_OF("--"), f->name, strlen(f->name), "", f->help);
    offer(to, SLICE_OF("--"), cli_help_flag.name, strlen(cli_help_flag.name), "", cli_help_flag.help);
}

static void offer_words(FILE *to, const struct command *const *commands, const struct command *c)
{
    switch (c->words) {
    case CLI_WORDS_FILE:
        (void)fputs(":files\n", to);
        break;
    case CLI_WORDS_CHOICE:
        offer_all(to, (struct slice){NULL, 0}, c->word_choices, c->help);
        break;
    case CLI_WORDS_COMMAND:
        offer_commands(to, commands, "");
        break;
    case CLI_WORDS_NONE:
        break;
    }
}

/* "new" behind "clients", which is a command itself. */
static void offer_longer(FILE *to, const struct command *const *commands, const struct command *c)
{
    char group[64];

    (void)snprintf(group, sizeof(group), "%s ", c->name);
    offer_commands(to, commands, group);
}

/* Of a command's own words, the first of which is words[0]. */
static void offer_arguments(FILE *to, const struct command *const *commands, const struct command *c, int n,
                            const char *const *words)
{
    struct slice last = slice_str(words[n - 1]), value = last, before;
    const struct cli_flag *flag =
        n > 1 && !strchr(words[n - 2], '=') ? flag_of(c, slice_str(words[n - 2])) : NULL;

    if (flag && flag->arg) {
        offer_values(to, flag, (struct slice){NULL, 0}, last);
        return;
    }
    before = slice_cut(&value, '=');
    before.len++;
    flag = value.data ? flag_of(c, last) : NULL;
    if (flag && flag->arg) {
        offer_values(to, flag, before, value);
    } else if (slice_starts(last, SLICE_OF("-"))) {
        offer_flags(to, c);
    } else {
        if (n == 1) {
            offer_longer(to, commands, c);
            offer_words(to, commands, c);
        }
        if (last.len == 0 && c->words == CLI_WORDS_NONE)
            offer_flags(to, c);
    }
}

void cli_complete_words(FILE *to, const struct command *const *commands, int words_n,
                        const char *const *words)
{
    static const char *const programs_own[] = {"--help", "--version", NULL};
    const struct command *c;
    int taken = 0;
    char group[64];

    if (words_n < 1)
        return;
    c = cli_find(commands, words_n - 1, words, &taken);
    if (c) {
        offer_arguments(to, commands, c, words_n - taken, words + taken);
    } else if (words_n == 1) {
        offer_commands(to, commands, "");
        offer_all(to, (struct slice){NULL, 0}, programs_own, "Of Refrain itself.");
    } else {
        (void)snprintf(group, sizeof(group), "%s ", words[0]);
        offer_commands(to, commands, group);
    }
}
