/* fuzz_main.c - runs a fuzz target over its corpus when libFuzzer is not linked.
 *
 *   fuzz_mp [FILE | DIR]...
 *
 * Without arguments: $srcdir/tests/fuzz/corpus/<target without "fuzz_">.  An
 * empty corpus is a failure: a check that reads nothing cannot fail. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_BYTES (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

static unsigned n_inputs;

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "cannot %s '%s'\n", what, path);
    exit(EXIT_FAILURE);
}

static void run_file(const char *path, size_t len)
{
    FILE *file = fopen(path, "rb");
    uint8_t *input;

    if (!file || len > MAX_BYTES)
        fail("read", path);
    /* Exactly len bytes, so that valgrind and ASan see one byte too many. */
    input = malloc(len ? len : 1);
    if (!input || fread(input, 1, len, file) != len)
        fail("read", path);
    fclose(file);
    (void)LLVMFuzzerTestOneInput(input, len);
    free(input);
    n_inputs++;
}

static void run_path(const char *path)
{
    struct stat st;
    struct dirent **names;
    int n;

    if (stat(path, &st))
        fail("open", path);
    if (!S_ISDIR(st.st_mode)) {
        run_file(path, (size_t)st.st_size);
        return;
    }
    n = scandir(path, &names, NULL, alphasort);
    if (n < 0)
        fail("list", path);
    for (int i = 0; i < n; i++) {
        char below[4096];

        snprintf(below, sizeof(below), "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            run_path(below);
        free(names[i]);
    }
    free(names);
}

int main(int argc, char **argv)
{
    const char *srcdir = getenv("srcdir");
    const char *name = strrchr(argv[0], '/');
    char corpus[4096];

    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        run_path(argv[i]);
    if (argc < 2) {
        name = name ? name + 1 : argv[0];
        if (strncmp(name, "fuzz_", 5) == 0)
            name += 5;
        snprintf(corpus, sizeof(corpus), "%s/tests/fuzz/corpus/%s",
                 srcdir ? srcdir : ".", name);
        run_path(corpus);
    }
    printf("%s: %u inputs\n", argv[0], n_inputs);
    return n_inputs ? EXIT_SUCCESS : EXIT_FAILURE;
}
