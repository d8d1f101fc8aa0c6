#include "cel/vm.h"

#include <string.h>

/* The machine.  Straight code is charged once at the start, each turn of a loop
 * when it begins, so that the common instruction does not count.  Instructions
 * handle the usual kinds here and leave the rest to vm_slow.c; eval->at is set
 * before anything that can fail. */

#define SMALL_STACK 48

void dgf_cel_eval_start(struct dgf_cel_eval *eval, const struct dgf_cel_env *env,
                        struct dgf_arena *arena)
{
    eval->arena = arena;
    eval->depth = 0;
    eval->n_lets = 0;
    eval->lets = NULL;
    if (env->n_lets == 0)
        return;
    eval->lets = dgf_arena_alloc(arena, env->n_lets * sizeof(eval->lets[0]));
    if (!eval->lets)
        return; /* named expressions are then evaluated anew each time */
    memset(eval->lets, 0, env->n_lets * sizeof(eval->lets[0]));
    eval->n_lets = env->n_lets;
}

static inline bool is_true(const struct dgf_cel_value *v)
{
    return v->kind == DGF_CEL_BOOL && v->boolean;
}

static inline bool is_false(const struct dgf_cel_value *v)
{
    return v->kind == DGF_CEL_BOOL && !v->boolean;
}

/* Both text: -1 when the slow path has to look. */
static inline int quick_equal(const struct dgf_cel_value *a,
                              const struct dgf_cel_value *b)
{
    if (a->kind != b->kind)
        return -1;
    if (a->kind == DGF_CEL_STRING)
        return a->len == b->len && memcmp(a->ptr, b->ptr, a->len) == 0;
    if (a->kind == DGF_CEL_INT || a->kind == DGF_CEL_UINT)
        return a->u64 == b->u64;
    return a->kind == DGF_CEL_BOOL ? a->boolean == b->boolean : -1;
}

static struct dgf_cel_builder *builder_of(const struct dgf_cel_value *v)
{
    return (struct dgf_cel_builder *)(uintptr_t)v->ptr;
}

/* The value under construction, finished; an error or unknown stays. */
static void finish(struct dgf_cel_eval *eval, struct dgf_cel_value *v, bool map)
{
    const struct dgf_cel_builder *builder = builder_of(v);
    struct dgf_cel_value result;
    const struct dgf_cel_list *list;

    if (v->kind != DGF_CEL_UNSET)
        return;
    if (map) {
        dgf_cel_vm_map(eval, builder->items, builder->n / 2, &result);
        *v = result;
        return;
    }
    list = dgf_cel_list_new(eval->arena, builder->items, builder->n);
    if (list)
        *v = dgf_cel_list_of(list);
    else
        dgf_cel_alloc(eval, SIZE_MAX, v);
}

/* exists_one: counts; false: decided. */
static bool count_one(struct dgf_cel_eval *eval, struct dgf_cel_value *count,
                      const struct dgf_cel_value *v)
{
    if (v->kind == DGF_CEL_BOOL) {
        count->i64 += v->boolean;
        return true;
    }
    if (dgf_cel_is_absent(v->kind))
        *count = *v;
    else
        dgf_cel_no_overload(eval, count, "exists_one", v, 1);
    return false;
}

static bool start_builder(struct dgf_cel_eval *eval, struct dgf_cel_value *ret)
{
    struct dgf_cel_builder *builder = dgf_cel_alloc(eval, sizeof(*builder), ret);

    if (!builder)
        return false;
    memset(builder, 0, sizeof(*builder));
    *ret =
        (struct dgf_cel_value){.kind = DGF_CEL_UNSET, .ptr = (const uint8_t *)builder};
    return true;
}

/* A step of a fold whose body gave v: adds it to the builder in acc; false:
 * acc is now an error or unknown and the fold is decided. */
static bool add_items(struct dgf_cel_eval *eval, struct dgf_cel_value *acc,
                      const struct dgf_cel_value *items, unsigned n)
{
    if (acc->kind != DGF_CEL_UNSET)
        return false;
    for (unsigned i = 0; i < n; i++) {
        if (dgf_cel_is_absent(items[i].kind)) {
            *acc = *dgf_cel_absent_of(items, n);
            return false;
        }
    }
    return dgf_cel_vm_add(eval, builder_of(acc), items, n, acc);
}

static void mark_splice(struct dgf_cel_eval *eval, struct dgf_cel_value *v)
{
    if (v->kind == DGF_CEL_OPTIONAL)
        v->wide = 1;
    else if (!dgf_cel_is_absent(v->kind))
        dgf_cel_no_overload(eval, v, "?", v, 1);
}

