#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shape.h"

#define FAULTS_KEPT 32

/* What a reading needs at every level. */
struct reading {
    struct arena *arena;
    struct faults *faults;
    bool unknown_is_fault;
};

/* Where a reading is, from the inside outwards; becomes a JSON pointer (RFC 6901) only when there is something to say about it. */
struct place {
    const struct place *up; /* NULL: the whole document */
    struct view name;       /* a member, or, when .at is NULL, the item of number ${index} */
    size_t index;
};

void faults_init(struct faults *faults, struct arena *arena)
{
    *faults = (struct faults){.arena = arena};
    faults->last = &faults->first;
}

static bool is_full(const struct faults *faults)
{
    return faults->count >= FAULTS_KEPT;
}

static void add_fault(struct faults *faults, struct view pointer, const char *format, va_list args) __attribute__((format(printf, 3, 0)));
static void add_fault(struct faults *faults, struct view pointer, const char *format, va_list args)
{
    struct fault *fault = ARENA_NEW(faults->arena, struct fault);
    char message[512];

    vsnprintf(message, sizeof(message), format, args);
    fault->pointer = pointer;
    fault->message = arena_copy(faults->arena, view_of(message));
    *faults->last = fault;
    faults->last = &fault->next;
}

void faults_add(struct faults *faults, struct view pointer, const char *format, ...)
{
    va_list args;

    if (!is_full(faults)) {
        va_start(args, format);
        add_fault(faults, pointer, format, args);
        va_end(args);
    }
    faults->count++;
}

static void add_escaped(struct buffer *out, struct view name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.at[i] == '~')
            buffer_add_view(out, VIEW("~0"));
        else if (name.at[i] == '/')
            buffer_add_view(out, VIEW("~1"));
        else
            buffer_add(out, &name.at[i], 1);
}

static void add_pointer(struct buffer *out, const struct place *place)
{
    if (!place)
        return;
    add_pointer(out, place->up);
    buffer_add_view(out, VIEW("/"));
    if (place->name.at)
        add_escaped(out, place->name);
    else
        buffer_add_int(out, (long long)place->index);
}

static struct view pointer_to(struct arena *arena, const struct place *place)
{
    struct buffer out = {.arena = arena};

    add_pointer(&out, place);
    return buffer_view(&out);
}

/* A full list costs nothing more: a hostile document has 65,536 unknown members. */
static void complain(const struct reading *reading, const struct place *place, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void complain(const struct reading *reading, const struct place *place, const char *format, ...)
{
    va_list args;

    if (!is_full(reading->faults)) {
        va_start(args, format);
        add_fault(reading->faults, pointer_to(reading->arena, place), format, args);
        va_end(args);
    }
    reading->faults->count++;
}

static bool is_bounded(const struct field *field)
{
    return field->min != 0 || field->max != 0;
}

static bool is_within(const struct field *field, int64_t number)
{
    return !is_bounded(field) || (number >= field->min && number <= field->max);
}

/* "must be a text of 1 to 64 bytes": ${what} must it be, and counted in what ${unit}. */
static void complain_size(const struct reading *reading, const struct place *place, const struct field *field, const char *what, const char *unit)
{
    if (!is_bounded(field))
        complain(reading, place, "must be %s", what);
    else if (field->min == field->max)
        complain(reading, place, "must be %s of %lld %s", what, (long long)field->min, unit);
    else
        complain(reading, place, "must be %s of %lld to %lld %s", what, (long long)field->min, (long long)field->max, unit);
}

static bool has_control(struct view text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.at[i] < 0x20 || text.at[i] == 0x7f)
            return true;
    return false;
}

static bool is_choice(const char *choices, struct view text)
{
    while (choices) {
        size_t len = strcspn(choices, "|");

        if (view_equal((struct view){choices, len}, text))
            return true;
        choices = choices[len] ? choices + len + 1 : NULL;
    }
    return false;
}

