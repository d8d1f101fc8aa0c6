/* clock.h - the only two places the agent learns the time from.  Tests link
 * their own.  Thread: any. */
#ifndef DGF_BASE_CLOCK_H
#define DGF_BASE_CLOCK_H

#include <stdint.h>

int64_t dgf_clock_ns(void);      /* wall clock, ns since 1970, UTC */
int64_t dgf_clock_mono_ns(void); /* monotonic, for intervals and back-off */

#endif
