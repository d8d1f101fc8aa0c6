#include <string.h>

#include "cel/program.h"

/* The machine trusts its code; this is where that trust is earned.  Every
 * instruction that can be reached is visited once with the height of the stack
 * there; two ways to the same instruction must agree on it. */

enum operand {
    CONST,
    VAR,
    FIELD,
    LOCAL,
    LET,
    NAME,
    NONE,
    CODE,
    COND,
    COUNT,
    CALL,
    REGEX,
    ITER,
    NEXT,
    FOLD,
    NODE
};
enum { A = -1, B = -2, B2 = -3 };

static const struct {
    const char *name;
    uint8_t operand;
    int pops, pushes;
} insns[] = {
#define OP(name, operand, pops, pushes, meaning) {#name, operand, pops, pushes},
#include "cel/cel_ops.def"
#undef OP
};

#define MAX_STACK 4096

struct verifier {
    const struct dgf_cel_program *program;
    int16_t *height; /* by instruction; -1: not visited */
    uint16_t *todo;
    uint32_t n_todo;
    int max;
};

static bool reach(struct verifier *v, uint32_t at, int height)
{
    if (at >= v->program->n_code || height < 0 || height > MAX_STACK)
        return false;
    if (v->height[at] >= 0)
        return v->height[at] == height;
    v->height[at] = (int16_t)height;
    v->todo[v->n_todo++] = (uint16_t)at;
    if (height > v->max)
        v->max = height;
    return true;
}

static bool operands_ok(const struct dgf_cel_program *p,
                        const struct dgf_cel_insn *insn)
{
    switch ((enum operand)insns[insn->op].operand) {
    case CONST:
        return insn->b < p->n_consts;
    case VAR:
        return insn->b < 4096;
    case FIELD:
        return insn->b < 4096 && insn->c < p->n_names;
    case LOCAL:
        return insn->b < p->n_locals;
    case LET:
        return insn->b < p->env->n_lets;
    case NAME:
        return insn->b < p->n_names;
    case CALL:
        return insn->b < p->n_sites;
    case REGEX:
        return insn->b < p->n_regexes;
    case ITER:
        return insn->a < p->n_iters;
    case NEXT:
        return insn->a < p->n_iters && insn->d >= 1 && insn->d <= 2 &&
               insn->c + insn->d <= p->n_locals;
    case NODE:
        return insn->b < p->n_nodes;
    default:
        return true; /* jump targets are checked when they are followed */
    }
}

static bool visit(struct verifier *v, uint32_t at)
{
    const struct dgf_cel_insn *insn = &v->program->code[at];
    int height = v->height[at], pops, next;

    if (insn->op >= DGF_CEL_N_INSNS || !operands_ok(v->program, insn))
        return false;
    pops = insns[insn->op].pops;
    if (pops < 0)
        pops = pops == A ? insn->a : pops == B ? insn->b : 2 * insn->b;
    if (height < pops)
        return false;
    next = height - pops + insns[insn->op].pushes;
    switch ((enum operand)insns[insn->op].operand) {
    case CODE:
        return reach(v, insn->b, next) &&
               (insn->op == DGF_CEL_I_JUMP || reach(v, at + 1, next));
    case COND:
        return reach(v, insn->b, next) && reach(v, insn->c, height) &&
               reach(v, at + 1, next);
    case ITER:
        return reach(v, insn->b, height) && reach(v, at + 1, next);
    case NEXT:
        return reach(v, insn->b, next) && reach(v, at + 1, next);
    case FOLD:
        return reach(v, insn->b, next) && reach(v, insn->c, next) &&
               (insn->op != DGF_CEL_I_FILTER || reach(v, at + 1, next));
    default:
        return insn->op == DGF_CEL_I_RETURN ? next == 0 : reach(v, at + 1, next);
    }
}

enum dgf_rc dgf_cel_verify(struct dgf_cel_program *program, struct dgf_err *err)
{
    struct verifier v = {.program = program};
    uint32_t at = 0;
    bool ok;

    v.height = dgf_malloc(program->n_code * sizeof(v.height[0]));
    v.todo = dgf_malloc(program->n_code * sizeof(v.todo[0]));
    if (!v.height || !v.todo) {
        dgf_free(v.height);
        dgf_free(v.todo);
        return dgf_err_set(err, DGF_NOMEM,
                           "cannot verify an expression: out of memory");
    }
    for (uint32_t i = 0; i < program->n_code; i++)
        v.height[i] = -1;
    ok = reach(&v, 0, 0);
    while (ok && v.n_todo > 0) {
        at = v.todo[--v.n_todo];
        ok = visit(&v, at);
    }
    dgf_free(v.height);
    dgf_free(v.todo);
    if (!ok)
        return dgf_err_set(err, DGF_FATAL,
                           "cannot run an expression: bad instruction %u",
                           (unsigned)at);
    program->max_stack = (uint16_t)(v.max + 2);
    return DGF_OK;
}

void dgf_cel_program_disassemble(const struct dgf_cel_program *p, struct dgf_buf *out)
{
    for (uint32_t i = 0; i < p->n_code; i++) {
        const struct dgf_cel_insn *insn = &p->code[i];

        dgf_buf_addf(out, "%4u  %-12s", (unsigned)i, insns[insn->op].name);
        switch ((enum operand)insns[insn->op].operand) {
        case CONST:
            dgf_buf_add_byte(out, ' ');
            dgf_cel_show(&p->consts[insn->b], out);
            break;
        case NAME:
            dgf_buf_addf(out, " .%s", (const char *)p->names[insn->b].text.ptr);
            break;
        case FIELD:
            dgf_buf_addf(out, " %u.%s", insn->b,
                         (const char *)p->names[insn->c].text.ptr);
            break;
        case CALL:
            dgf_buf_addf(out, " %s/%u", p->sites[insn->b].name, insn->a);
            break;
        case COND:
        case FOLD:
            dgf_buf_addf(out, " -> %u, %u", insn->b, insn->c);
            break;
        case CODE:
        case ITER:
        case NEXT:
            dgf_buf_addf(out, " -> %u", insn->b);
            break;
        case NONE:
            break;
        default:
            dgf_buf_addf(out, " %u", insn->b);
        }
        dgf_buf_add_byte(out, '\n');
    }
}
