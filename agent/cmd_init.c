/* cmd_init.c - a first configuration and a first policy, ready to be edited. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cmd.h"
#include "keys.h"

const struct dgf_arg dgf_args_init[] = {
    {"dir", 'd', "FOLDER", "where to write (default: here)"},
    DGF_ARG_FORMAT,
    DGF_ARG_END};

static const char config_text[] =
    "# dgf.yaml - everything that is not said here has a default; all options:\n"
    "#   dgf config reference\n"
    "agent:\n"
    "  name: dgf                 # names this agent in every record\n"
    "  env: default              # part of topic names\n"
    "  data_dir: data            # ledger, keys, status.json; relative to this file\n"
    "\n"
    "sources:\n"
    "  orders:\n"
    "    type: postgres\n"
    "    # a role with LOGIN REPLICATION, no right on tables; the password stays outside:\n"
    "    url: ${DGF_POSTGRES_URL:-postgresql://dgf@localhost/postgres?sslmode=verify-full}\n"
    "    tables: [public.*]\n"
    "    # dgf makes its own slot and changes nothing else: the publication is made by\n"
    "    # an administrator, with the SQL of dgf check --fix-script\n"
    "    labels: {env: default}\n"
    "\n"
    "policies: [policies]\n"
    "\n"
    "# sinks:\n"
    "#   events: {type: kafka, brokers: [\"kafka-1:9092\"], topic_prefix: dgf.default}\n"
    "#   lines: {type: file, path: \"violations.ndjson\", select: {kinds: [violation, gap]}}\n";

static const char policy_text[] =
    "version: 1\n"
    "info: {title: First policies, owner: you@example.org}\n"
    "policies:\n"
    "\n"
    "  - id: CARD-001\n"
    "    title: No card numbers in free-text columns\n"
    "    why: Notes are copied to reporting; card numbers there leave the protected zone.\n"
    "    severity: high\n"
    "    watch: {objects: [\"public.*\"], ops: [insert, update]}\n"
    "    when: >-\n"
    "      pii.card(after)\n"
    "    message: \"card number in {{event.object}}\"\n"
    "    fix: Move the number to the vault and store its token.\n"
    "    examples:\n"
    "      violates: [{object: public.notes, op: insert, after: {note: \"call 4111 1111 1111 1111\"}}]\n"
    "      passes:   [{object: public.notes, op: insert, after: {note: \"call +33 1 42 68 53 00\"}}]\n"
    "\n"
    "  - id: TRUNC-001\n"
    "    title: No table is emptied at once\n"
    "    severity: critical\n"
    "    watch: {objects: [\"public.*\"], ops: [truncate]}\n"
    "    when: \"true\"\n"
    "    message: \"{{event.object}} was truncated\"\n"
    "    examples:\n"
    "      violates: [{object: public.notes, op: truncate}]\n";

static int write_new(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    size_t len = strlen(text);
    bool written;

    if (fd < 0) {
        fprintf(stderr, "dgf init: cannot write '%s': %s%s\n", path,
                dgf_errno_text(errno),
                errno == EEXIST ? "; nothing is overwritten" : "");
        return DGF_EXIT_CANNOT;
    }
    written = write(fd, text, len) == (ssize_t)len;
    if (close(fd) || !written) {
        fprintf(stderr, "dgf init: cannot write '%s': %s\n", path,
                dgf_errno_text(errno));
        return DGF_EXIT_CANNOT;
    }
    return DGF_EXIT_OK;
}

static bool make_folder(const char *path)
{
    if (mkdir(path, 0755) == 0 || errno == EEXIST)
        return true;
    fprintf(stderr, "dgf init: cannot make '%s': %s\n", path, dgf_errno_text(errno));
    return false;
}

/* Where the agent looks for them.  Who has them can join what was masked. */
static int make_keys(const char *data_dir, char *ret_fingerprint)
{
    uint8_t tenant[32], token[32], seed[32];
    struct dgf_err err = {0};
    enum dgf_rc rc;

    dgf_log_init(STDERR_FILENO, DGF_LOG_WARN, true); /* we say it ourselves */
    rc = dgf_dir_make(data_dir, &err);
    if (!rc)
        rc = dgf_keys_load(data_dir, NULL, NULL, tenant, token, &err);
    if (!rc)
        rc = dgf_keys_load_sign(data_dir, NULL, seed, &err);
    if (!rc)
        rc = dgf_key_fingerprint(seed, ret_fingerprint, &err);
    dgf_wipe(seed, sizeof(seed));
    dgf_wipe(tenant, sizeof(tenant));
    dgf_wipe(token, sizeof(token));
    if (rc) {
        fprintf(stderr, "dgf init: %s\n", err.text);
        return DGF_EXIT_CANNOT;
    }
    return DGF_EXIT_OK;
}

