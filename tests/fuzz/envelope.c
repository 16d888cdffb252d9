// What arrives from the bus: frames with their events, heartbeats, node-downs.
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "proto/codec.h"
#include "proto/ident.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

// An event as an edge passes it on to a client that speaks JSON.
static void
check_event(const ProtobufCBinaryData *event)
{
    struct arena arena;
    struct buf json = {0};
    struct codec_error error;
    arena_init(&arena, codec_arena_size(event->len));
    int wrapped = codec_wrap_event(CODEC_JSON, event->data, event->len, &arena, &json);
    arena_fini(&arena);
    assert((wrapped == 0) ==
           codec_is_sound(&switchyard__v1__event__descriptor, event->data, event->len, NULL));
    if (wrapped == 0) {
        arena_init(&arena, codec_arena_size(json.len));
        assert(codec_read_server(CODEC_JSON, json.bytes, json.len, &arena, &error) != NULL);
        arena_fini(&arena);
    }
    buf_fini(&json);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct arena arena;
    arena_init(&arena, codec_arena_size(len));
    const Switchyard__Bus__V1__BusFrame *frame = codec_read_bus(bytes, len, &arena);
    if (frame != NULL) {
        assert(node_id_is_valid(frame->origin, strlen(frame->origin)));
        for (size_t i = 0; i < frame->n_items; i++) {
            if (frame->items[i]->item_case == SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE)
                check_event(&frame->items[i]->envelope->event);
        }
    }
    arena_clear(&arena);
    const Switchyard__Bus__V1__Heartbeat *beat = codec_read_heartbeat(bytes, len, &arena);
    assert(beat == NULL || node_id_is_valid(beat->node, strlen(beat->node)));
    arena_clear(&arena);
    const Switchyard__Bus__V1__NodeDown *down = codec_read_node_down(bytes, len, &arena);
    assert(down == NULL || node_id_is_valid(down->node, strlen(down->node)));
    arena_clear(&arena);
    const Switchyard__Bus__V1__NodeUnheard *unheard = codec_read_node_unheard(bytes, len, &arena);
    assert(unheard == NULL || (node_id_is_valid(unheard->node, strlen(unheard->node)) &&
                               node_id_is_valid(unheard->origin, strlen(unheard->origin))));
    arena_fini(&arena);
    return 0;
}
