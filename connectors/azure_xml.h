/* azure_xml.h - the XML Azure Storage answers with: elements and their text.
 *
 * Strict: well-formed UTF-8 without a document type or processing instructions,
 * bounded in depth and text.  Attributes are passed over but Encoded="true", whose
 * text is percent-decoded.  Thread: any; pure. */
#ifndef DGF_AZURE_XML_H
#define DGF_AZURE_XML_H

#include "base/buf.h"
#include "base/err.h"

#define DGF_AZURE_XML_DEPTH 12
#define DGF_AZURE_XML_PATH 256 /* bytes of a path, with its NUL */

/* path: names from the root on, "EnumerationResults/Blobs/Blob/Name".  What a call
 * returns other than DGF_OK ends the reading, and is its answer. */
struct dgf_azure_xml_calls {
    enum dgf_rc (*begin)(void *ctx, const char *path,
                         struct dgf_err *err); /* or NULL */
    /* text: without entities, borrowed; empty for an element that holds others */
    enum dgf_rc (*end)(void *ctx, const char *path, struct dgf_bytes text,
                       struct dgf_err *err);
};

/* max_text: bytes of text one element may hold.  DGF_BAD_DATA: none of the XML
 * above; the text never quotes it.  DGF_NOMEM. */
enum dgf_rc dgf_azure_xml_read(struct dgf_bytes xml, size_t max_text,
                               const struct dgf_azure_xml_calls *calls, void *ctx,
                               struct dgf_err *err) DGF_MUST_USE;

#endif
