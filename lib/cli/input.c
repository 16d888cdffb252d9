// input.c: a terminal or a pipe is a libuv stream; a file is read in libuv's pool.
#include "lib/cli/input.h"

#include <string.h>

static void
take_lines(struct input *input, size_t added)
{
    char *from = input->line;
    input->len += added;
    while (!input->is_ended) {
        char *newline = memchr(from, '\n', (size_t)(input->line + input->len - from));
        if (newline == NULL)
            break;
        *newline = 0;
        input->on_line(input->arg, from, (size_t)(newline - from));
        from = newline + 1;
    }
    input->len -= (size_t)(from - input->line);
    memmove(input->line, from, input->len);
    if (input->len == INPUT_MAX_LINE && !input->is_ended) {
        input->line[input->len] = 0;
        input->on_line(input->arg, input->line, input->len);
        input->len = 0;
    }
}

static void
end(struct input *input)
{
    if (input->is_ended)
        return;
    if (input->len > 0) { // a last line without its newline
        input->line[input->len] = 0;
        input->on_line(input->arg, input->line, input->len);
        input->len = 0;
    }
    if (input->is_ended)
        return;
    input_close(input);
    input->on_end(input->arg);
}

static void
on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct input *input = handle->data;
    (void)suggested;
    *buf = uv_buf_init(input->line + input->len, (unsigned)(INPUT_MAX_LINE - input->len));
}

static void
on_stream(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    struct input *input = stream->data;
    (void)buf;
    if (got > 0)
        take_lines(input, (size_t)got);
    else if (got < 0)
        end(input);
}

static void on_file(uv_fs_t *request);

static int
read_more(struct input *input)
{
    uv_buf_t room = uv_buf_init(input->line + input->len, (unsigned)(INPUT_MAX_LINE - input->len));
    input->read.data = input;
    return uv_fs_read(input->loop, &input->read, 0, &room, 1, -1, on_file);
}

static void
on_file(uv_fs_t *request)
{
    struct input *input = request->data;
    ssize_t got = request->result;
    uv_fs_req_cleanup(request);
    if (input->is_ended)
        return;
    if (got > 0)
        take_lines(input, (size_t)got);
    if (got <= 0 || (!input->is_ended && read_more(input) != 0))
        end(input);
}

int
input_open(struct input *input, uv_loop_t *loop)
{
    int error = 0;
    input->loop = loop;
    input->len = 0;
    input->is_ended = false;
    uv_handle_type type = uv_guess_handle(0);
    input->is_stream = type == UV_TTY || type == UV_NAMED_PIPE;
    if (!input->is_stream)
        return read_more(input);
    if (type == UV_TTY) {
        error = uv_tty_init(loop, &input->tty, 0, 1);
    } else {
        uv_pipe_init(loop, &input->pipe, 0);
        error = uv_pipe_open(&input->pipe, 0);
    }
    if (error != 0)
        return error;
    input->handle.data = input;
    return uv_read_start(&input->stream, on_room, on_stream);
}

void
input_close(struct input *input)
{
    input->is_ended = true;
    if (input->is_stream && !uv_is_closing(&input->handle))
        uv_close(&input->handle, NULL);
}
