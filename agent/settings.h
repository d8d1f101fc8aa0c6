/* settings.h - the configuration of an agent, typed and checked.
 *
 * Order: built-in defaults, the file, then conf.d beside it, then the environment
 * (DGF_SECTION__KEY).  With no file the environment alone is enough
 * (POSTGRESQL_HOST, REDIS_HOST, MONGODB_HOST ..., KAFKA_BROKERS).  Everything wrong is
 * found at once.
 * Relative paths are relative to the folder of the file.  Thread: loop. */
#ifndef DGF_SETTINGS_H
#define DGF_SETTINGS_H

#include "base/opt.h"
#include "pipeline.h"

enum dgf_ack { DGF_ACK_LOCAL, DGF_ACK_SINKS };

struct dgf_settings {
    struct {
        char *name, *env, *data_dir;
        int ack;
    } agent;
    struct {
        int64_t keep_ns;
        uint64_t journal_bytes, segment_bytes;
        bool archive;
        uint64_t cut_bytes;
        int64_t cut_every_ns;
    } ledger;
    struct {
        uint64_t event_bytes;
    } limits;
    struct {
        char *tenant, *token, *sign;
    } keys;
    struct {
        int level;
    } log;
    struct dgf_str_list policies;
    const struct dgf_yaml_node *sources_node, *sinks_node, *classification, *naming;

    struct dgf_source_conf *sources;
    size_t n_sources;
    struct dgf_sink_setup *sinks;
    size_t n_sinks;
    bool insecure;        /* some part says insecure: true */
    char *config_json;    /* for the config record */
    struct dgf_yaml *doc; /* owned; nodes above point into it */
    char *folder;         /* of the file; "." when there is none */
};

/* path NULL: dgf.yaml in this folder, else /etc/dgf/dgf.yaml, else the
 * environment alone.  DGF_BAD_CONFIG with findings; *ret untouched. */
enum dgf_rc dgf_settings_load(const char *path, struct dgf_findings *findings,
                              struct dgf_settings **ret) DGF_MUST_USE;
void dgf_settings_free(struct dgf_settings *settings);
DGF_CLEANUP_OF(struct dgf_settings *, dgf_settings_free)

/* Loads the policies the settings name (none: the empty set). */
enum dgf_rc dgf_settings_policies(const struct dgf_settings *settings,
                                  struct dgf_findings *findings,
                                  struct dgf_policy_set **ret) DGF_MUST_USE;
/* The effective configuration as YAML, secrets as '***'. */
void dgf_settings_show(const struct dgf_settings *settings, struct dgf_buf *out);
/* The same as one JSON object and a line end. */
void dgf_settings_show_json(const struct dgf_settings *settings, struct dgf_buf *out);
/* The reference page of every option (Markdown) and the JSON Schema. */
void dgf_settings_reference(struct dgf_buf *out);
void dgf_settings_schema(struct dgf_buf *out);

/* Prints findings on stderr and says what that means: the exit code. */
int dgf_report_findings(const struct dgf_findings *findings);

#endif
