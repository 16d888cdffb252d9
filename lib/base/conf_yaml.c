// conf_yaml.c: a settings file, read from libyaml's parser events.
//
// 1. The one document is a mapping of sections; each key joins the path with a '.'.
// 2. A scalar at the path of a row is its value; a sequence of words is one for a LIST.
//    A section without anything under it is fine: the keys of a generated file are all
//    commented out.
// 3. The first thing we do not take is explained at its place and ends the reading.
//
// Nothing here can be made to recurse or grow by the file: a mapping is entered only at
// a section of the table, and what is seen is remembered once per row and section.
// Anchors, aliases, tags and further documents are refused. A settings file needs none
// of them, and each is a way to make a file mean something else than it seems to.
#include "lib/base/conf_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct seen {
    char path[CONF_KEY_MAX];
    size_t line;
};

struct reader {
    struct conf *conf;
    const char *name;
    const char *text;
    size_t text_len;
    FILE *complaints;
    yaml_parser_t parser;
    struct seen *seen;
    size_t seen_count;
    size_t seen_room;
};

// Where a key stands and its path.
struct place {
    char path[CONF_KEY_MAX];
    size_t path_len;
    yaml_mark_t mark;
};

static void
start_complaint(const struct reader *reader, yaml_mark_t mark)
{
    fprintf(reader->complaints, "%s:%zu:%zu: ", reader->name, mark.line + 1, mark.column + 1);
}

static int
complain(const struct reader *reader, yaml_mark_t mark, const char *text)
{
    start_complaint(reader, mark);
    fprintf(reader->complaints, "%s\n", text);
    return SY_EINVAL;
}

static int
complain_about_key(const struct reader *reader, const struct place *place, const char *text)
{
    start_complaint(reader, place->mark);
    fprintf(reader->complaints, "'%s' %s\n", place->path, text);
    return SY_EINVAL;
}

// libyaml tells the byte where decoding failed, not the line.
static yaml_mark_t
mark_of_byte(const struct reader *reader, size_t offset)
{
    yaml_mark_t mark = {0};
    for (size_t i = 0; i < offset && i < reader->text_len; i++) {
        mark.column++;
        if (reader->text[i] == '\n') {
            mark.line++;
            mark.column = 0;
        }
    }
    return mark;
}

static int
complain_about_syntax(const struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    assert(parser->error != YAML_NO_ERROR);
    if (parser->error == YAML_MEMORY_ERROR)
        abort();
    bool is_encoding = parser->error == YAML_READER_ERROR;
    start_complaint(reader, is_encoding ? mark_of_byte(reader, parser->problem_offset)
                                        : parser->problem_mark);
    fprintf(reader->complaints, "not YAML: %s", parser->problem);
    if (!is_encoding && parser->context != NULL)
        fprintf(reader->complaints, ", %s", parser->context);
    fputc('\n', reader->complaints);
    return SY_EINVAL;
}

// The caller deletes the event. Nothing to delete after an error.
static int
next_event(struct reader *reader, yaml_event_t *event)
{
    return yaml_parser_parse(&reader->parser, event) != 0 ? 0 : complain_about_syntax(reader);
}

// What no key and no value may be.
static int
check_event(const struct reader *reader, const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return complain(reader, event->start_mark, "aliases (*name) are not taken");
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor != NULL)
        return complain(reader, event->start_mark, "anchors (&name) are not taken");
    if (tag != NULL)
        return complain(reader, event->start_mark, "tags (!name) are not taken");
    return 0;
}

static const char *
scalar_text(const yaml_event_t *event)
{
    return (const char *)event->data.scalar.value;
}

static size_t
scalar_len(const yaml_event_t *event)
{
    return event->data.scalar.length;
}

// YAML's ways to say nothing. Quoted they are texts.
static bool
is_null(const yaml_event_t *event)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    if (event->type != YAML_SCALAR_EVENT || event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(scalar_text(event), words[i]) == 0)
            return true;
    return false;
}

