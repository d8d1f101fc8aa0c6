/* mongo_fixture.h - lines "name | hex of a BSON document | what it gives" of
 * files in tests/data. */
#ifndef DGF_TESTS_MONGO_FIXTURE_H
#define DGF_TESTS_MONGO_FIXTURE_H

#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/parse.h"
#include "bson_value.h"
#include "unit.h"

#define LINE_MAX_BYTES (256 << 10)

/* Calls each for every line; answers how many there were. */
static int each_line(const char *file,
                     void (*each)(const char *name, struct dgf_bytes document,
                                  const char *wanted))
{
    const char *srcdir = getenv("srcdir");
    char path[512], *line = dgf_malloc(LINE_MAX_BYTES);
    uint8_t *bytes = dgf_malloc(LINE_MAX_BYTES / 2);
    FILE *in;
    int n = 0;

    (void)snprintf(path, sizeof(path), "%s/tests/data/%s", srcdir ? srcdir : ".", file);
    in = fopen(path, "re");
    ck_assert_msg(in && line && bytes, "cannot read %s", path);
    while (fgets(line, LINE_MAX_BYTES, in)) {
        char *hex = strstr(line, " | "), *wanted = hex ? strstr(hex + 3, " | ") : NULL;
        size_t len;

        if (*line == '#' || *line == '\n')
            continue;
        ck_assert_msg(wanted, "%s: %s", path, line);
        line[strcspn(line, "\n")] = '\0';
        *hex = *wanted = '\0';
        hex += 3;
        wanted += 3;
        len = strlen(hex) / 2;
        ck_assert_msg(dgf_parse_hex(dgf_bytes_str(hex), bytes, len), "%s: hex", line);
        each(line, dgf_bytes_of(bytes, len), wanted);
        n++;
    }
    (void)fclose(in);
    dgf_free(line);
    dgf_free(bytes);
    return n;
}

/* One msgpack value as records show it; the caller releases out. */
static void show(struct dgf_bytes value, struct dgf_buf *out)
{
    struct dgf_json json = dgf_json_of(out);

    ck_assert_int_eq(dgf_json_msgpack(&json, value), DGF_OK);
}

#endif
