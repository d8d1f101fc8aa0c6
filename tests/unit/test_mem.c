#include "base/mem.h"

#include <string.h>

#include "unit.h"

START_TEST(an_arena_hands_out_aligned_places_that_do_not_overlap)
{
    struct dgf_arena arena;
    uint8_t *last = NULL;

    dgf_arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < 2000; i++) {
        uint8_t *ptr = dgf_arena_alloc(&arena, i % 70);

        ck_assert_ptr_nonnull(ptr);
        ck_assert_ptr_ne(ptr, last);
        ck_assert_uint_eq((uintptr_t)ptr % 16, 0);
        memset(ptr, (int)i, i % 70);
        last = ptr;
    }
    dgf_arena_release(&arena);
}
END_TEST

START_TEST(an_arena_refuses_what_is_over_its_maximum_and_goes_on)
{
    struct dgf_arena arena;

    dgf_arena_init(&arena, 10000);
    ck_assert_ptr_nonnull(dgf_arena_alloc(&arena, 4000));
    ck_assert_ptr_nonnull(dgf_arena_alloc(&arena, 5984));
    ck_assert_ptr_null(dgf_arena_alloc(&arena, 32));
    ck_assert_ptr_nonnull(dgf_arena_alloc(&arena, 16));
    ck_assert_ptr_null(dgf_arena_alloc(&arena, 1));
    ck_assert_ptr_null(dgf_arena_alloc(&arena, SIZE_MAX));
    ck_assert_ptr_null(dgf_arena_alloc(&arena, SIZE_MAX - 15));
    dgf_arena_reset(&arena);
    ck_assert_ptr_nonnull(dgf_arena_alloc(&arena, 9984));
    dgf_arena_release(&arena);
}
END_TEST

START_TEST(an_arena_in_a_steady_state_allocates_nothing)
{
    struct dgf_arena arena;
    struct dgf_arena_block *block;

    dgf_arena_init(&arena, 1 << 20);
    for (int round = 0; round < 20; round++) {
        dgf_arena_reset(&arena);
        for (int i = 0; i < 1000; i++)
            ck_assert_ptr_nonnull(dgf_arena_alloc(&arena, 100));
    }
    block = arena.blocks;
    dgf_arena_reset(&arena);
    for (int i = 0; i < 1000; i++)
        ck_assert_ptr_nonnull(dgf_arena_alloc(&arena, 100));
    ck_assert_ptr_eq(arena.blocks, block);
    dgf_arena_release(&arena);
}
END_TEST

START_TEST(an_arena_without_memory_gives_nothing_and_releases_twice)
{
    struct dgf_arena arena;

    dgf_arena_init(&arena, 0);
    ck_assert_ptr_null(dgf_arena_alloc(&arena, 0));
    ck_assert_ptr_null(dgf_arena_strndup(&arena, "a", 1));
    dgf_arena_reset(&arena);
    dgf_arena_release(&arena);
    dgf_arena_release(&arena);
}
END_TEST

START_TEST(a_copy_of_a_text_ends_in_nul_and_a_range_may_hold_one)
{
    DGF_CLEANUP(dgf_free) char *whole = dgf_strdup("abc");
    DGF_CLEANUP(dgf_free) char *part = dgf_strndup("a\0bc", 3);
    struct dgf_arena arena;

    ck_assert_str_eq(whole, "abc");
    ck_assert_mem_eq(part, "a\0b\0", 4);
    dgf_arena_init(&arena, 100);
    ck_assert_str_eq(dgf_arena_strndup(&arena, "abcdef", 3), "abc");
    ck_assert_str_eq(dgf_arena_strndup(&arena, NULL, 0), "");
    dgf_arena_release(&arena);
}
END_TEST

START_TEST(an_owned_pointer_is_handed_over_and_null_stays)
{
    char *from = dgf_strdup("x");
    char *to = dgf_steal(from);

    ck_assert_ptr_null(from);
    ck_assert_str_eq(to, "x");
    dgf_free(to);
    dgf_free(NULL);
}
END_TEST

START_TEST(nothing_is_an_allocation_too_and_overflow_is_none)
{
    void *ptr = dgf_malloc(0);
    void *zero = dgf_calloc(0, 8);
    volatile size_t many = SIZE_MAX / 2;

    ck_assert_ptr_nonnull(ptr);
    ck_assert_ptr_nonnull(zero);
    ck_assert_ptr_null(dgf_calloc(many, 8));
    ptr = dgf_realloc(ptr, 0);
    ck_assert_ptr_nonnull(ptr);
    dgf_free(ptr);
    dgf_free(zero);
}
END_TEST

START_TEST(sums_and_products_say_when_they_do_not_fit)
{
    size_t result = 7;

    ck_assert(dgf_add_size(1, 2, &result));
    ck_assert_uint_eq(result, 3);
    ck_assert(!dgf_add_size(SIZE_MAX, 1, &result));
    ck_assert(dgf_mul_size(1u << 20, 1u << 20, &result));
    ck_assert_uint_eq(result, (size_t)1 << 40);
    ck_assert(!dgf_mul_size(SIZE_MAX, 2, &result));
}
END_TEST

START_TEST(wiped_memory_is_zero)
{
    char secret[] = "hunter2";

    dgf_wipe(secret, sizeof(secret));
    for (size_t i = 0; i < sizeof(secret); i++)
        ck_assert_int_eq(secret[i], 0);
    dgf_wipe(NULL, 0);
}
END_TEST

DGF_UNIT(mem, an_arena_hands_out_aligned_places_that_do_not_overlap,
         an_arena_refuses_what_is_over_its_maximum_and_goes_on,
         an_arena_in_a_steady_state_allocates_nothing,
         an_arena_without_memory_gives_nothing_and_releases_twice,
         a_copy_of_a_text_ends_in_nul_and_a_range_may_hold_one,
         an_owned_pointer_is_handed_over_and_null_stays,
         nothing_is_an_allocation_too_and_overflow_is_none,
         sums_and_products_say_when_they_do_not_fit, wiped_memory_is_zero)
