#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "cel/lexer.h"
#include "cel/program.h"
#include "cel/re2_shim.h"

/* ---- issues ---- */

void dgf_cel_issues_init(struct dgf_cel_issues *issues)
{
    memset(issues, 0, sizeof(*issues));
    dgf_arena_init(&issues->arena, 1 << 20);
}

void dgf_cel_issues_release(struct dgf_cel_issues *issues)
{
    dgf_arena_release(&issues->arena);
    issues->n = 0;
}

void dgf_cel_issue_add(struct dgf_cel_issues *issues, const char *code, uint32_t offset,
                       uint32_t len, const char *suggestion, const char *fmt, ...)
{
    char text[512], *copy;
    va_list ap;

    if (issues->n == DGF_CEL_MAX_ISSUES)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    copy = dgf_arena_strndup(&issues->arena, text, strlen(text));
    if (suggestion)
        suggestion = dgf_arena_strndup(&issues->arena, suggestion, strlen(suggestion));
    issues->list[issues->n++] = (struct dgf_cel_issue){
        code, offset, len ? len : 1, copy ? copy : "out of memory", suggestion};
}

void dgf_cel_issue_show(const struct dgf_cel_issue *issue, struct dgf_bytes source,
                        struct dgf_buf *out)
{
    size_t start = issue->offset < source.len ? issue->offset : source.len, end, shown;

    dgf_buf_add_str(out, issue->text);
    if (issue->suggestion)
        dgf_buf_addf(out, "; did you mean '%s'?", issue->suggestion);
    for (end = start; end < source.len && source.ptr[end] != '\n'; end++)
        continue;
    while (start > 0 && source.ptr[start - 1] != '\n')
        start--;
    shown = issue->offset + issue->len < end ? issue->offset + issue->len : end;
    dgf_buf_add_str(out, "\n  ");
    dgf_buf_add(out, source.ptr + start, end - start);
    dgf_buf_add_str(out, "\n  ");
    /* one column a character, not a byte */
    for (size_t i = start; i < issue->offset && i < end; i++)
        if ((source.ptr[i] & 0xc0) != 0x80)
            dgf_buf_add_byte(out, source.ptr[i] == '\t' ? '\t' : ' ');
    dgf_buf_add_byte(out, '^');
    for (size_t i = (size_t)issue->offset + 1; i < shown; i++)
        if ((source.ptr[i] & 0xc0) != 0x80)
            dgf_buf_add_byte(out, '~');
}

/* ---- programs ---- */

void dgf_cel_program_free(struct dgf_cel_program *program)
{
    if (!program)
        return;
    for (unsigned i = 0; i < program->n_regexes; i++)
        dgf_cel_regex_free(program->regexes[i]);
    dgf_arena_release(&program->arena);
    dgf_free(program);
}

static enum dgf_rc parse(struct dgf_cel_program *program, struct dgf_cel_issues *issues)
{
    struct dgf_cel_parser parser = {
        .lexer = {program->text, 0, issues},
        .arena = &program->arena,
        .issues = issues,
        .flags = program->env->flags,
    };

    if (!dgf_utf8_valid(program->text)) {
        dgf_cel_issue_add(issues, "E0306", 0, 1, NULL,
                          "the expression is not valid UTF-8");
        return DGF_BAD_CONFIG;
    }
    program->root = dgf_cel_parse(&parser);
    program->n_nodes = parser.n_nodes;
    if (parser.nomem)
        return DGF_NOMEM;
    return program->root ? DGF_OK : issues->n > 0 ? DGF_BAD_CONFIG : DGF_NOMEM;
}

enum dgf_rc dgf_cel_compile(const struct dgf_cel_env *env, struct dgf_bytes text,
                            struct dgf_cel_issues *issues, struct dgf_cel_program **ret)
{
    DGF_CLEANUP(dgf_cel_program_free)
    struct dgf_cel_program *program = dgf_calloc(1, sizeof(*program));
    bool nomem = false;
    enum dgf_rc rc;

    if (!program)
        return DGF_NOMEM;
    dgf_arena_init(&program->arena, 16 << 20);
    program->env = env;
    program->text.ptr = (const uint8_t *)dgf_arena_strndup(
        &program->arena, (const char *)text.ptr, text.len);
    program->text.len = text.len;
    if (!program->text.ptr)
        return DGF_NOMEM;
    rc = parse(program, issues);
    if (rc)
        return rc;
    if (!dgf_cel_check(program, issues, &nomem) ||
        !dgf_cel_emit(program, issues, &nomem))
        return nomem || issues->n == 0 ? DGF_NOMEM : DGF_BAD_CONFIG;
    if (!dgf_cel_find_uses(program))
        return DGF_NOMEM;
    rc = dgf_cel_verify(program, NULL);
    if (rc)
        return rc;
    *ret = dgf_steal(program);
    return DGF_OK;
}

const struct dgf_cel_type *dgf_cel_program_type(const struct dgf_cel_program *program)
{
    return program->type;
}

struct dgf_bytes dgf_cel_program_text(const struct dgf_cel_program *program)
{
    return program->text;
}

unsigned dgf_cel_program_n_names(const struct dgf_cel_program *program)
{
    return program->n_names;
}

const struct dgf_cel_node *dgf_cel_program_root(const struct dgf_cel_program *program)
{
    return program->root;
}

unsigned dgf_cel_program_n_nodes(const struct dgf_cel_program *program)
{
    return program->n_nodes;
}

struct dgf_bytes dgf_cel_node_text(const struct dgf_cel_program *program,
                                   const struct dgf_cel_node *node)
{
    return dgf_bytes_of(program->text.ptr + node->offset, node->len);
}
