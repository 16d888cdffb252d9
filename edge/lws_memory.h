// lws_memory.h: the memory libwebsockets uses, and how much of it each WebSocket keeps.
//
// libwebsockets allocates, for each WebSocket, a buffer of the size of its reads. In 4.1
// nothing but control frames (125 bytes at most) is ever put there: payload is handed over
// where it was read, in a buffer of the context. So, for that version and no other, the
// buffer is made as small as what is put there, and reads can be large at no cost:
// 256 KiB at a time instead of 1 KiB, and 800 bytes less for each connection.
#pragma once

#include <stddef.h>

// Before any context is made; any number of times. Answers the read size for
// lws_protocols.rx_buffer_size: `large`, or `small` if the library is another one.
size_t lws_memory_setup(size_t large, size_t small);
