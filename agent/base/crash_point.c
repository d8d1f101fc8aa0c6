/* crash_point.c - alone in its file, so that a test can link another. */
#include "base/file.h"

void dgf_crash_point(const char *name)
{
    (void)name;
}
