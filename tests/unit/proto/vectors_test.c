// The golden vectors of proto/vectors: its README.md says what they prove.
// With SY_VECTORS_WRITE in the environment the .json files are written instead.
#include "claims.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"
#include "proto/json.h"

// The vectors there must be at least: a directory that was emptied proves nothing.
#define MIN_GOOD 40
#define MIN_BAD 50

#define ROOM (1 << 20)

static struct arena arena;
static struct buf expected;
static struct buf written;

static int
setup(void **state)
{
    (void)state;
    arena_init(&arena, ROOM);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    buf_fini(&expected);
    buf_fini(&written);
    return 0;
}

static void
make_path(char *path, size_t size, const char *name, const char *extension)
{
    int len = snprintf(path, size, VECTORS_DIR "/%s%s", name, extension);
    assert_true(len > 0 && (size_t)len < size);
}

static void
read_file(const char *name, const char *extension, struct buf *out)
{
    char path[4096];
    make_path(path, sizeof(path), name, extension);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s is missing", path);
    buf_clear(out);
    for (size_t got = 1; got > 0; out->len += got)
        got = fread(buf_reserve(out, 4096), 1, 4096, file);
    fclose(file);
}

static void
write_file(const char *name, const char *extension, const struct buf *content)
{
    char path[4096];
    make_path(path, sizeof(path), name, extension);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(content->bytes, 1, content->len, file), content->len);
    assert_int_equal(fclose(file), 0);
}

// Takes the extension off; false if `name` has another one.
static bool
cut_extension(char *name, const char *extension)
{
    size_t len = strlen(name);
    size_t extension_len = strlen(extension);
    if (len <= extension_len || strcmp(name + len - extension_len, extension) != 0)
        return false;
    name[len - extension_len] = '\0';
    return true;
}

static ProtobufCMessage *
read_vector(const char *name, enum codec_format format, const struct buf *from)
{
    struct codec_error error = {.text = ""};
    void *frame;
    arena_clear(&arena);
    if (strncmp(name, "client_", 7) == 0)
        frame = codec_read_client(format, from->bytes, from->len, &arena, &error);
    else
        frame = codec_read_server(format, from->bytes, from->len, &arena, &error);
    if (frame == NULL)
        fail_msg("%s: %s", name, error.text);
    return frame;
}

static void
write_vector(const ProtobufCMessage *frame, enum codec_format format, struct buf *out)
{
    buf_clear(out);
    if (format == CODEC_JSON) {
        json_write(frame, out);
    } else {
        size_t size = protobuf_c_message_get_packed_size(frame);
        out->len = protobuf_c_message_pack(frame, buf_reserve(out, size));
    }
}

// `written` is what the file NAME.extension says.
static void
assert_as_in_file(const char *name, const char *extension)
{
    read_file(name, extension, &expected);
    if (written.len != expected.len || memcmp(written.bytes, expected.bytes, expected.len) != 0)
        fail_msg("%s%s: %.*s", name, extension, (int)written.len, (const char *)written.bytes);
}

static void
check_pair(const char *name)
{
    struct buf from = {0};
    read_file(name, ".bin", &from);
    const ProtobufCMessage *frame = read_vector(name, CODEC_PROTOBUF, &from);
    write_vector(frame, CODEC_JSON, &written);
    if (getenv("SY_VECTORS_WRITE") != NULL)
        write_file(name, ".json", &written);
    assert_as_in_file(name, ".json");
    write_vector(frame, CODEC_PROTOBUF, &written);
    assert_as_in_file(name, ".bin");

    read_file(name, ".json", &from);
    frame = read_vector(name, CODEC_JSON, &from);
    write_vector(frame, CODEC_PROTOBUF, &written);
    assert_as_in_file(name, ".bin");
    write_vector(frame, CODEC_JSON, &written);
    assert_as_in_file(name, ".json");
    buf_fini(&from);
}

