#include "azure_token.h"

#include <stdlib.h>
#include <strings.h>

#include "azure_sign.h"
#include "base/file.h"
#include "base/json.h"
#include "base/parse.h"

#define SECOND INT64_C(1000000000)
#define LONGEST_LIFE (30 * 86400 * SECOND)
#define METADATA "/metadata/identity/oauth2/token"

void dgf_azure_token_request_init(struct dgf_azure_token_request *request)
{
    *request = (struct dgf_azure_token_request){0};
    dgf_buf_init(&request->url, 16u << 10);
    dgf_buf_init(&request->headers, 16u << 10);
    dgf_buf_init(&request->body, 256u << 10);
}

void dgf_azure_token_request_release(struct dgf_azure_token_request *request)
{
    if (request->body.ptr)
        dgf_wipe(request->body.ptr, request->body.cap);
    if (request->headers.ptr)
        dgf_wipe(request->headers.ptr, request->headers.cap);
    dgf_buf_release(&request->url);
    dgf_buf_release(&request->headers);
    dgf_buf_release(&request->body);
}

/* ---- what is sent ---- */

static const char *or_env(const char *given, const char *name)
{
    const char *value = given && *given ? given : getenv(name);

    return value && *value ? value : NULL;
}

static enum dgf_rc missing(struct dgf_err *err, const char *option, const char *name)
{
    return dgf_err_set(err, DGF_BAD_CONFIG,
                       "cannot ask for a token: neither '%s' nor the environment's %s "
                       "is set; with an account key write auth: key",
                       option, name);
}

static void add_field(struct dgf_buf *form, const char *name, struct dgf_bytes value)
{
    if (form->len)
        dgf_buf_add_byte(form, '&');
    dgf_buf_add_str(form, name);
    dgf_buf_add_byte(form, '=');
    dgf_azure_escape(form, value);
}

static struct dgf_bytes trimmed(struct dgf_bytes text)
{
    while (text.len && text.ptr[0] <= ' ')
        text.ptr++, text.len--;
    while (text.len && text.ptr[text.len - 1] <= ' ')
        text.len--;
    return text;
}

static enum dgf_rc add_assertion(const struct dgf_azure_conf *conf,
                                 struct dgf_buf *form, struct dgf_err *err)
{
    const char *path = or_env(conf->token_file, "AZURE_FEDERATED_TOKEN_FILE");
    struct dgf_bytes text;
    struct dgf_buf file;
    enum dgf_rc rc;

