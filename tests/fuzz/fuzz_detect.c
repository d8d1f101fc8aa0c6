/* The detectors and the masking on any bytes: hits lie inside, in order, and
 * are gone from the masked text. */
#include <assert.h>
#include <stdint.h>

#include "bus/mask.h"
#include "bus/detect.h"

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    struct dgf_bytes text = dgf_bytes_of(ptr, len);
    struct dgf_found found;
    struct dgf_buf masked;
    bool any = false, hit = false;
    size_t from = 0;

    while (dgf_detect(text, from, DGF_DETECT_ANY, &found)) {
        assert(found.len > 0 && found.at >= from && found.at + found.len <= len);
        from = found.at + found.len;
        hit = true;
    }
    dgf_buf_init(&masked, 2 * len + 1);
    dgf_mask_detected(text, &masked, &any);
    assert(any == hit && !dgf_buf_rc(&masked) && masked.len <= len);
    assert(!dgf_detect(dgf_buf_bytes(&masked), 0, DGF_DETECT_BIT(DGF_DETECT_CARD),
                       &found));
    dgf_buf_release(&masked);
    return 0;
}
