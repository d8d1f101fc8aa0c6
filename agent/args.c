#include "cmd.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "bus/words.h"

int dgf_usage(const char *command, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "dgf %s: ", command);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "; see 'dgf help %s'\n", command);
    return DGF_EXIT_USAGE;
}

static int unknown_word(const char *command, const char *what, const char *word,
                        const char *const *words, size_t n)
{
    const char *near = dgf_nearest(word, words, n);

    if (near)
        return dgf_usage(command, "unknown %s '%s'; did you mean '%s'?", what, word,
                         near);
    return dgf_usage(command, "unknown %s '%s'", what, word);
}

int dgf_usage_kind(const char *command, const char *word)
{
    const char *words[DGF_RECORD_N];

    for (int i = 0; i < DGF_RECORD_N; i++)
        words[i] = dgf_record_kind_text((enum dgf_record_kind)i);
    return unknown_word(command, "kind", word, words, DGF_RECORD_N);
}

int dgf_usage_severity(const char *command, const char *word)
{
    const char *words[DGF_SEVERITY_N];

    for (int i = 0; i < DGF_SEVERITY_N; i++)
        words[i] = dgf_severity_text((enum dgf_severity)i);
    return unknown_word(command, "severity", word, words, DGF_SEVERITY_N);
}

bool dgf_colour(FILE *out)
{
    const char *no = getenv("NO_COLOR");

    return isatty(fileno(out)) && !(no && *no);
}

static int find_row(const struct dgf_arg *table, const char *name, size_t len)
{
    for (int i = 0; table[i].name; i++)
        if (strlen(table[i].name) == len && strncmp(table[i].name, name, len) == 0)
            return i;
    return -1;
}

static int find_letter(const struct dgf_arg *table, char letter)
{
    for (int i = 0; table[i].name; i++)
        if (table[i].letter && table[i].letter == letter)
            return i;
    return -1;
}

static int no_such(const char *command, const struct dgf_arg *table, const char *word)
{
    const char *names[DGF_ARGS_MAX];
    const char *near;
    size_t n = 0;

    while (n < DGF_ARGS_MAX && table[n].name) {
        names[n] = table[n].name;
        n++;
    }
    near = dgf_nearest(word + strspn(word, "-"), names, n);
    if (near)
        return dgf_usage(command, "unknown option '%s'; did you mean '--%s'?", word,
                         near);
    return dgf_usage(command, "unknown option '%s'", word);
}

/* One option at argv[*at]; moves *at past its value. */
static int read_option(const struct dgf_arg *table, int argc, char **argv, int *at,
                       struct dgf_args *ret)
{
    char *word = argv[*at];
    bool is_long = word[1] == '-';
    char *equals = is_long ? strchr(word, '=') : NULL;
    size_t len = equals ? (size_t)(equals - word - 2) : strlen(word) - 2;
    int row = is_long ? find_row(table, word + 2, len) : find_letter(table, word[1]);
    const char *value = "";

    if (row < 0 || (!is_long && word[2] && !table[row].value))
        return no_such(ret->command, table, word);
    if (ret->values[row] && !table[row].repeats)
        return dgf_usage(ret->command, "option '--%s' is given twice", table[row].name);
    if (!table[row].value) {
        if (equals)
            return dgf_usage(ret->command, "option '--%s' takes no value",
                             table[row].name);
    } else if (equals) {
        value = equals + 1;
    } else if (!is_long && word[2]) {
        value = word + 2;
    } else if (*at + 1 < argc) {
        value = argv[++*at];
    } else {
        return dgf_usage(ret->command, "option '--%s' needs a value: %s",
                         table[row].name, table[row].value);
    }
    if (table[row].repeats && ret->n_repeated == DGF_ARGS_REPEATED_MAX)
        return dgf_usage(ret->command, "option '--%s' is given too often",
                         table[row].name);
    if (table[row].repeats) {
        ret->repeated[ret->n_repeated].row = row;
        ret->repeated[ret->n_repeated++].value = value;
    }
    ret->values[row] = value;
    return 0;
}

int dgf_args_read(const char *command, const struct dgf_arg *table, int argc,
                  char **argv, struct dgf_args *ret)
{
    int n = 0, at, exit_code;

    *ret = (struct dgf_args){.command = command, .table = table};
    for (at = 1; at < argc; at++) {
        if (strcmp(argv[at], "--") == 0) {
            while (++at < argc)
                argv[1 + n++] = argv[at];
            break;
        }
        if (argv[at][0] != '-' || argv[at][1] == '\0') {
            argv[1 + n++] = argv[at];
            continue;
        }
        exit_code = read_option(table, argc, argv, &at, ret);
        if (exit_code)
            return exit_code;
    }
    ret->operands = argv + 1;
    ret->n_operands = n;
    return 0;
}

const char *dgf_args_get(const struct dgf_args *args, const char *name)
{
    int row = find_row(args->table, name, strlen(name));

    return row < 0 ? NULL : args->values[row];
}

bool dgf_args_has(const struct dgf_args *args, const char *name)
{
    return dgf_args_get(args, name) != NULL;
}

size_t dgf_args_all(const struct dgf_args *args, const char *name, const char **to)
{
    int row = find_row(args->table, name, strlen(name));
    size_t n = 0;

    for (int i = 0; i < args->n_repeated; i++)
        if (args->repeated[i].row == row)
            to[n++] = args->repeated[i].value;
    return n;
}
