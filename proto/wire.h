// wire.h: protobuf's wire format, written by hand (private to proto/). Fields of proto3: what
// has its default value is left out, as protobuf-c does. Numbers of fields are below 16, so a tag
// is one byte. The caller has made room.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WIRE_VARINT(field) ((uint8_t)((field) << 3))
#define WIRE_BYTES(field) ((uint8_t)((field) << 3 | 2))

static inline size_t
wire_varint_size(uint64_t value)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    return (bits + 6) / 7;
}

// With its tag; 0 is left out.
static inline size_t
wire_number_size(uint64_t value)
{
    return value != 0 ? 1 + wire_varint_size(value) : 0;
}

// With its tag and length, even if empty.
static inline size_t
wire_bytes_size(size_t len)
{
    return 1 + wire_varint_size(len) + len;
}

static inline uint8_t *
wire_put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

static inline uint8_t *
wire_put_number(uint8_t *at, uint8_t tag, uint64_t value)
{
    if (value == 0)
        return at;
    *at++ = tag;
    return wire_put_varint(at, value);
}

static inline uint8_t *
wire_put_head(uint8_t *at, uint8_t tag, size_t len)
{
    *at++ = tag;
    return wire_put_varint(at, len);
}

static inline uint8_t *
wire_put_bytes(uint8_t *at, uint8_t tag, const void *bytes, size_t len)
{
    at = wire_put_head(at, tag, len);
    if (len > 0)
        memcpy(at, bytes, len);
    return at + len;
}
