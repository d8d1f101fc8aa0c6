/* cmd.h - the commands of dgf, one file each, and how they read their options.
 *
 * A command is cmd_<name>.c with `int dgf_cmd_<name>(int argc, char **argv)`
 * (argv[0] is the command's own name) and its option table
 * `const struct dgf_arg dgf_args_<name>[]`, plus one row in commands.def.  Help
 * and completion are made from those tables.  Exit codes: below. */
#ifndef DGF_CMD_H
#define DGF_CMD_H

#include <stdbool.h>
#include <stdio.h>

enum dgf_exit {
    DGF_EXIT_OK = 0,
    DGF_EXIT_FINDINGS = 1, /* findings; ledger: tampered */
    DGF_EXIT_CANNOT = 2,   /* cannot run; ledger: incomplete */
    DGF_EXIT_UNVERIFIABLE = 3,
    DGF_EXIT_USAGE = 64,
    DGF_EXIT_FAIL_CLOSED = 70,
    DGF_EXIT_STORAGE = 71, /* storage cannot be trusted */
    DGF_EXIT_OWNED = 75,   /* another agent owns this data directory */
    DGF_EXIT_FORK = 76,
    DGF_EXIT_CONFIG = 78,
};

/* One option: --name or -letter; value names its argument, NULL: a flag. */
struct dgf_arg {
    const char *name;
    char letter; /* 0: none */
    const char *value;
    const char *help;
    bool repeats; /* may be given more than once: dgf_args_all() */
};

#define DGF_ARGS_MAX 24
#define DGF_ARGS_REPEATED_MAX 64
#define DGF_ARG_END  \
    {                \
        .name = NULL \
    }
#define DGF_ARG_FORMAT                         \
    {                                          \
        "format", 0, "FORMAT", "human or json" \
    }
#define DGF_ARG_CONFIG                                         \
    {                                                          \
        "config", 'c', "FILE", "configuration file (dgf.yaml)" \
    }

struct dgf_args {
    const char *command;
    const struct dgf_arg *table;
    const char *values[DGF_ARGS_MAX]; /* by row; "" for a flag that was given */
    struct {
        int row;
        const char *value;
    } repeated[DGF_ARGS_REPEATED_MAX]; /* of options that may repeat: all, in order */
    int n_repeated;
    char **operands; /* what was left */
    int n_operands;
};

/* Reads argv by the table (--name=value and --name value, -c value, --).  0, or
 * DGF_EXIT_USAGE after saying on stderr what is wrong and what is meant. */
int dgf_args_read(const char *command, const struct dgf_arg *table, int argc,
                  char **argv, struct dgf_args *ret);
const char *dgf_args_get(const struct dgf_args *args,
                         const char *name); /* NULL: not given */
bool dgf_args_has(const struct dgf_args *args, const char *name);
/* All values of an option that may repeat; to has room for DGF_ARGS_REPEATED_MAX. */
size_t dgf_args_all(const struct dgf_args *args, const char *name, const char **to);
/* stderr: "dgf <command>: text" and a hint at help; returns DGF_EXIT_USAGE. */
int dgf_usage(const char *command, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The same for a word that is none of its kind: "unknown kind 'x'; did you mean 'y'?"
 */
int dgf_usage_kind(const char *command, const char *word);
int dgf_usage_severity(const char *command, const char *word);
/* Is out a terminal on which colours are wanted (NO_COLOR)? */
bool dgf_colour(FILE *out);

#define COMMAND(name, operands, summary)       \
    int dgf_cmd_##name(int argc, char **argv); \
    extern const struct dgf_arg dgf_args_##name[];
#include "commands.def"
#undef COMMAND

#endif
