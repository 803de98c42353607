#ifndef SHAPE_H
#define SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "value.h"

/*
 * A shape is the field list of one record: it reads a document into a struct and writes the struct as a document. Requests, stored
 * documents and answers go through the same lists, so that a field is named, typed and bounded in one place.
 *
 * C types by field: INT int64_t · MONEY_TEXT struct view, the decimal as it was written, from a number or a string (its currency is known
 * later) · TEXT struct view · BOOL bool · LIST struct items of the structs of ${of} · ANY struct value (an object, for attributes).
 * A field that is absent stays zero; ${given} (an offset of a bool, or 0) tells absent from zero.
 */
enum field_type { FIELD_INT, FIELD_MONEY_TEXT, FIELD_TEXT, FIELD_BOOL, FIELD_LIST, FIELD_ANY };

struct shape;
struct field {
    const char *name;
    enum field_type type;
    size_t offset;
    size_t given; /* offset of a bool that is set when the member was there and not null; 0: none */
    bool required;
    int64_t min, max;       /* INT: value; TEXT: bytes; LIST: items; both 0: any */
    const char *choices;    /* TEXT: "a|b|c", NULL: any */
    const struct shape *of; /* LIST */
};
struct shape {
    const char *name; /* for messages: "order" */
    const struct field *fields;
    size_t count, size; /* of fields; of the struct */
};
struct items {
    void *at;
    size_t count;
};

/* What was wrong with a document: JSON pointers and sentences, for problem details' "errors". */
struct fault {
    struct view pointer, message;
    struct fault *next;
};
struct faults {
    struct arena *arena;
    struct fault *first, **last;
    size_t count;
};
void faults_init(struct faults *faults, struct arena *arena);
/* Adds one; the first 32 are kept, the rest are counted. */
void faults_add(struct faults *faults, struct view pointer, const char *format, ...) __attribute__((format(printf, 3, 4)));

/*
 * Reads ${value} into the zeroed struct ${into}. Unknown members, wrong types, values out of bounds, control characters in texts and missing
 * required members are added to ${faults}, all of them, not the first. Returns true if there were none. Texts are borrowed from the value.
 */
bool shape_read(const struct shape *shape, const struct value *value, void *into, struct arena *arena, struct faults *faults);

/* The same for a document that Souk stored: unknown members are skipped (a newer version wrote them); returns false if a known one is damaged. */
bool shape_load(const struct shape *shape, const struct value *value, void *into, struct arena *arena);

/* Writes ${from} as a map of all fields that are given (or have no given flag). */
void shape_write(const struct shape *shape, const void *from, struct writer *writer);

#endif