/* "a, b, c" on the stack, for messages: a hostile document could ask for thousands of them, of which few are kept. */
struct words {
    char text[400];
    size_t len;
};

/* What does not fit is left out. */
static void add_word(struct words *words, struct view word)
{
    size_t room = sizeof(words->text) - words->len;
    int len = snprintf(words->text + words->len, room, "%s%.*s", words->len > 0 ? ", " : "", VIEW_ARG(word));

    if (len > 0 && (size_t)len < room)
        words->len += (size_t)len;
    words->text[words->len] = '\0';
}

static void complain_choices(const struct reading *reading, const struct place *place, const char *choices)
{
    struct words words = {.len = 0};

    while (choices) {
        size_t len = strcspn(choices, "|");

        add_word(&words, (struct view){choices, len});
        choices = choices[len] ? choices + len + 1 : NULL;
    }
    complain(reading, place, "must be one of: %s", words.text);
}

/* Each read_x binds one value to the C object that ${into} points to, or complains. */
static void read_int(const struct reading *reading, const struct place *place, const struct field *field, const struct value *value, int64_t *into)
{
    if (value->kind == VALUE_INT && is_within(field, value->integer))
        *into = value->integer;
    else if (is_bounded(field))
        complain(reading, place, "must be an integer from %lld to %lld", (long long)field->min, (long long)field->max);
    else
        complain(reading, place, "must be an integer");
}

static void read_money(const struct reading *reading, const struct place *place, const struct value *value, struct view *into)
{
    if (value->kind == VALUE_INT)
        *into = arena_printf(reading->arena, "%lld", (long long)value->integer);
    else if (value->kind != VALUE_DECIMAL && value->kind != VALUE_TEXT)
        complain(reading, place, "must be an amount of money, such as 19.90");
    else if (has_control(value->text))
        complain(reading, place, "must not hold control characters");
    else
        *into = value->text;
}

static void read_text(const struct reading *reading, const struct place *place, const struct field *field, const struct value *value,
                      struct view *into)
{
    if (field->choices && (value->kind != VALUE_TEXT || !is_choice(field->choices, value->text)))
        complain_choices(reading, place, field->choices);
    else if (value->kind != VALUE_TEXT || !is_within(field, (int64_t)value->text.len))
        complain_size(reading, place, field, "a text", "bytes");
    else if (has_control(value->text))
        complain(reading, place, "must not hold control characters");
    else
        *into = value->text;
}

static void read_map(const struct reading *reading, const struct place *place, const struct shape *shape, const struct value *value, void *into);

static void read_list(const struct reading *reading, const struct place *place, const struct field *field, const struct value *value,
                      struct items *into)
{
    if (value->kind != VALUE_LIST || !is_within(field, (int64_t)value->list.count)) {
        complain_size(reading, place, field, "a list", "items");
        return;
    }
    into->count = value->list.count;
    into->at = ARENA_ARRAY(reading->arena, char, field->of->size * into->count);
    for (size_t i = 0; i < into->count; i++) {
        const struct place item = {.up = place, .index = i};

        read_map(reading, &item, field->of, &value->list.items[i], (char *)into->at + i * field->of->size);
    }
}

static void read_field(const struct reading *reading, const struct place *place, const struct field *field, const struct value *value, void *into)
{
    switch (field->type) {
    case FIELD_INT:
        read_int(reading, place, field, value, into);
        break;
    case FIELD_MONEY_TEXT:
        read_money(reading, place, value, into);
        break;
    case FIELD_TEXT:
        read_text(reading, place, field, value, into);
        break;
    case FIELD_BOOL:
        if (value->kind == VALUE_BOOL)
            *(bool *)into = value->boolean;
        else
            complain(reading, place, "must be true or false");
        break;
    case FIELD_LIST:
        read_list(reading, place, field, value, into);
        break;
    case FIELD_ANY:
        if (value->kind == VALUE_MAP)
            *(struct value *)into = *value;
        else
            complain(reading, place, "must be an object");
        break;
    }
}