// Joins the key to its section. A path that cannot be in the table is refused here.
static int
make_path(const struct reader *reader, const struct place *section, const yaml_event_t *event,
          struct place *place)
{
    if (event->type != YAML_SCALAR_EVENT)
        return complain(reader, event->start_mark, "a key must be a word");
    const char *key = scalar_text(event);
    size_t len = scalar_len(event);
    size_t start = section->path_len > 0 ? section->path_len + 1 : 0;
    place->mark = event->start_mark;
    if (memchr(key, '\0', len) != NULL || start + len >= sizeof(place->path)) {
        start_complaint(reader, place->mark);
        fputs("key ", reader->complaints);
        conf_write_quoted(key, len, reader->complaints);
        fputs(" is unknown\n", reader->complaints);
        return SY_EINVAL;
    }
    memcpy(place->path, section->path, section->path_len);
    if (start > 0)
        place->path[section->path_len] = '.';
    memcpy(place->path + start, key, len);
    place->path_len = start + len;
    place->path[place->path_len] = '\0';
    return 0;
}

static int
complain_unknown(const struct reader *reader, const struct place *place, bool is_section)
{
    size_t size = strlen(reader->name) + 48; // two numbers, two colons
    char *where = conf_alloc(size);
    snprintf(where, size, "%s:%zu:%zu", reader->name, place->mark.line + 1, place->mark.column + 1);
    int rc = conf_complain_key(reader->conf, where, place->path, place->path_len, is_section,
                               reader->complaints);
    free(where);
    return rc;
}

// Remembers a known path; the second time is an error that names the first.
static int
check_first(struct reader *reader, const struct place *place)
{
    for (size_t i = 0; i < reader->seen_count; i++) {
        if (strcmp(reader->seen[i].path, place->path) != 0)
            continue;
        start_complaint(reader, place->mark);
        fprintf(reader->complaints, "'%s' is given twice, first on line %zu\n", place->path,
                reader->seen[i].line);
        return SY_EINVAL;
    }
    if (reader->seen_count == reader->seen_room) {
        reader->seen_room = reader->seen_room * 2 + 16;
        struct seen *more = conf_alloc(reader->seen_room * sizeof(*more));
        if (reader->seen_count > 0)
            memcpy(more, reader->seen, reader->seen_count * sizeof(*more));
        free(reader->seen);
        reader->seen = more;
    }
    struct seen *entry = &reader->seen[reader->seen_count++];
    memcpy(entry->path, place->path, place->path_len + 1);
    entry->line = place->mark.line + 1;
    return 0;
}

static int
apply(struct reader *reader, size_t row, const char *text, size_t len, yaml_mark_t mark)
{
    size_t size = strlen(reader->name) + 48;
    char *where = conf_alloc(size);
    char *origin = conf_alloc(size);
    snprintf(where, size, "%s:%zu:%zu", reader->name, mark.line + 1, mark.column + 1);
    snprintf(origin, size, "%s:%zu", reader->name, mark.line + 1);
    int rc = conf_apply(reader->conf, row, text, len, where, origin, reader->complaints);
    free(origin);
    free(where);
    return rc;
}

// Words of a sequence, joined.
struct joined {
    char *text;
    size_t len;
    size_t room;
};

static void
join(struct joined *joined, const char *word, size_t len)
{
    if (joined->room - joined->len < len + 2) {
        size_t room = (joined->len + len + 2) * 2;
        char *more = conf_alloc(room);
        if (joined->len > 0)
            memcpy(more, joined->text, joined->len);
        conf_wipe_free(joined->text, joined->len);
        joined->text = more;
        joined->room = room;
    }
    if (joined->len > 0)
        joined->text[joined->len++] = ' ';
    memcpy(joined->text + joined->len, word, len);
    joined->len += len;
}

static int
join_item(struct reader *reader, const struct place *place, const yaml_event_t *event,
          struct joined *joined)
{
    int rc = check_event(reader, event);
    if (rc != 0)
        return rc;
    const struct place at = {.mark = event->start_mark};
    struct place item = *place;
    item.mark = at.mark;
    if (event->type != YAML_SCALAR_EVENT)
        return complain_about_key(reader, &item, "is a list of words, nothing deeper");
    const char *word = scalar_text(event);
    size_t len = scalar_len(event);
    if (is_null(event) || len == 0)
        return complain_about_key(reader, &item, "has an empty word in its list");
    for (size_t i = 0; i < len; i++)
        if (word[i] == '\0' || strchr(" \t\r\n", word[i]) != NULL)
            return complain_about_key(reader, &item, "has a word with white space in its list");
    join(joined, word, len);
    return 0;
}