    if (!path)
        return missing(err, "token_file", "AZURE_FEDERATED_TOKEN_FILE");
    dgf_buf_init(&file, 64u << 10);
    rc = dgf_file_slurp(path, 64u << 10, &file, err);
    text = trimmed(dgf_buf_bytes(&file));
    if (!rc && !text.len)
        rc = dgf_err_set(err, DGF_RETRY, "the token file '%s' is empty", path);
    else if (rc)
        /* The kubelet may be about to write it. */
        rc = dgf_err_set(err, DGF_RETRY, "cannot read the token file '%s'", path);
    if (!rc) {
        add_field(form, "client_assertion", text);
        add_field(form, "client_assertion_type",
                  DGF_BYTES("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
    }
    if (file.ptr)
        dgf_wipe(file.ptr, file.cap);
    dgf_buf_release(&file);
    return rc;
}

static enum dgf_rc make_authority(const struct dgf_azure_conf *conf, const char *scope,
                                  struct dgf_azure_token_request *ret,
                                  struct dgf_err *err)
{
    const char *authority = or_env(conf->authority, "AZURE_AUTHORITY_HOST");
    const char *tenant = or_env(conf->tenant_id, "AZURE_TENANT_ID");
    const char *client = or_env(conf->client_id, "AZURE_CLIENT_ID");
    size_t len;

    if (!authority)
        authority = "https://login.microsoftonline.com/";
    if (!tenant)
        return missing(err, "tenant_id", "AZURE_TENANT_ID");
    if (!client)
        return missing(err, "client_id", "AZURE_CLIENT_ID");
    if (strncasecmp(authority, "https://", 8) != 0 && !conf->insecure)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "the authority '%s' is no https:// address", authority);
    ret->method = "POST";
    len = strlen(authority);
    dgf_buf_addf(&ret->url, "%s%s", authority, authority[len - 1] == '/' ? "" : "/");
    dgf_azure_escape(&ret->url, dgf_bytes_str(tenant));
    dgf_buf_add_str(&ret->url, "/oauth2/v2.0/token");
    dgf_azure_add_header(&ret->headers, "Content-Type",
                         "application/x-www-form-urlencoded");
    dgf_azure_add_header(&ret->headers, "Accept", "application/json");
    add_field(&ret->body, "client_id", dgf_bytes_str(client));
    add_field(&ret->body, "scope", dgf_bytes_str(scope));
    dgf_buf_add_str(&ret->body, "%2F.default");
    add_field(&ret->body, "grant_type", DGF_BYTES("client_credentials"));
    if (conf->how == DGF_AZURE_CLIENT_SECRET) {
        const char *secret = or_env(conf->client_secret, "AZURE_CLIENT_SECRET");

        if (!secret)
            return missing(err, "client_secret", "AZURE_CLIENT_SECRET");
        add_field(&ret->body, "client_secret", dgf_bytes_str(secret));
        return DGF_OK;
    }
    return add_assertion(conf, &ret->body, err);
}

/* App Service and Container Apps name an endpoint and a header; elsewhere the
 * metadata service of the machine answers. */
static void make_identity(const struct dgf_azure_conf *conf, const char *scope,
                          struct dgf_azure_token_request *ret)
{
    const char *endpoint = or_env(conf->identity_endpoint, "IDENTITY_ENDPOINT");
    const char *secret = endpoint ? or_env(NULL, "IDENTITY_HEADER") : NULL;
    const char *pod = or_env(NULL, "AZURE_POD_IDENTITY_AUTHORITY_HOST");
    const char *client = or_env(conf->client_id, "AZURE_CLIENT_ID");

    ret->method = "GET";
    ret->direct = true;
    if (endpoint)
        dgf_buf_add_str(&ret->url, endpoint);
    else
        dgf_buf_addf(&ret->url, "%s" METADATA, pod ? pod : "http://169.254.169.254");
    dgf_buf_addf(&ret->url,
                 "?api-version=%s&resource=", secret ? "2019-08-01" : "2018-02-01");
    dgf_azure_escape(&ret->url, dgf_bytes_str(scope));
    if (client) {
        dgf_buf_add_str(&ret->url, "&client_id=");
        dgf_azure_escape(&ret->url, dgf_bytes_str(client));
    }
    if (secret)
        dgf_azure_add_header(&ret->headers, "X-IDENTITY-HEADER", secret);
    else
        dgf_azure_add_header(&ret->headers, "Metadata", "true");
}

enum dgf_rc dgf_azure_token_request_make(const struct dgf_azure_conf *conf,
                                         const char *scope,
                                         struct dgf_azure_token_request *ret,
                                         struct dgf_err *err)
{
    enum dgf_rc rc = DGF_OK;

