// A client's text message. What is read must come back the same through protobuf.
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "proto/codec.h"
#include "proto/ident.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
check_protobuf(const Switchyard__V1__ClientFrame *frame)
{
    struct buf first = {0};
    struct buf second = {0};
    struct arena arena;
    struct codec_error error;
    codec_write_client(CODEC_PROTOBUF, frame, &first);
    arena_init(&arena, codec_arena_size(first.len));
    const Switchyard__V1__ClientFrame *again =
        codec_read_client(CODEC_PROTOBUF, first.bytes, first.len, &arena, &error);
    assert(again != NULL);
    codec_write_client(CODEC_PROTOBUF, again, &second);
    assert(first.len == second.len);
    assert(first.len == 0 || memcmp(first.bytes, second.bytes, first.len) == 0);
    arena_fini(&arena);
    buf_fini(&first);
    buf_fini(&second);
}

// It was not for want of room: with more, the same is wrong.
static void
check_room(const uint8_t *bytes, size_t len, const struct codec_error *error)
{
    struct arena arena;
    struct codec_error again = {.text = ""};
    arena_init(&arena, 4 * codec_arena_size(len));
    assert(codec_read_client(CODEC_JSON, bytes, len, &arena, &again) == NULL);
    assert(strcmp(error->text, again.text) == 0);
    arena_fini(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct arena arena;
    struct codec_error error = {.text = ""};
    arena_init(&arena, codec_arena_size(len));
    const Switchyard__V1__ClientFrame *frame =
        codec_read_client(CODEC_JSON, bytes, len, &arena, &error);
    assert((frame == NULL) == (error.text[0] != '\0'));
    assert(utf8_is_valid(error.text, strlen(error.text)));
    for (size_t i = 0; error.text[i] != '\0'; i++)
        assert((unsigned char)error.text[i] >= 0x20);
    if (frame != NULL)
        check_protobuf(frame);
    else
        check_room(bytes, len, &error);
    arena_fini(&arena);
    return 0;
}
