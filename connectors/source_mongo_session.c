#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "source_mongo.h"

#define MS INT64_C(1000000)
#define QUEUE_BYTES (8u << 20)

/* ---- stopping ---- */

bool dgf_mongo_session_stopping(struct dgf_mongo_session *session)
{
    bool stop;

    (void)pthread_mutex_lock(&session->lock);
    stop = session->stop;
    (void)pthread_mutex_unlock(&session->lock);
    return stop;
}

void dgf_mongo_session_sleep(struct dgf_mongo_session *session, int64_t ns)
{
    struct timespec until;
    int rc = 0;

    ns += dgf_clock_mono_ns();
    until.tv_sec = ns / (1000 * MS);
    until.tv_nsec = ns % (1000 * MS);
    (void)pthread_mutex_lock(&session->lock);
    while (!session->stop && !rc)
        rc = pthread_cond_timedwait(&session->wake, &session->lock, &until);
    (void)pthread_mutex_unlock(&session->lock);
}

/* ---- the queue's thread side ---- */

static bool put_item(struct dgf_mongo_session *session,
                     const struct dgf_mongo_item *what, struct dgf_event *take_event,
                     struct dgf_bytes text)
{
    struct dgf_mongo_item *item = dgf_malloc(sizeof(*item) + text.len + 1);
    uint64_t one = 1;
    bool stop;

    if (!item) {
        dgf_event_unref(take_event);
        return false;
    }
    *item = *what;
    item->event = take_event;
    item->len = text.len;
    if (text.len)
        memcpy(item->text, text.ptr, text.len);
    item->text[text.len] = '\0';
    (void)pthread_mutex_lock(&session->lock);
    while (!session->stop && session->n_bytes > QUEUE_BYTES)
        (void)pthread_cond_wait(&session->wake, &session->lock);
    stop = session->stop;
    if (!stop) {
        *session->end = item;
        session->end = &item->next;
        session->n_bytes += sizeof(*item) + (take_event ? take_event->body.len : 0);
    }
    (void)pthread_mutex_unlock(&session->lock);
    if (stop) {
        dgf_event_unref(take_event);
        dgf_free(item);
        return false;
    }
    /* Fails only when the counter is full, and then the loop knows already. */
    (void)!write(session->fd, &one, sizeof(one));
    return true;
}

bool dgf_mongo_session_put(struct dgf_mongo_session *session,
                           enum dgf_mongo_item_kind kind, struct dgf_event *take_event,
                           enum dgf_rc rc, enum dgf_source_state state, bool poison,
                           const char *text)
{
    struct dgf_mongo_item item = {
        .kind = kind, .rc = rc, .state = state, .poison = poison};
    /* What inspection tells is no progress of the stream. */
    bool is_event = kind == DGF_MONGO_ITEM_EVENT && take_event->position.len;

    if (!put_item(session, &item, take_event, dgf_bytes_str(text)))
        return false;
    session->progressed = session->progressed || is_event;
    return true;
}

bool dgf_mongo_session_put_memory(struct dgf_mongo_session *session,
                                  struct dgf_bytes memory)
{
    return put_item(session, &(struct dgf_mongo_item){.kind = DGF_MONGO_ITEM_MEMORY},
                    NULL, memory);
}

void dgf_mongo_session_fail(struct dgf_mongo_session *session, enum dgf_rc rc,
                            bool poison, const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    (void)dgf_mongo_session_put(session, DGF_MONGO_ITEM_FAIL, NULL, rc,
                                DGF_STATE_STOPPED, poison, text);
}

/* ---- the end ---- */

static void free_object(void *object)
{
    dgf_object_unref(object);
}

static void free_list(struct dgf_str_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        dgf_free(list->list[i]);
    dgf_free(list->list);
}

void dgf_mongo_session_unref(struct dgf_mongo_session *session)
{
    struct dgf_mongo_item *item;
    unsigned left;

    (void)pthread_mutex_lock(&session->lock);
    left = --session->refs;
    (void)pthread_mutex_unlock(&session->lock);
    if (left)
        return;
    while ((item = session->first)) {
        session->first = item->next;
        dgf_event_unref(item->event);
        dgf_free(item);
    }
    dgf_map_release(&session->objects, free_object);
    dgf_map_release(&session->seen, dgf_free);
    dgf_event_builder_release(&session->builder);
    dgf_buf_release(&session->token);
    dgf_buf_release(&session->scratch);
    dgf_buf_release(&session->parts);
    free_list(&session->own.include);
    free_list(&session->own.exclude);
    dgf_free(session->database);
    dgf_free(session->collection);
    if (session->uri)
        mongoc_uri_destroy(session->uri);
    if (session->fd >= 0)
        (void)close(session->fd);
    (void)pthread_mutex_destroy(&session->lock);
    (void)pthread_cond_destroy(&session->wake);
    dgf_free(session);
}
