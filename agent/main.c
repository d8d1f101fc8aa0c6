/* main.c - finds the command; nothing else. */
#include <signal.h>
#include <string.h>

#include "base/parse.h"
#include "cmd.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
};

#define COMMAND(name, operands, summary) {#name, dgf_cmd_##name},
static const struct command commands[] = {
#include "commands.def"
};
#undef COMMAND

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int unknown(const char *word)
{
    const char *names[N_COMMANDS];
    const char *near;

    for (size_t i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i].name;
    near = dgf_nearest(word, names, N_COMMANDS);
    if (near)
        fprintf(stderr, "dgf: unknown command '%s'; did you mean '%s'?\n", word, near);
    else
        fprintf(stderr, "dgf: unknown command '%s'; see 'dgf help'\n", word);
    return DGF_EXIT_USAGE;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* `dgf COMMAND ... --help` is `dgf help COMMAND`. */
static bool wants_help(int argc, char **argv)
{
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (is_help(argv[i]))
            return true;
    return false;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "help";

    signal(SIGPIPE, SIG_IGN);
    if (is_help(word))
        word = "help";
    if (wants_help(argc, argv))
        return dgf_cmd_help(2, argv);
    if (strcmp(word, "--version") == 0)
        word = "version";
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, word) == 0)
            return commands[i].run(argc > 1 ? argc - 1 : argc,
                                   argc > 1 ? argv + 1 : argv);
    return unknown(word);
}
