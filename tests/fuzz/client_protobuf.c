// A client's binary message. What is sound must unpack in the stated room, and come
// back the same through both formats.
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "proto/codec.h"
#include "proto/ident.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

// JSON has no unknown fields: what was read from it packs to what it says.
static void
check_json(const Switchyard__V1__ClientFrame *frame)
{
    struct buf first = {0};
    struct buf second = {0};
    struct arena arena;
    struct codec_error error;
    codec_write_client(CODEC_JSON, frame, &first);
    assert(utf8_is_valid((const char *)first.bytes, first.len));
    arena_init(&arena, codec_arena_size(first.len));
    const Switchyard__V1__ClientFrame *again =
        codec_read_client(CODEC_JSON, first.bytes, first.len, &arena, &error);
    assert(again != NULL);
    codec_write_client(CODEC_JSON, again, &second);
    assert(first.len == second.len && memcmp(first.bytes, second.bytes, first.len) == 0);
    arena_fini(&arena);
    buf_fini(&first);
    buf_fini(&second);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct arena arena;
    struct codec_error error = {.text = ""};
    arena_init(&arena, codec_arena_size(len));
    const Switchyard__V1__ClientFrame *frame =
        codec_read_client(CODEC_PROTOBUF, bytes, len, &arena, &error);
    bool sound = codec_is_sound(&switchyard__v1__client_frame__descriptor, bytes, len, NULL);
    assert(sound == (frame != NULL));
    assert(sound == (error.text[0] == '\0'));
    assert(utf8_is_valid(error.text, strlen(error.text)));
    if (frame != NULL) {
        assert(frame->n_commands <= CODEC_MAX_COMMANDS);
        check_json(frame);
    }
    arena_fini(&arena);
    return 0;
}
