/* azure_sign.h - signatures of requests to Azure by a shared key, and what goes with
 * them: dates, percent-encoding, lists of headers.
 *
 * Headers are a dgf_buf of NUL-terminated "Name: value" lines.  Pure.  Thread: any. */
#ifndef DGF_AZURE_SIGN_H
#define DGF_AZURE_SIGN_H

#include "base/buf.h"
#include "base/mac.h"

#define DGF_AZURE_HEADERS_MAX 64

/* "Mon, 23 Nov 2026 20:00:00 GMT"; years 1970 to 2262. */
void dgf_azure_date(struct dgf_buf *out, int64_t ns);
/* The same, read; false: it is none. */
bool dgf_azure_date_parse(const char *text, int64_t *ret_ns);
/* All but unreserved characters as %XX. */
void dgf_azure_escape(struct dgf_buf *out, struct dgf_bytes text);

/* Appends one line; value "" is sent as an empty header. */
void dgf_azure_add_header(struct dgf_buf *headers, const char *name, const char *value);
/* Value of a header, any case; NULL: not there. */
const char *dgf_azure_find_header(const struct dgf_buf *headers, const char *name);
/* The lines as base/http.h wants them; number of lines, at most max. */
size_t dgf_azure_list_headers(const struct dgf_buf *headers, const char **ret,
                              size_t max);

/* Blob and Queue: the text that is signed.  url: as it goes out.  False: the URL or
 * the headers are nothing that can be signed. */
bool dgf_azure_shared_key_text(const char *method, const char *url, const char *account,
                               const struct dgf_buf *headers, size_t content_length,
                               struct dgf_buf *out);
/* Cosmos DB: the text that is signed; link in its own case, not percent-encoded. */
void dgf_azure_cosmos_text(const char *method, const char *type, const char *link,
                           const char *date, struct dgf_buf *out);
/* Base64 of the text's MAC, appended. */
void dgf_azure_mac(const struct dgf_mac_key *key, const struct dgf_buf *text,
                   struct dgf_buf *out);

#endif
