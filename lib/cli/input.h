// input.h: standard input, line by line, without blocking the loop.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

// A line longer than this comes in pieces.
#define INPUT_MAX_LINE 65536

struct input {
    uv_loop_t *loop;
    void (*on_line)(void *arg, char *line, size_t len); // without its newline, with a NUL
    void (*on_end)(void *arg);                          // once; nothing comes after it
    void *arg;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tty_t tty;
        uv_pipe_t pipe;
    };
    uv_fs_t read; // for a file, which cannot be polled
    bool is_stream;
    bool is_ended;
    size_t len;
    char line[INPUT_MAX_LINE + 1];
};

// 0, or a libuv error.
int input_open(struct input *input, uv_loop_t *loop);
// No callback comes after it. Its memory must stay until the loop has run on.
void input_close(struct input *input);