    if (conf->how == DGF_AZURE_MANAGED_IDENTITY)
        make_identity(conf, scope, ret);
    else
        rc = make_authority(conf, scope, ret, err);
    if (!rc &&
        (dgf_buf_rc(&ret->url) || dgf_buf_rc(&ret->headers) || dgf_buf_rc(&ret->body)))
        rc = dgf_err_set(err, DGF_NOMEM, "out of memory for asking for a token");
    return rc;
}

/* ---- what comes back ---- */

void dgf_azure_token_release(struct dgf_azure_token *token)
{
    if (token->text)
        dgf_wipe(token->text, strlen(token->text));
    dgf_free(token->text);
    *token = (struct dgf_azure_token){0};
}

/* A number, also where it stands as a text. */
static bool number_of(const json_t *value, int64_t *ret)
{
    if (json_is_integer(value)) {
        *ret = json_integer_value(value);
        return true;
    }
    return json_is_string(value) &&
           dgf_parse_i64(dgf_bytes_str(json_string_value(value)), ret);
}

static bool life_of(const json_t *answer, int64_t now_ns, int64_t *ret_ns)
{
    const json_t *on = json_object_get(answer, "expires_on");
    int64_t n, ns;

    if (number_of(json_object_get(answer, "expires_in"), &n)) {
        *ret_ns = n > LONGEST_LIFE / SECOND ? LONGEST_LIFE : n * SECOND;
        return n > 0;
    }
    if (number_of(on, &n) && n > 0 && n < INT64_MAX / SECOND)
        ns = n * SECOND;
    else if (!json_is_string(on) ||
             !dgf_parse_time(dgf_bytes_str(json_string_value(on)), &ns))
        return false;
    if (ns <= now_ns)
        return false;
    *ret_ns = ns - now_ns > LONGEST_LIFE ? LONGEST_LIFE : ns - now_ns;
    return true;
}

static int64_t refresh_of(const json_t *answer, int64_t life_ns)
{
    int64_t n;

    if (number_of(json_object_get(answer, "refresh_in"), &n) && n > 0 &&
        n < life_ns / SECOND)
        return n * SECOND;
    if (life_ns > 7200 * SECOND || life_ns < 600 * SECOND)
        return life_ns / 2;
    return life_ns - 300 * SECOND;
}

static bool token_is_sane(const char *text)
{
    size_t len = strlen(text);

    if (!len || len > DGF_AZURE_TOKEN_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return true;
}

/* First line of what the server says, in plain characters. */
static void first_line(const json_t *answer, char *to, size_t size)
{
    const char *text = json_string_value(json_object_get(answer, "error_description"));
    size_t n = 0;

    if (!text)
        text = json_string_value(json_object_get(answer, "error"));
    if (!text)
        text = json_string_value(json_object_get(answer, "message"));
    if (!text)
        text = "no reason is given";
    for (; text[n] && text[n] != '\r' && text[n] != '\n' && n + 1 < size; n++)
        to[n] = text[n] < ' ' || text[n] > '~' ? '?' : text[n];
    to[n] = 0;
}

static bool may_pass(int how, int status)
{
    if (status == 408 || status == 429 || status >= 500)
        return true;
    /* The identity is being given to this machine. */
    return how == DGF_AZURE_MANAGED_IDENTITY && (status == 404 || status == 410);
}

enum dgf_rc dgf_azure_token_read(int how, int status, struct dgf_bytes body,
                                 int64_t now_ns, struct dgf_azure_token *ret,
                                 bool *ret_unknown_scope, struct dgf_err *err)
{
    DGF_CLEANUP_JSON json_t *answer = NULL;
    enum dgf_rc rc = dgf_json_parse(body, 256u << 10, 8, &answer, NULL);
    const char *text;
    char line[200];
    int64_t life_ns;

    *ret_unknown_scope = false;
    if (status != 200) {
        first_line(answer, line, sizeof(line));
        *ret_unknown_scope = strstr(line, "AADSTS500011") != NULL;
        return dgf_err_set(err, may_pass(how, status) ? DGF_RETRY : DGF_BAD_CONFIG,
                           "no token is given: status %d, %s", status, line);
    }
    text = rc ? NULL : json_string_value(json_object_get(answer, "access_token"));
    if (!text || !token_is_sane(text))
        return dgf_err_set(err, DGF_RETRY, "the answer holds no token");
    if (!life_of(answer, now_ns, &life_ns))
        return dgf_err_set(err, DGF_RETRY,
                           "the token has ended already, or does not say when it ends");
    ret->text = dgf_strdup(text);
    if (!ret->text)
        return dgf_err_set(err, DGF_NOMEM, "out of memory for a token");
    ret->life_ns = life_ns;
    ret->refresh_ns = refresh_of(answer, life_ns);
    return DGF_OK;
}
