// keys.c: Redis keys, members and rows. Put together from their pieces: each login and each
// resolved user writes several, and printf would be most of what that costs.
#include "proto/keys.h"

#include <assert.h>
#include <string.h>

// Where the next piece goes.
static char *
put(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

static size_t
put_key(char *out, const char *prefix, const char *name, size_t len)
{
    size_t prefix_len = strlen(prefix);
    assert(prefix_len + len + sizeof("{}") <= KEY_SIZE);
    char *at = put(out, prefix, prefix_len);
    *at++ = '{';
    at = put(at, name, len);
    *at++ = '}';
    *at = '\0';
    return (size_t)(at - out);
}

static size_t
put_node_key(char *out, const char *prefix, const char *node)
{
    size_t len = strlen(node);
    assert(node_id_is_valid(node, len));
    return put_key(out, prefix, node, len);
}

// Of the alphabet and length of ident_map's output: enough for it to be harmless.
static bool
is_mapped(const char *text, size_t len)
{
    if (len == 0 || len >= IDENT_MAPPED_SIZE)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '_' && c != '-')
            return false;
    }
    return true;
}

static size_t
put_user_key(char *out, const char *prefix, const char *mapped)
{
    size_t len = strlen(mapped);
    assert(is_mapped(mapped, len));
    return put_key(out, prefix, mapped, len);
}

size_t
key_lease(const char *node, char out[static KEY_SIZE])
{
    return put_node_key(out, "sy:lease:", node);
}

size_t
key_members(const char *node, char out[static KEY_SIZE])
{
    return put_node_key(out, "sy:members:", node);
}

bool
key_members_node(const char *key, size_t len, char node[static NODE_ID_SIZE])
{
    static const char prefix[] = "sy:members:{";
    size_t prefix_len = sizeof(prefix) - 1;
    if (len <= prefix_len + 1 || memcmp(key, prefix, prefix_len) != 0 || key[len - 1] != '}' ||
        !node_id_is_valid(key + prefix_len, len - prefix_len - 1))
        return false;
    memcpy(node, key + prefix_len, len - prefix_len - 1);
    node[len - prefix_len - 1] = '\0';
    return true;
}

size_t
key_fence(const char *node, char out[static KEY_SIZE])
{
    return put_node_key(out, "sy:fence:", node);
}

size_t
key_user(const char *mapped, char out[static KEY_SIZE])
{
    return put_user_key(out, "sy:user:", mapped);
}

bool
key_user_mapped(const char *key, size_t len, char mapped[static IDENT_MAPPED_SIZE])
{
    static const char prefix[] = "sy:user:{";
    size_t prefix_len = sizeof(prefix) - 1;
    if (len <= prefix_len + 1 || memcmp(key, prefix, prefix_len) != 0 || key[len - 1] != '}' ||
        !is_mapped(key + prefix_len, len - prefix_len - 1))
        return false;
    memcpy(mapped, key + prefix_len, len - prefix_len - 1);
    mapped[len - prefix_len - 1] = '\0';
    return true;
}

size_t
key_watch(const char *mapped, char out[static KEY_SIZE])
{
    return put_user_key(out, "sy:watch:", mapped);
}

size_t
member_write(const char *mapped_user, const char *mapped_device, char out[static MEMBER_SIZE])
{
    size_t user_len = strlen(mapped_user), device_len = strlen(mapped_device);
    assert(is_mapped(mapped_user, user_len)); // two of them and a slash fit
    assert(is_mapped(mapped_device, device_len));
    char *at = put(out, mapped_user, user_len);
    *at++ = '/';
    at = put(at, mapped_device, device_len);
    *at = '\0';
    return (size_t)(at - out);
}