static struct dgf_cel_value fail_const(struct dgf_cel_eval *eval,
                                       const struct dgf_cel_value *text)
{
    struct dgf_cel_value ret;

    dgf_cel_fail(eval, &ret, "%.*s", (int)text->len, (const char *)text->ptr);
    return ret;
}

/* Locals, iterators and the value stack of one run. */
struct frame {
    struct dgf_cel_value *stack, *locals;
    struct dgf_cel_iter *iters;
};

static struct dgf_cel_value run(const struct dgf_cel_program *program,
                                struct dgf_cel_eval *eval, const struct frame *frame)
{
    static const void *const labels[] = {
#define OP(name, operand, pops, pushes, meaning) &&on_##name,
#include "cel/cel_ops.def"
#undef OP
    };
    const struct dgf_cel_insn *pc = program->code;
    struct dgf_cel_value *sp = frame->stack - 1; /* the topmost value */
    struct dgf_cel_value *const locals = frame->locals;
    const struct dgf_cel_value *const consts = program->consts;
    int equal;

#define AT() (eval->at = (uint32_t)(pc - program->code))
#define NEXT()                \
    do {                      \
        pc++;                 \
        goto *labels[pc->op]; \
    } while (0)
#define JUMP(to)                   \
    do {                           \
        pc = program->code + (to); \
        goto *labels[pc->op];      \
    } while (0)
#define COMPARE(op_, sign)                                             \
    do {                                                               \
        if (sp[-1].kind == DGF_CEL_INT && sp[0].kind == DGF_CEL_INT) { \
            sp[-1] = dgf_cel_bool(sp[-1].i64 sign sp[0].i64);          \
        } else {                                                       \
            AT();                                                      \
            dgf_cel_vm_compare(eval, op_, &sp[-1], &sp[0], &sp[-1]);   \
        }                                                              \
        sp--;                                                          \
        NEXT();                                                        \
    } while (0)
#define ARITH(op_)                                          \
    do {                                                    \
        AT();                                               \
        dgf_cel_arith(eval, op_, &sp[-1], &sp[0], &sp[-1]); \
        sp--;                                               \
        NEXT();                                             \
    } while (0)

