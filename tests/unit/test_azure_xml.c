#include "azure_xml.h"

#include "unit.h"

static struct dgf_buf seen;
static struct dgf_err err;
static enum dgf_rc answer;

static enum dgf_rc on_begin(void *ctx, const char *path, struct dgf_err *e)
{
    (void)ctx;
    (void)e;
    dgf_buf_addf(&seen, "<%s ", path);
    return DGF_OK;
}

static enum dgf_rc on_end(void *ctx, const char *path, struct dgf_bytes text,
                          struct dgf_err *e)
{
    (void)ctx;
    dgf_buf_addf(&seen, "%s=", path);
    dgf_buf_add_bytes(&seen, text);
    dgf_buf_add_str(&seen, "> ");
    return answer ? dgf_err_set(e, answer, "no more") : DGF_OK;
}

static const struct dgf_azure_xml_calls calls = {.begin = on_begin, .end = on_end};

static enum dgf_rc read_xml(const char *text)
{
    dgf_buf_init(&seen, 1 << 20);
    err.text[0] = '\0';
    return dgf_azure_xml_read(dgf_bytes_str(text), 16, &calls, NULL, &err);
}

static void seen_is(const char *text)
{
    ck_assert_str_eq(dgf_buf_str(&seen), text);
    dgf_buf_release(&seen);
}

static void refused(const char *text, const char *why)
{
    ck_assert_int_eq(read_xml(text), DGF_BAD_DATA);
    ck_assert_str_eq(err.text, why);
    dgf_buf_release(&seen);
}

START_TEST(elements_come_with_their_path_and_text)
{
    ck_assert_int_eq(read_xml("\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?>"
                              "<L A=\"x\"> <B><N>a&amp;b</N><E/></B> <M></M></L>"),
                     DGF_OK);
    seen_is("<L <L/B <L/B/N L/B/N=a&b> <L/B/E L/B/E=> L/B=> <L/M L/M=> L=> ");
}
END_TEST

START_TEST(an_encoded_text_is_decoded_and_no_other)
{
    ck_assert_int_eq(read_xml("<L><N Encoded=\"true\">a%0Ab%2f</N><N>%41</N></L>"),
                     DGF_OK);
    seen_is("<L <L/N L/N=a\nb/> <L/N L/N=%41> L=> ");
    refused("<N Encoded=\"true\">a%4</N>",
            "the answer's XML has a name that is not encoded as it says at byte 21");
}
END_TEST

START_TEST(what_is_more_than_elements_and_text_is_refused)
{
    refused("<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
            "the answer's XML has a document type at byte 12");
    refused("<a><?php x?></a>",
            "the answer's XML has a processing instruction at byte 3");
    refused("<a>&x;</a>", "the answer is no XML: undefined entity at byte 3");
}
END_TEST

START_TEST(what_is_not_well_formed_is_refused)
{
    refused("", "the answer is no XML: it has 0 bytes");
    refused("<a>", "the answer is no XML: no element found at byte 3");
    refused("<a></b>", "the answer is no XML: mismatched tag at byte 5");
    refused("<a/><b/>", "the answer is no XML: junk after document element at byte 4");
    refused("<a>\xff</a>",
            "the answer is no XML: not well-formed (invalid token) at byte 3");
}
END_TEST

START_TEST(depth_and_text_are_bounded)
{
    struct dgf_buf deep;

    ck_assert_int_eq(read_xml("<a>0123456789abcdef</a>"), DGF_OK);
    seen_is("<a a=0123456789abcdef> ");
    refused("<a>0123456789abcdefg</a>",
            "the answer's XML has a text that is too long at byte 3");
    dgf_buf_init(&deep, 4096);
    for (int i = 0; i < DGF_AZURE_XML_DEPTH; i++)
        dgf_buf_add_str(&deep, "<a>");
    dgf_buf_add_str(&deep, "<a>");
    refused(dgf_buf_str(&deep), "the answer's XML is nested too deeply at byte 36");
    dgf_buf_clear(&deep);
    dgf_buf_add_byte(&deep, '<');
    for (int i = 0; i < DGF_AZURE_XML_PATH; i++)
        dgf_buf_add_byte(&deep, 'n');
    dgf_buf_add_str(&deep, "/>");
    refused(dgf_buf_str(&deep), "the answer's XML is nested too deeply at byte 0");
    dgf_buf_release(&deep);
}
END_TEST

START_TEST(a_call_ends_the_reading_with_its_own_words)
{
    answer = DGF_AGAIN;
    ck_assert_int_eq(read_xml("<a><b/><c/></a>"), DGF_AGAIN);
    ck_assert_str_eq(err.text, "no more");
    seen_is("<a <a/b a/b=> ");
}
END_TEST

DGF_UNIT(azure_xml, elements_come_with_their_path_and_text,
         an_encoded_text_is_decoded_and_no_other,
         what_is_more_than_elements_and_text_is_refused,
         what_is_not_well_formed_is_refused, depth_and_text_are_bounded,
         a_call_ends_the_reading_with_its_own_words)
