/* cmd_help.c - help, made from the table of commands and their options. */
#include <string.h>

#include "cmd.h"

const struct dgf_arg dgf_args_help[] = {DGF_ARG_END};

struct row {
    const char *name, *operands, *summary;
    const struct dgf_arg *args;
};

#define COMMAND(name, operands, summary) {#name, operands, summary, dgf_args_##name},
static const struct row rows[] = {
#include "commands.def"
};
#undef COMMAND

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static void print_all(void)
{
    printf("dgf watches what really happens inside databases and proves whether it was "
           "allowed.\n\nusage: dgf COMMAND [options]\n\n");
    for (size_t i = 0; i < N_ROWS; i++)
        printf("  %-9s %s\n", rows[i].name, rows[i].summary);
    printf(
        "\n'dgf help COMMAND' prints the options of a command.\n"
        "exit: 0 done, 1 findings, 2 cannot run, 64 usage, 70 fail-closed, "
        "71 storage cannot be\ntrusted, 75 another agent owns the data directory, "
        "76 fork or tampering, 78 configuration\n"
        "signals of 'run': TERM drains and ends within 10 s, HUP reads the policies "
        "again, USR1\nwrites status.json.  NO_COLOR in the environment turns colours "
        "off.\n");
}

static void print_one(const struct row *row)
{
    printf("usage: dgf %s%s%s [options]\n%s\n", row->name, *row->operands ? " " : "",
           row->operands, row->summary);
    if (row->args[0].name)
        printf("\n");
    for (const struct dgf_arg *arg = row->args; arg->name; arg++) {
        char left[64];
        int n = arg->letter
                    ? snprintf(left, sizeof(left), "-%c, --%s", arg->letter, arg->name)
                    : snprintf(left, sizeof(left), "    --%s", arg->name);

        if (arg->value && n > 0 && (size_t)n < sizeof(left))
            snprintf(left + n, sizeof(left) - (size_t)n, " %s", arg->value);
        printf("  %-26s %s\n", left, arg->help);
    }
}

int dgf_cmd_help(int argc, char **argv)
{
    if (argc < 2) {
        print_all();
        return DGF_EXIT_OK;
    }
    for (size_t i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].name, argv[1]) == 0) {
            print_one(&rows[i]);
            return DGF_EXIT_OK;
        }
    return dgf_usage("help", "unknown command '%s'", argv[1]);
}
