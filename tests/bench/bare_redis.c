/* bare_redis.c - the least a program can do with a Redis stream: B9's reference.
 *
 *   bare_redis PORT STREAM GROUP N
 *
 * Reads as a consumer group with hiredis, a thousand entries at a time, looks at
 * each id and each field once, and acknowledges them: XREADGROUP, XACK, again.
 * It judges nothing and keeps nothing.  Ends after N entries. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT 1000

static redisContext *conn;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bare_redis: %s: %s\n", what, why);
    exit(EXIT_FAILURE);
}

static redisReply *checked(redisReply *reply, const char *what)
{
    if (!reply)
        die(what, conn->errstr);
    if (reply->type == REDIS_REPLY_ERROR)
        die(what, reply->str);
    return reply;
}

/* [[name, [[id, [field, value, ...]], ...]]]: the entries, or NULL at the end. */
static const redisReply *entries_of(const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_NIL)
        return NULL;
    if (reply->elements != 1 || reply->element[0]->elements != 2)
        die("XREADGROUP", "the answer has another form");
    return reply->element[0]->element[1];
}

static size_t look_at(const redisReply *entries, const char **words, size_t *lens)
{
    size_t bytes = 0;

    for (size_t i = 0; i < entries->elements; i++) {
        const redisReply *id = entries->element[i]->element[0];
        const redisReply *fields = entries->element[i]->element[1];

        words[3 + i] = id->str;
        lens[3 + i] = (size_t)id->len;
        for (size_t f = 0; f < fields->elements; f++)
            bytes += (size_t)fields->element[f]->len;
    }
    return bytes;
}

int main(int argc, char **argv)
{
    static const char *words[COUNT + 3] = {"XACK"};
    static size_t lens[COUNT + 3] = {4};
    size_t n = 0, bytes = 0, wanted;

    if (argc != 5)
        die("usage", "bare_redis PORT STREAM GROUP N");
    conn = redisConnect("127.0.0.1", atoi(argv[1]));
    if (!conn || conn->err)
        die("connect", conn ? conn->errstr : "out of memory");
    wanted = strtoul(argv[4], NULL, 10);
    words[1] = argv[2];
    words[2] = argv[3];
    lens[1] = strlen(argv[2]);
    lens[2] = strlen(argv[3]);
    while (n < wanted) {
        redisReply *reply =
            checked(redisCommand(conn, "XREADGROUP GROUP %s bare COUNT %d STREAMS %s >",
                                 argv[3], COUNT, argv[2]),
                    "XREADGROUP");
        const redisReply *entries = entries_of(reply);

        if (!entries)
            die("XREADGROUP", "the stream has fewer entries");
        bytes += look_at(entries, words, lens);
        n += entries->elements;
        freeReplyObject(checked(
            redisCommandArgv(conn, (int)entries->elements + 3, words, lens), "XACK"));
        freeReplyObject(reply);
    }
    printf("%zu entries, %zu bytes\n", n, bytes);
    redisFree(conn);
    return 0;
}
