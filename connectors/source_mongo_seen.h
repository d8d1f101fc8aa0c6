/* source_mongo_seen.h - what inspection saw, and what of it is an event.
 *
 * A thing is (what, database, name, part): what is "collection", "index", "user",
 * "role" or "setting"; part is the index's name or the list a setting stands in,
 * "" for the others.  One look marks what it finds; what a whole answer no longer has
 * is gone.  Thread: the session's. */
#ifndef DGF_CONNECTORS_SOURCE_MONGO_SEEN_H
#define DGF_CONNECTORS_SOURCE_MONGO_SEEN_H

#include "source_mongo.h"

struct dgf_mongo_look {
    struct dgf_mongo_session *session;
    bool changed, failed;
};

struct dgf_mongo_thing {
    const char *what, *database, *name, *part;
};

void dgf_mongo_look_begin(struct dgf_mongo_session *session,
                          struct dgf_mongo_look *look);
/* It is there: fields of document, and `indexes` (an array) when len is not 0.  An
 * event when it is new or another one; of an index only its going is one. */
void dgf_mongo_look_found(struct dgf_mongo_look *look,
                          const struct dgf_mongo_thing *thing,
                          struct dgf_bytes document, struct dgf_bytes indexes);
/* Whether such things are there was not answered: they are taken as they were.
 * The fields of thing may be NULL from the back: all of these. */
void dgf_mongo_look_keep(struct dgf_mongo_look *look,
                         const struct dgf_mongo_thing *thing);
/* All such things were answered: those not found are gone. */
void dgf_mongo_look_gone(struct dgf_mongo_look *look,
                         const struct dgf_mongo_thing *thing);
bool dgf_mongo_look_knows(const struct dgf_mongo_look *look,
                          const struct dgf_mongo_thing *thing);
/* A database with a collection nobody answered for yet.  False: none. */
bool dgf_mongo_look_unanswered(const struct dgf_mongo_look *look, char *database,
                               size_t size);
/* Remembers.  False: ended. */
bool dgf_mongo_look_end(struct dgf_mongo_look *look);

#endif