static const struct field *find_field(const struct shape *shape, struct view name)
{
    for (size_t i = 0; i < shape->count; i++)
        if (view_equal(name, view_of(shape->fields[i].name)))
            return &shape->fields[i];
    return NULL;
}

static void complain_unknown(const struct reading *reading, const struct place *place, const struct shape *shape)
{
    struct words known = {.len = 0};

    for (size_t i = 0; i < shape->count; i++)
        add_word(&known, view_of(shape->fields[i].name));
    complain(reading, place, "is not a member that is known here; known are: %s", known.text);
}

static void check_required(const struct reading *reading, const struct place *place, const struct shape *shape, const struct value *map)
{
    for (size_t i = 0; i < shape->count; i++) {
        const struct field *field = &shape->fields[i];
        const struct place missing = {.up = place, .name = view_of(field->name)};
        const struct value *value = field->required ? value_get(map, field->name) : NULL;

        if (field->required && (!value || value->kind == VALUE_NULL))
            complain(reading, &missing, "is required");
    }
}

static void read_map(const struct reading *reading, const struct place *place, const struct shape *shape, const struct value *value, void *into)
{
    if (value->kind != VALUE_MAP) {
        complain(reading, place, "must be an object (%s)", shape->name);
        return;
    }
    for (size_t i = 0; i < value->map.count; i++) {
        const struct member *member = &value->map.members[i];
        const struct field *field = find_field(shape, member->name);
        const struct place inner = {.up = place, .name = {member->name.at ? member->name.at : "", member->name.len}};

        if (!field) {
            if (reading->unknown_is_fault)
                complain_unknown(reading, &inner, shape);
        } else if (member->value.kind != VALUE_NULL) {
            read_field(reading, &inner, field, &member->value, (char *)into + field->offset);
            if (field->given)
                *(bool *)((char *)into + field->given) = true;
        }
    }
    check_required(reading, place, shape, value);
}

bool shape_read(const struct shape *shape, const struct value *value, void *into, struct arena *arena, struct faults *faults)
{
    const struct reading reading = {arena, faults, true};
    size_t before = faults->count;

    read_map(&reading, NULL, shape, value, into);
    return faults->count == before;
}

bool shape_load(const struct shape *shape, const struct value *value, void *into, struct arena *arena)
{
    struct faults faults;
    const struct reading reading = {arena, &faults, false};

    faults_init(&faults, arena);
    read_map(&reading, NULL, shape, value, into);
    return faults.count == 0;
}

static bool is_given(const struct field *field, const void *from)
{
    return !field->given || *(const bool *)((const char *)from + field->given);
}

static void write_list(const struct shape *shape, const struct items *items, struct writer *writer)
{
    writer_list(writer, items->count);
    for (size_t i = 0; i < items->count; i++)
        shape_write(shape, (const char *)items->at + i * shape->size, writer);
    writer_end(writer);
}

static void write_field(const struct field *field, const void *from, struct writer *writer)
{
    switch (field->type) {
    case FIELD_INT:
        writer_int(writer, *(const int64_t *)from);
        break;
    case FIELD_MONEY_TEXT:
    case FIELD_TEXT:
        writer_text(writer, *(const struct view *)from);
        break;
    case FIELD_BOOL:
        writer_bool(writer, *(const bool *)from);
        break;
    case FIELD_LIST:
        write_list(field->of, from, writer);
        break;
    case FIELD_ANY:
        writer_value(writer, from);
        break;
    }
}

void shape_write(const struct shape *shape, const void *from, struct writer *writer)
{
    size_t given = 0;

    for (size_t i = 0; i < shape->count; i++)
        given += is_given(&shape->fields[i], from);
    writer_map(writer, given);
    for (size_t i = 0; i < shape->count; i++) {
        const struct field *field = &shape->fields[i];

        if (is_given(field, from)) {
            writer_name(writer, view_of(field->name));
            write_field(field, (const char *)from + field->offset, writer);
        }
    }
    writer_end(writer);
}
