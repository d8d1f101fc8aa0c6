/* cmd_version.c - what this binary is and what it runs with. */
#include <event2/event.h>
#include <openssl/crypto.h>
#include <sqlite3.h>

#include "cmd.h"
#include "config.h" /* PACKAGE_VERSION */

const struct dgf_arg dgf_args_version[] = {DGF_ARG_END};

int dgf_cmd_version(int argc, char **argv)
{
    struct dgf_args args;
    int exit_code = dgf_args_read("version", dgf_args_version, argc, argv, &args);

    if (exit_code)
        return exit_code;
    printf("dgf %s\nlibevent %s\nsqlite %s\n%s\n", PACKAGE_VERSION, event_get_version(),
           sqlite3_libversion(), OpenSSL_version(OPENSSL_VERSION));
    return DGF_EXIT_OK;
}