bool
member_split(char *member, char **mapped_user, char **mapped_device)
{
    char id[IDENT_MAX_BYTES + 1];
    char *slash = strchr(member, '/');
    if (slash == NULL)
        return false;
    char *device = slash + 1;
    if (ident_unmap(member, (size_t)(slash - member), id) == 0 ||
        ident_unmap(device, strlen(device), id) == 0)
        return false;
    *slash = '\0';
    *mapped_user = member;
    *mapped_device = device;
    return true;
}

size_t
decimal_write(uint64_t value, char out[static DECIMAL_SIZE])
{
    char digits[DECIMAL_SIZE];
    size_t start = sizeof(digits);
    do
        digits[--start] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    size_t len = sizeof(digits) - start;
    memcpy(out, digits + start, len);
    out[len] = '\0';
    return len;
}

const char *
device_policy_name(enum device_policy policy)
{
    static const char *const names[] = {"many", "class", "one"};
    return names[policy];
}

bool
device_class_is_valid(const char *device_class, size_t len)
{
    if (len == 0)
        return true;
    // A space would end the field, and "-" stands for an empty class.
    return len < sizeof(((struct link *)NULL)->device_class) && ident_is_valid(device_class, len) &&
           memchr(device_class, ' ', len) == NULL && !(len == 1 && device_class[0] == '-');
}

// The longest of each field, three numbers, four more spaces and a NUL.
_Static_assert(LINK_ROW_SIZE >= sizeof(((struct link *)NULL)->node) + 3 * DECIMAL_SIZE +
                                    sizeof(((struct link *)NULL)->device_class) +
                                    sizeof(((struct link *)NULL)->device),
               "a row fits");

size_t
link_write(const struct link *link, char out[static LINK_ROW_SIZE])
{
    size_t node_len = strlen(link->node), device_len = strlen(link->device);
    size_t class_len = strlen(link->device_class);
    assert(node_id_is_valid(link->node, node_len));
    assert(ident_is_valid(link->device, device_len));
    assert(device_class_is_valid(link->device_class, class_len));
    char *at = put(out, link->node, node_len);
    const uint64_t numbers[] = {link->connection, link->epoch, link->since_ms};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        *at++ = ' ';
        at += decimal_write(numbers[i], at);
    }
    *at++ = ' ';
    at = class_len > 0 ? put(at, link->device_class, class_len) : put(at, "-", 1);
    *at++ = ' ';
    at = put(at, link->device, device_len);
    *at = '\0';
    return (size_t)(at - out);
}

struct field {
    const char *text;
    size_t len;
};

// Cuts the bytes up to the next space off the front of *rest; false if there is no space.
static bool
take_field(struct field *rest, struct field *field)
{
    const char *space = memchr(rest->text, ' ', rest->len);
    if (space == NULL)
        return false;
    *field = (struct field){rest->text, (size_t)(space - rest->text)};
    rest->text = space + 1;
    rest->len -= field->len + 1;
    return true;
}

static bool
take_number(struct field *rest, uint64_t *number)
{
    struct field field;
    if (!take_field(rest, &field) || field.len == 0 || (field.len > 1 && field.text[0] == '0'))
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < field.len; i++) {
        if (field.text[i] < '0' || field.text[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(field.text[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    return true;
}

bool
link_read(const char *row, size_t len, struct link *link)
{
    struct field rest = {row, len};
    struct field node;
    struct field class;
    struct link found = {0};
    if (len == 0 || !take_field(&rest, &node) || !take_number(&rest, &found.connection) ||
        !take_number(&rest, &found.epoch) || !take_number(&rest, &found.since_ms) ||
        !take_field(&rest, &class))
        return false;
    if (class.len == 0)
        return false;
    if (class.len == 1 && class.text[0] == '-')
        class.len = 0;
    if (!node_id_is_valid(node.text, node.len) || !device_class_is_valid(class.text, class.len) ||
        !ident_is_valid(rest.text, rest.len))
        return false;
    memcpy(found.node, node.text, node.len);
    memcpy(found.device_class, class.text, class.len);
    memcpy(found.device, rest.text, rest.len);
    *link = found;
    return true;
}
