/* cmd_version.c - what this binary is, what it runs with and what it reads and feeds.
 */
#include <event2/event.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <string.h>

#include "base/json.h"
#include "cmd.h"
#include "config.h" /* PACKAGE_VERSION */
#include "registry.h"

const struct dgf_arg dgf_args_version[] = {DGF_ARG_FORMAT, DGF_ARG_END};

static void print_human(void)
{
    const struct dgf_source_type *source;
    const struct dgf_sink_type *sink;

    printf("dgf %s\nlibevent %s\nsqlite %s\n%s\nsources:", PACKAGE_VERSION,
           event_get_version(), sqlite3_libversion(), OpenSSL_version(OPENSSL_VERSION));
    for (size_t i = 0; (source = dgf_source_type_at(i)); i++)
        printf(" %s", source->name);
    printf("\nsinks:");
    for (size_t i = 0; (sink = dgf_sink_type_at(i)); i++)
        printf(" %s", sink->name);
    printf("\n");
}

static void add(struct dgf_json *json, const char *key, const char *text)
{
    dgf_json_key(json, key);
    dgf_json_str(json, text);
}

static int print_json(void)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf out = {0};
    struct dgf_json json;
    const struct dgf_source_type *source;
    const struct dgf_sink_type *sink;

    dgf_buf_init(&out, 64 * 1024);
    json = dgf_json_of(&out);
    dgf_json_begin_object(&json);
    add(&json, "dgf", PACKAGE_VERSION);
    add(&json, "libevent", event_get_version());
    add(&json, "sqlite", sqlite3_libversion());
    add(&json, "openssl", OpenSSL_version(OPENSSL_VERSION));
    dgf_json_key(&json, "sources");
    dgf_json_begin_array(&json);
    for (size_t i = 0; (source = dgf_source_type_at(i)); i++)
        dgf_json_str(&json, source->name);
    dgf_json_end_array(&json);
    dgf_json_key(&json, "sinks");
    dgf_json_begin_array(&json);
    for (size_t i = 0; (sink = dgf_sink_type_at(i)); i++)
        dgf_json_str(&json, sink->name);
    dgf_json_end_array(&json);
    dgf_json_end_object(&json);
    dgf_buf_add_byte(&out, '\n');
    (void)dgf_buf_write(&out, stdout);
    return dgf_buf_rc(&out) ? DGF_EXIT_CANNOT : DGF_EXIT_OK;
}

int dgf_cmd_version(int argc, char **argv)
{
    struct dgf_args args;
    const char *format;
    int exit_code = dgf_args_read("version", dgf_args_version, argc, argv, &args);

    if (exit_code)
        return exit_code;
    format = dgf_args_get(&args, "format");
    if (args.n_operands)
        return dgf_usage("version", "unexpected '%s'", args.operands[0]);
    if (format && strcmp(format, "json") == 0)
        return print_json();
    if (format && strcmp(format, "human") != 0)
        return dgf_usage("version", "--format must be human or json");
    print_human();
    return DGF_EXIT_OK;
}