static int
read_sequence(struct reader *reader, const struct place *place, size_t row, yaml_mark_t mark)
{
    struct joined joined = {0};
    int rc;
    bool is_end = false;
    do {
        yaml_event_t event;
        rc = next_event(reader, &event);
        if (rc != 0)
            break;
        is_end = event.type == YAML_SEQUENCE_END_EVENT;
        if (!is_end)
            rc = join_item(reader, place, &event, &joined);
        yaml_event_delete(&event);
    } while (rc == 0 && !is_end);
    if (rc == 0)
        rc = apply(reader, row, joined.len > 0 ? joined.text : "", joined.len, mark);
    conf_wipe_free(joined.text, joined.len);
    return rc;
}

static int read_mapping(struct reader *reader, const struct place *section);

static int
read_row(struct reader *reader, const struct place *place, size_t row, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        if (is_null(event))
            return complain_about_key(reader, place, "has no value; for an empty one write \"\"");
        return apply(reader, row, scalar_text(event), scalar_len(event), event->start_mark);
    case YAML_SEQUENCE_START_EVENT:
        if (reader->conf->rows[row].type != CONF_LIST)
            return complain_about_key(reader, place, "takes one value, not a list");
        return read_sequence(reader, place, row, event->start_mark);
    default:
        return complain_about_key(reader, place, "takes a value; it is no section");
    }
}

static int
read_value(struct reader *reader, const struct place *place, const yaml_event_t *event)
{
    int rc = check_event(reader, event);
    if (rc != 0)
        return rc;
    size_t row = conf_find(reader->conf, place->path, place->path_len);
    bool is_section = conf_is_section(reader->conf, place->path, place->path_len);
    if (row == SIZE_MAX && !is_section)
        return complain_unknown(reader, place, event->type == YAML_MAPPING_START_EVENT);
    rc = check_first(reader, place);
    if (rc != 0)
        return rc;
    if (row != SIZE_MAX)
        return read_row(reader, place, row, event);
    if (event->type == YAML_MAPPING_START_EVENT)
        return read_mapping(reader, place);
    if (is_null(event))
        return 0;
    return complain_about_key(reader, place, "is a section; its keys go below it");
}

static int
read_pair(struct reader *reader, const struct place *section, const yaml_event_t *key)
{
    struct place place;
    int rc = check_event(reader, key);
    if (rc == 0)
        rc = make_path(reader, section, key, &place);
    if (rc != 0)
        return rc;
    yaml_event_t value;
    rc = next_event(reader, &value);
    if (rc != 0)
        return rc;
    rc = read_value(reader, &place, &value);
    yaml_event_delete(&value);
    return rc;
}

// From behind the start of a mapping to its end. As deep as the table's keys at most.
static int
read_mapping(struct reader *reader, const struct place *section)
{
    int rc;
    bool is_end = false;
    do {
        yaml_event_t event;
        rc = next_event(reader, &event);
        if (rc != 0)
            return rc;
        is_end = event.type == YAML_MAPPING_END_EVENT;
        if (!is_end)
            rc = read_pair(reader, section, &event);
        yaml_event_delete(&event);
    } while (rc == 0 && !is_end);
    return rc;
}

static int
read_document(struct reader *reader)
{
    yaml_event_t event;
    int rc = next_event(reader, &event);
    if (rc != 0)
        return rc;
    rc = check_event(reader, &event);
    if (rc == 0 && event.type == YAML_MAPPING_START_EVENT) {
        const struct place top = {0};
        rc = read_mapping(reader, &top);
    } else if (rc == 0 && !is_null(&event)) {
        rc = complain(reader, event.start_mark, "the file must be sections with keys below them");
    }
    yaml_event_delete(&event);
    return rc;
}

static int
read_stream(struct reader *reader)
{
    int documents = 0;
    bool is_end = false;
    int rc;
    do {
        yaml_event_t event;
        rc = next_event(reader, &event);
        if (rc != 0)
            return rc;
        is_end = event.type == YAML_STREAM_END_EVENT;
        if (event.type == YAML_DOCUMENT_START_EVENT)
            rc = documents++ == 0
                     ? read_document(reader)
                     : complain(reader, event.start_mark, "a second document is not taken");
        yaml_event_delete(&event);
    } while (rc == 0 && !is_end);
    return rc;
}

int
conf_read_yaml(struct conf *conf, const char *name, const char *text, size_t len, FILE *complaints)
{
    struct reader reader = {
        .conf = conf, .name = name, .text = text, .text_len = len, .complaints = complaints};
    if (yaml_parser_initialize(&reader.parser) == 0)
        abort();
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, len);
    int rc = read_stream(&reader);
    yaml_parser_delete(&reader.parser);
    free(reader.seen);
    return rc;
}