static void
every_vector_is_the_same_in_both_encodings(void **state)
{
    (void)state;
    unsigned bins = 0;
    unsigned jsons = 0;
    DIR *dir = opendir(VECTORS_DIR);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        jsons += cut_extension(entry->d_name, ".json");
        if (cut_extension(entry->d_name, ".bin")) {
            bins++;
            check_pair(entry->d_name);
        }
    }
    closedir(dir);
    assert_true(bins >= MIN_GOOD);
    if (getenv("SY_VECTORS_WRITE") == NULL)
        assert_int_equal(jsons, bins);
}

static void
every_kind_of_command_and_event_has_a_vector(void **state)
{
    (void)state;
    static const char *const names[] = {
        "client_hello",     "client_send_text", "client_ping",         "client_refresh",
        "client_broadcast", "server_welcome",   "server_message_text", "server_outcome_sent",
        "server_pong",      "server_failure",   "server_go_away",      "server_refreshed",
    };
    // One for each member of the two oneofs; the id is no member.
    assert_int_equal(LENGTH(names), switchyard__v1__command__descriptor.n_fields - 1 +
                                        switchyard__v1__event__descriptor.n_fields - 1);
    for (size_t i = 0; i < LENGTH(names); i++)
        check_pair(names[i]);
}

static void
messages_of_the_bus_are_as_protoc_writes_them(void **state)
{
    (void)state;
    struct buf from = {0};
    arena_clear(&arena);
    read_file("bus/Heartbeat", ".bin", &from);
    const Switchyard__Bus__V1__Heartbeat *beat = codec_read_heartbeat(from.bytes, from.len, &arena);
    assert_non_null(beat);
    write_vector(&beat->base, CODEC_PROTOBUF, &written);
    assert_as_in_file("bus/Heartbeat", ".bin");

    read_file("bus/NodeDown", ".bin", &from);
    const Switchyard__Bus__V1__NodeDown *down = codec_read_node_down(from.bytes, from.len, &arena);
    assert_non_null(down);
    write_vector(&down->base, CODEC_PROTOBUF, &written);
    assert_as_in_file("bus/NodeDown", ".bin");

    read_file("bus/NodeUnheard", ".bin", &from);
    const Switchyard__Bus__V1__NodeUnheard *unheard =
        codec_read_node_unheard(from.bytes, from.len, &arena);
    assert_non_null(unheard);
    write_vector(&unheard->base, CODEC_PROTOBUF, &written);
    assert_as_in_file("bus/NodeUnheard", ".bin");
    buf_fini(&from);
}

static void
every_bad_frame_is_refused_and_explained(void **state)
{
    (void)state;
    unsigned count = 0;
    struct buf frame = {0};
    struct buf readme = {0};
    read_file("bad/README", ".md", &readme);
    buf_append(&readme, "", 1);
    DIR *dir = opendir(VECTORS_DIR "/bad");
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char name[300];
        char row[300];
        struct codec_error error = {.text = ""};
        snprintf(name, sizeof(name), "bad/%s", entry->d_name);
        snprintf(row, sizeof(row), "| `%s` | ", entry->d_name);
        bool is_json = cut_extension(entry->d_name, ".json");
        if (!is_json && !cut_extension(entry->d_name, ".bin"))
            continue;
        count++;
        read_file(name, "", &frame);
        arena_clear(&arena);
        if (codec_read_client(is_json ? CODEC_JSON : CODEC_PROTOBUF, frame.bytes, frame.len, &arena,
                              &error) != NULL)
            fail_msg("%s was taken", name);
        assert_true(strlen(error.text) > 0);
        if (strstr((const char *)readme.bytes, row) == NULL)
            fail_msg("%s is not in bad/README.md", name);
    }
    closedir(dir);
    buf_fini(&frame);
    buf_fini(&readme);
    assert_true(count >= MIN_BAD);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_is_the_same_in_both_encodings),
        cmocka_unit_test(every_kind_of_command_and_event_has_a_vector),
        cmocka_unit_test(messages_of_the_bus_are_as_protoc_writes_them),
        cmocka_unit_test(every_bad_frame_is_refused_and_explained),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