    goto *labels[pc->op];

on_CONST:
    *++sp = consts[pc->b];
    NEXT();
on_VAR:
    sp++;
    if (pc->b < eval->n_vars && eval->vars[pc->b].kind != DGF_CEL_UNSET) {
        *sp = eval->vars[pc->b];
    } else {
        AT();
        dgf_cel_vm_var(eval, pc->b, sp);
    }
    NEXT();
on_VAR_FIELD:
    sp++;
    AT();
    if (pc->b < eval->n_vars && eval->vars[pc->b].kind == DGF_CEL_MAP) {
        const struct dgf_cel_map *map = eval->vars[pc->b].map;

        if (map->ops->get(map, eval, &program->names[pc->c], sp))
            NEXT();
    }
    dgf_cel_vm_var(eval, pc->b, sp);
    dgf_cel_vm_select(eval, sp, &program->names[pc->c], DGF_CEL_MUST, sp);
    NEXT();
on_LOCAL:
    *++sp = locals[pc->b];
    NEXT();
on_SET_LOCAL:
    locals[pc->b] = *sp--;
    NEXT();
on_LET:
    AT();
    dgf_cel_vm_let(eval, pc->b, ++sp);
    NEXT();
on_FAIL:
    AT();
    *++sp = fail_const(eval, &consts[pc->b]);
    NEXT();
on_SELECT:
    AT();
    dgf_cel_vm_select(eval, sp, &program->names[pc->b], DGF_CEL_MUST, sp);
    NEXT();
on_SELECT_SOFT:
    AT();
    dgf_cel_vm_select(eval, sp, &program->names[pc->b], DGF_CEL_SOFT, sp);
    NEXT();
on_SELECT_OPT:
    AT();
    dgf_cel_vm_select(eval, sp, &program->names[pc->b], DGF_CEL_OPT, sp);
    NEXT();
on_HAS:
    AT();
    dgf_cel_vm_has(eval, sp, &program->names[pc->b], sp);
    NEXT();
on_INDEX:
    AT();
    sp--;
    dgf_cel_vm_index(eval, &sp[0], &sp[1], DGF_CEL_MUST, sp);
    NEXT();
on_INDEX_SOFT:
    AT();
    sp--;
    dgf_cel_vm_index(eval, &sp[0], &sp[1], DGF_CEL_SOFT, sp);
    NEXT();
on_INDEX_OPT:
    AT();
    sp--;
    dgf_cel_vm_index(eval, &sp[0], &sp[1], DGF_CEL_OPT, sp);
    NEXT();
on_MISSING:
    dgf_cel_vm_missing(sp, sp);
    NEXT();
on_KNOWN:
    *sp = dgf_cel_bool(sp->kind != DGF_CEL_UNKNOWN);
    NEXT();
on_EQ:
    sp--;
    equal = quick_equal(&sp[0], &sp[1]);
    if (equal >= 0) {
        *sp = dgf_cel_bool(equal);
    } else {
        AT();
        *sp = dgf_cel_equal(eval, &sp[0], &sp[1]);
    }
    NEXT();
on_NE:
    sp--;
    equal = quick_equal(&sp[0], &sp[1]);
    if (equal >= 0) {
        *sp = dgf_cel_bool(!equal);
    } else {
        AT();
        *sp = dgf_cel_equal(eval, &sp[0], &sp[1]);
        if (sp->kind == DGF_CEL_BOOL)
            sp->boolean = !sp->boolean;
    }
    NEXT();
on_EQ_CONST:
    equal = quick_equal(sp, &consts[pc->b]);
    if (equal >= 0) {
        *sp = dgf_cel_bool(equal);
    } else {
        AT();
        *sp = dgf_cel_equal(eval, sp, &consts[pc->b]);
    }
    NEXT();
on_NE_CONST:
    equal = quick_equal(sp, &consts[pc->b]);
    if (equal >= 0) {
        *sp = dgf_cel_bool(!equal);
    } else {
        AT();
        *sp = dgf_cel_equal(eval, sp, &consts[pc->b]);
        if (sp->kind == DGF_CEL_BOOL)
            sp->boolean = !sp->boolean;
    }
    NEXT();
on_LT:
    COMPARE(DGF_CEL_OP_LT, <);
on_LE:
    COMPARE(DGF_CEL_OP_LE, <=);
on_GT:
    COMPARE(DGF_CEL_OP_GT, >);
on_GE:
    COMPARE(DGF_CEL_OP_GE, >=);
on_ADD:
    ARITH(DGF_CEL_OP_ADD);
on_SUB:
    ARITH(DGF_CEL_OP_SUB);
on_MUL:
    ARITH(DGF_CEL_OP_MUL);
on_DIV:
    ARITH(DGF_CEL_OP_DIV);
on_MOD:
    ARITH(DGF_CEL_OP_MOD);
on_NEG:
    AT();
    dgf_cel_negate(eval, sp, sp);
    NEXT();
on_NOT:
    AT();
    dgf_cel_vm_not(eval, sp, sp);
    NEXT();
on_IN:
    AT();
    sp--;
    if (dgf_cel_is_absent(sp[0].kind) || dgf_cel_is_absent(sp[1].kind))
        *sp = *dgf_cel_absent_of(sp, 2);
    else
        dgf_cel_in(
            eval,
            &(struct dgf_cel_value){
                sp[0].kind, sp[0].wide, sp[0].scale, sp[0].len, {.u64 = sp[0].u64}},
            &sp[1], sp);
    NEXT();
on_AND:
    sp--;
    if (is_true(&sp[0]) && sp[1].kind == DGF_CEL_BOOL) {
        *sp = sp[1];
    } else {
        AT();
        dgf_cel_vm_logic(eval, false, &sp[0], &sp[1], sp);
    }
    NEXT();
on_OR:
    sp--;
    if (is_false(&sp[0]) && sp[1].kind == DGF_CEL_BOOL) {
        *sp = sp[1];
    } else {
        AT();
        dgf_cel_vm_logic(eval, true, &sp[0], &sp[1], sp);
    }
    NEXT();
on_JUMP:
    JUMP(pc->b);
on_JUMP_FALSE:
    if (is_false(sp))
        JUMP(pc->b);
    NEXT();
on_JUMP_TRUE:
    if (is_true(sp))
        JUMP(pc->b);
    NEXT();
on_COND:
    if (is_true(sp)) {
        sp--;
        NEXT();
    }
    if (is_false(sp)) {
        sp--;
        JUMP(pc->b);
    }
    AT();
    if (!dgf_cel_is_absent(sp->kind))
        dgf_cel_no_overload(eval, sp, "?:", &(struct dgf_cel_value){.kind = sp->kind},
                            1);
    JUMP(pc->c);
on_LIST:
    AT();
    sp -= (int)pc->b - 1;
    {
        struct dgf_cel_value list;

        dgf_cel_vm_list(eval, sp, pc->b, &list);
        *sp = list;
    }
    NEXT();
on_MAP:
    AT();
    sp -= 2 * (int)pc->b - 1;
    {
        struct dgf_cel_value map;

        dgf_cel_vm_map(eval, sp, pc->b, &map);
        *sp = map;
    }
    NEXT();
on_SPLICE:
    AT();
    mark_splice(eval, sp);
    NEXT();
on_CALL:
    AT();
    sp -= (int)pc->a - 1;
    dgf_cel_vm_call(eval, &program->sites[pc->b], sp, pc->a, sp);
    NEXT();
on_MATCHES:
    AT();
    dgf_cel_vm_matches(eval, program->regexes[pc->b], sp, sp);
    NEXT();
on_ITER:
    AT();
    if (!dgf_cel_vm_iter(eval, sp, &frame->iters[pc->a], sp))
        JUMP(pc->b);
    sp--;
    NEXT();
on_NEXT:
    if (!dgf_cel_vm_next(eval, &frame->iters[pc->a], pc->d, &locals[pc->c]))
        JUMP(pc->b);
    AT();
    if (!dgf_cel_charge(eval, pc->b - eval->at, sp)) /* the length of the body */
        JUMP(pc->b);
    NEXT();
on_FOLD_ALL:
    AT();
    sp--;
    dgf_cel_vm_logic(eval, false, &sp[0], &sp[1], sp);
    JUMP(is_false(sp) ? pc->c : pc->b);
on_FOLD_EXISTS:
    AT();
    sp--;
    dgf_cel_vm_logic(eval, true, &sp[0], &sp[1], sp);
    JUMP(is_true(sp) ? pc->c : pc->b);
on_FOLD_ONE:
    AT();
    sp--;
    JUMP(count_one(eval, &sp[0], &sp[1]) ? pc->b : pc->c);
on_ONE_END:
    if (sp->kind == DGF_CEL_INT)
        *sp = dgf_cel_bool(sp->i64 == 1);
    NEXT();
on_BUILD:
    start_builder(eval, ++sp);
    NEXT();
on_FILTER:
    AT();
    sp--;
    if (is_true(&sp[1]))
        NEXT();
    if (is_false(&sp[1]))
        JUMP(pc->b);
    if (dgf_cel_is_absent(sp[1].kind))
        sp[0] = sp[1];
    else
        dgf_cel_no_overload(eval, &sp[0], "filter", &sp[1], 1);
    JUMP(pc->c);
on_LIST_ADD:
    AT();
    sp--;
    JUMP(add_items(eval, &sp[0], &sp[1], 1) ? pc->b : pc->c);
on_MAP_ADD:
    AT();
    sp -= 2;
    JUMP(add_items(eval, &sp[0], &sp[1], 2) ? pc->b : pc->c);
on_MAP_MERGE:
    AT();
    sp--;
    if (sp[0].kind != DGF_CEL_UNSET)
        JUMP(pc->c);
    if (dgf_cel_is_absent(sp[1].kind)) {
        sp[0] = sp[1];
        JUMP(pc->c);
    }
    JUMP(dgf_cel_vm_merge(eval, builder_of(&sp[0]), &sp[1], &sp[0]) ? pc->b : pc->c);
on_LIST_END:
    AT();
    finish(eval, sp, false);
    NEXT();
on_MAP_END:
    AT();
    finish(eval, sp, true);
    NEXT();
on_TRACE:
    if (eval->trace && pc->b < eval->n_trace)
        eval->trace[pc->b] = *sp;
    NEXT();
on_RETURN:
    return *sp;
#undef AT
#undef NEXT
#undef JUMP
#undef COMPARE
#undef ARITH
}

struct dgf_cel_value dgf_cel_run(const struct dgf_cel_program *program,
                                 struct dgf_cel_eval *eval)
{
    struct dgf_cel_value small[SMALL_STACK];
    struct dgf_cel_iter iters[4];
    struct frame frame = {.stack = small, .iters = iters};
    struct dgf_cel_value failed;
    size_t n_values = (size_t)program->max_stack + program->n_locals;

    eval->program = program;
    eval->at = 0;
    if (!dgf_cel_charge(eval, program->n_code, &failed))
        return failed;
    if (n_values > SMALL_STACK) {
        frame.stack = dgf_cel_alloc(eval, n_values * sizeof(small[0]), &failed);
        if (!frame.stack)
            return failed;
    }
    frame.locals = frame.stack + program->max_stack;
    if (program->n_iters > 4) {
        frame.iters = dgf_cel_alloc(eval, program->n_iters * sizeof(iters[0]), &failed);
        if (!frame.iters)
            return failed;
    }
    return run(program, eval, &frame);
}
