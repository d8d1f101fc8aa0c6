/* rc.h - what a fallible function answers.  The code says what the caller
 * does, never what went wrong: that is the text in struct dgf_err (err.h). */
#ifndef DGF_BASE_RC_H
#define DGF_BASE_RC_H

#define DGF_MUST_USE __attribute__((warn_unused_result))
#define DGF_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

enum dgf_rc {
    DGF_OK = 0,
    DGF_AGAIN,      /* nothing now: wait for the next wake-up */
    DGF_RETRY,      /* outside world failed: back off, open again */
    DGF_BAD_DATA,   /* this item cannot be understood: make it a record */
    DGF_BAD_CONFIG, /* a person must change a file: exit 78 */
    DGF_NOMEM,      /* out of memory or over a configured cap */
    DGF_FATAL,      /* stop the process: going on could lie */
};

#endif
