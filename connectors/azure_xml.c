#include "azure_xml.h"

#include <expat.h>
#include <limits.h>

#include "base/mem.h"

struct reading {
    XML_Parser parser;
    const struct dgf_azure_xml_calls *calls;
    void *ctx;
    struct dgf_err *err;
    enum dgf_rc rc;
    char path[DGF_AZURE_XML_PATH];
    size_t ends[DGF_AZURE_XML_DEPTH]; /* length of path at each depth */
    unsigned depth;
    bool leaf, encoded; /* of the element that began last */
    struct dgf_buf text;
};

static void stop(struct reading *reading, enum dgf_rc rc)
{
    if (!reading->rc)
        reading->rc = rc;
    (void)XML_StopParser(reading->parser, XML_FALSE);
}

static void refuse(struct reading *reading, const char *why)
{
    stop(reading,
         dgf_err_set(reading->err, DGF_BAD_DATA, "the answer's XML %s at byte %ld", why,
                     (long)XML_GetCurrentByteIndex(reading->parser)));
}

static void on_begin(void *opaque, const XML_Char *name, const XML_Char **attributes)
{
    struct reading *reading = opaque;
    size_t at = reading->depth ? reading->ends[reading->depth - 1] : 0,
           len = strlen(name);

    if (reading->rc)
        return;
    if (reading->depth == DGF_AZURE_XML_DEPTH || len + 2 > sizeof(reading->path) - at) {
        refuse(reading, "is nested too deeply");
        return;
    }
    if (at > 0)
        reading->path[at++] = '/';
    memcpy(reading->path + at, name, len + 1);
    reading->ends[reading->depth++] = at + len;
    reading->leaf = true;
    reading->encoded = false;
    for (; attributes[0]; attributes += 2)
        if (strcmp(attributes[0], "Encoded") == 0 && strcmp(attributes[1], "true") == 0)
            reading->encoded = true;
    dgf_buf_clear(&reading->text);
    if (reading->calls->begin) {
        enum dgf_rc rc =
            reading->calls->begin(reading->ctx, reading->path, reading->err);

        if (rc)
            stop(reading, rc);
    }
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place: what stands there becomes only shorter. */
static bool decode_percent(struct dgf_buf *text)
{
    size_t to = 0;

    for (size_t i = 0; i < text->len; i++) {
        uint8_t byte = text->ptr[i];

        if (byte == '%') {
            int high = i + 2 < text->len ? hex_digit(text->ptr[i + 1]) : -1;
            int low = i + 2 < text->len ? hex_digit(text->ptr[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            byte = (uint8_t)(high << 4 | low);
            i += 2;
        }
        text->ptr[to++] = byte;
    }
    text->len = to;
    return true;
}

static void on_end(void *opaque, const XML_Char *name)
{
    struct reading *reading = opaque;
    struct dgf_bytes text = {0};
    enum dgf_rc rc;

    (void)name; /* expat has compared it */
    if (reading->rc)
        return;
    if (reading->leaf && reading->encoded && !decode_percent(&reading->text)) {
        refuse(reading, "has a name that is not encoded as it says");
        return;
    }
    if (reading->leaf)
        text = dgf_buf_bytes(&reading->text);
    rc = reading->calls->end(reading->ctx, reading->path, text, reading->err);
    reading->leaf = false;
    reading->depth--;
    reading->path[reading->depth ? reading->ends[reading->depth - 1] : 0] = '\0';
    if (rc)
        stop(reading, rc);
}

static void on_text(void *opaque, const XML_Char *text, int len)
{
    struct reading *reading = opaque;

    if (reading->rc || !reading->leaf)
        return;
    if ((size_t)len > reading->text.max - reading->text.len) {
        refuse(reading, "has a text that is too long");
        return;
    }
    dgf_buf_add(&reading->text, text, (size_t)len);
    if (dgf_buf_rc(&reading->text))
        stop(reading, dgf_err_set(reading->err, DGF_NOMEM, "out of memory for XML"));
}

static void on_doctype(void *opaque, const XML_Char *name, const XML_Char *system_id,
                       const XML_Char *public_id, int internal)
{
    (void)name;
    (void)system_id;
    (void)public_id;
    (void)internal;
    refuse(opaque, "has a document type");
}

static void on_instruction(void *opaque, const XML_Char *target,
                           const XML_Char *content)
{
    (void)target;
    (void)content;
    refuse(opaque, "has a processing instruction");
}

enum dgf_rc dgf_azure_xml_read(struct dgf_bytes xml, size_t max_text,
                               const struct dgf_azure_xml_calls *calls, void *ctx,
                               struct dgf_err *err)
{
    static const XML_Memory_Handling_Suite memory = {dgf_malloc, dgf_realloc, dgf_free};
    struct reading reading = {.calls = calls, .ctx = ctx, .err = err};
    enum XML_Error error = XML_ERROR_NONE;

    if (xml.len == 0 || xml.len > INT_MAX)
        return dgf_err_set(err, DGF_BAD_DATA, "the answer is no XML: it has %zu bytes",
                           xml.len);
    reading.parser = XML_ParserCreate_MM("UTF-8", &memory, NULL);
    if (!reading.parser)
        return dgf_err_set(err, DGF_NOMEM, "out of memory for XML");
    dgf_buf_init(&reading.text, max_text > 0 ? max_text : 1);
    XML_SetUserData(reading.parser, &reading);
    XML_SetElementHandler(reading.parser, on_begin, on_end);
    XML_SetCharacterDataHandler(reading.parser, on_text);
    XML_SetStartDoctypeDeclHandler(reading.parser, on_doctype);
    XML_SetProcessingInstructionHandler(reading.parser, on_instruction);
    if (XML_Parse(reading.parser, (const char *)xml.ptr, (int)xml.len, XML_TRUE) !=
        XML_STATUS_OK)
        error = XML_GetErrorCode(reading.parser);
    if (!reading.rc && error == XML_ERROR_NO_MEMORY)
        reading.rc = dgf_err_set(err, DGF_NOMEM, "out of memory for XML");
    else if (!reading.rc && error != XML_ERROR_NONE)
        reading.rc = dgf_err_set(
            err, DGF_BAD_DATA, "the answer is no XML: %s at byte %ld",
            XML_ErrorString(error), (long)XML_GetCurrentByteIndex(reading.parser));
    XML_ParserFree(reading.parser);
    dgf_buf_release(&reading.text);
    return reading.rc;
}