static void print_human(const char *config, const char *policy, const char *data_dir,
                        const char *fingerprint)
{
    printf("wrote %s\nwrote %s\n", config, policy);
    printf("wrote %s/keys: keep a copy; another tenant key gives every violation "
           "another id\n"
           "  keys/sign signs the archive; fingerprint of its public key: %s\n",
           data_dir, fingerprint);
    printf("next: set DGF_POSTGRES_URL, then run\n  dgf check -c %s\n  dgf run -c %s\n",
           config, config);
}

static int print_json(const char *config, const char *policy, const char *data_dir,
                      const char *fingerprint)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf out = {0};
    const char *const members[][2] = {{"config", config},
                                      {"policy", policy},
                                      {"data_dir", data_dir},
                                      {"fingerprint", fingerprint}};
    struct dgf_json json = dgf_json_of(&out);

    dgf_buf_init(&out, 1 << 20);
    dgf_json_begin_object(&json);
    for (size_t i = 0; i < DGF_ARRAY_LEN(members); i++) {
        dgf_json_key(&json, members[i][0]);
        dgf_json_str(&json, members[i][1]);
    }
    dgf_json_end_object(&json);
    dgf_buf_add_byte(&out, '\n');
    (void)dgf_buf_write(&out, stdout);
    return dgf_buf_rc(&out) ? DGF_EXIT_CANNOT : DGF_EXIT_OK;
}

int dgf_cmd_init(int argc, char **argv)
{
    struct dgf_args args;
    char config[4096], folder[4096], policy[4096], data_dir[4096];
    char fingerprint[7 + 64 + 1];
    const char *dir, *format;
    bool json;
    int exit_code = dgf_args_read("init", dgf_args_init, argc, argv, &args);

    if (exit_code)
        return exit_code;
    if (args.n_operands)
        return dgf_usage("init", "unexpected '%s'", args.operands[0]);
    format = dgf_args_get(&args, "format");
    json = format && strcmp(format, "json") == 0;
    if (format && !json && strcmp(format, "human") != 0)
        return dgf_usage("init", "--format must be human or json");
    dir = dgf_args_get(&args, "dir") ? dgf_args_get(&args, "dir") : ".";
    if ((size_t)snprintf(folder, sizeof(folder) - 32, "%s/policies", dir) >=
        sizeof(folder) - 32)
        return dgf_usage("init", "the folder's name is too long");
    snprintf(config, sizeof(config), "%s/dgf.yaml", dir);
    snprintf(policy, sizeof(policy), "%.4000s/first.yaml", folder);
    snprintf(data_dir, sizeof(data_dir), "%.4000s/data", dir);
    if (dgf_file_exists(config) || dgf_file_exists(policy)) {
        fprintf(stderr, "dgf init: '%s' is there already; nothing is overwritten\n",
                dgf_file_exists(config) ? config : policy);
        return DGF_EXIT_CANNOT;
    }
    if (!make_folder(dir) || !make_folder(folder))
        return DGF_EXIT_CANNOT;
    exit_code = write_new(config, config_text);
    if (!exit_code)
        exit_code = write_new(policy, policy_text);
    if (!exit_code)
        exit_code = make_keys(data_dir, fingerprint);
    if (exit_code)
        return exit_code;
    if (json)
        return print_json(config, policy, data_dir, fingerprint);
    print_human(config, policy, data_dir, fingerprint);
    return DGF_EXIT_OK;
}
