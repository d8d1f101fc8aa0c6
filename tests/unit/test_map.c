#include "base/map.h"

#include <stdio.h>

#include "unit.h"

static struct dgf_bytes key_of(int i, char text[32])
{
    (void)snprintf(text, 32, "key-%d", i);
    return dgf_bytes_str(text);
}

START_TEST(what_was_put_is_found_and_the_rest_is_not)
{
    struct dgf_map map;
    char text[32];
    int values[1000];

    dgf_map_init(&map);
    ck_assert_ptr_null(dgf_map_get(&map, DGF_BYTES("x")));
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(dgf_map_put(&map, key_of(i, text), &values[i], NULL), DGF_OK);
    for (int i = 0; i < 1000; i++)
        ck_assert_ptr_eq(dgf_map_get(&map, key_of(i, text)), &values[i]);
    ck_assert_ptr_null(dgf_map_get(&map, DGF_BYTES("key-1000")));
    ck_assert_ptr_null(dgf_map_get(&map, DGF_BYTES("")));
    ck_assert_uint_eq(map.n, 1000);
    dgf_map_release(&map, NULL);
}
END_TEST

START_TEST(putting_again_replaces_and_gives_the_old_value)
{
    struct dgf_map map;
    void *old = &map;
    int a, b;

    dgf_map_init(&map);
    ck_assert_int_eq(dgf_map_put(&map, DGF_BYTES("k\0x"), &a, &old), DGF_OK);
    ck_assert_ptr_null(old);
    ck_assert_int_eq(dgf_map_put(&map, DGF_BYTES("k\0x"), &b, &old), DGF_OK);
    ck_assert_ptr_eq(old, &a);
    ck_assert_uint_eq(map.n, 1);
    ck_assert_ptr_eq(dgf_map_get(&map, DGF_BYTES("k\0x")), &b);
    ck_assert_ptr_null(dgf_map_get(&map, DGF_BYTES("k")));
    dgf_map_release(&map, NULL);
}
END_TEST

START_TEST(iteration_follows_insertion_also_after_removals)
{
    struct dgf_map map;
    struct dgf_map_entry *entry;
    char text[32];
    int values[100], expected = 1;

    dgf_map_init(&map);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(dgf_map_put(&map, key_of(i, text), &values[i], NULL), DGF_OK);
    for (int i = 0; i < 100; i += 2)
        ck_assert_ptr_eq(dgf_map_remove(&map, key_of(i, text)), &values[i]);
    ck_assert_ptr_null(dgf_map_remove(&map, key_of(0, text)));
    for (size_t at = 0; (entry = dgf_map_next(&map, &at)); expected += 2)
        ck_assert_ptr_eq(entry->value, &values[expected]);
    ck_assert_int_eq(expected, 101);
    dgf_map_release(&map, NULL);
}
END_TEST

START_TEST(a_map_that_is_filled_and_emptied_for_ever_does_not_grow)
{
    struct dgf_map map;
    char text[32];
    int value;

    dgf_map_init(&map);
    for (int i = 0; i < 100000; i++) {
        ck_assert_int_eq(dgf_map_put(&map, key_of(i, text), &value, NULL), DGF_OK);
        if (i >= 3)
            ck_assert_ptr_eq(dgf_map_remove(&map, key_of(i - 3, text)), &value);
    }
    ck_assert_uint_eq(map.n, 3);
    ck_assert_uint_le(map.cap, 16);
    dgf_map_release(&map, NULL);
}
END_TEST

static unsigned n_freed;

static void count_free(void *value)
{
    (void)value;
    n_freed++;
}

START_TEST(releasing_frees_each_value_that_is_there)
{
    struct dgf_map map;
    int value;

    dgf_map_init(&map);
    for (const char *const *key = (const char *const[]){"a", "b", "c", NULL}; *key;
         key++)
        ck_assert_int_eq(dgf_map_put(&map, dgf_bytes_str(*key), &value, NULL), DGF_OK);
    ck_assert_ptr_nonnull(dgf_map_remove(&map, DGF_BYTES("b")));
    dgf_map_release(&map, count_free);
    ck_assert_uint_eq(n_freed, 2);
    ck_assert_ptr_null(dgf_map_get(&map, DGF_BYTES("a")));
}
END_TEST

START_TEST(two_maps_hash_differently)
{
    struct dgf_map a, b;

    dgf_map_init(&a);
    dgf_map_init(&b);
    ck_assert_uint_ne(a.seed, b.seed);
}
END_TEST

DGF_UNIT(map, what_was_put_is_found_and_the_rest_is_not,
         putting_again_replaces_and_gives_the_old_value,
         iteration_follows_insertion_also_after_removals,
         a_map_that_is_filled_and_emptied_for_ever_does_not_grow,
         releasing_frees_each_value_that_is_there, two_maps_hash_differently)
