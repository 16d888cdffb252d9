// conf_value.c: text to typed value and back; bounds; what to say about a bad one.
//
// Numbers are read into an unsigned 64-bit magnitude whose overflow is kept as such,
// so a value too large for any integer is "out of range" like one that is merely too
// large for its row.
#include "lib/base/conf_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    int64_t factor;
};

// Smallest first.
static const struct unit durations[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
static const struct unit sizes[] = {
    {"", 1}, {"KiB", 1024}, {"MiB", 1024 * 1024}, {"GiB", 1024 * 1024 * 1024}};
enum { UNITS = 4 };

bool
conf_has_text(const struct conf_row *row)
{
    return row->type == CONF_STRING || row->type == CONF_CHOICE || row->type == CONF_LIST;
}

// Digits at the start of text; answers how many there were. *is_huge: beyond 64 bits.
static size_t
read_digits(const char *text, size_t len, uint64_t *number, bool *is_huge)
{
    size_t i = 0;
    *number = 0;
    *is_huge = false;
    for (; i < len && text[i] >= '0' && text[i] <= '9'; i++)
        if (__builtin_mul_overflow(*number, (uint64_t)10, number) ||
            __builtin_add_overflow(*number, (uint64_t)(text[i] - '0'), number))
            *is_huge = true;
    return i;
}

static enum conf_fault
check_bounds(const struct conf_row *row, int64_t number)
{
    return number < row->min || number > row->max ? CONF_BAD_RANGE : CONF_GOOD;
}

static enum conf_fault
parse_int(const struct conf_row *row, const char *text, size_t len, int64_t *number)
{
    bool is_negative = len > 0 && text[0] == '-';
    uint64_t magnitude;
    bool is_huge;
    size_t start = is_negative ? 1 : 0;
    size_t digits = read_digits(text + start, len - start, &magnitude, &is_huge);
    if (digits == 0 || start + digits != len)
        return CONF_BAD_SHAPE;
    uint64_t largest = is_negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    if (is_huge || magnitude > largest)
        return CONF_BAD_RANGE;
    // Negated without leaving the range on the way: -(m - 1) - 1.
    *number = !is_negative     ? (int64_t)magnitude
              : magnitude == 0 ? 0
                               : -(int64_t)(magnitude - 1) - 1;
    return check_bounds(row, *number);
}

static enum conf_fault
parse_with_unit(const struct conf_row *row, const struct unit *units, const char *text, size_t len,
                int64_t *number)
{
    uint64_t magnitude;
    bool is_huge;
    size_t digits = read_digits(text, len, &magnitude, &is_huge);
    const char *rest = text + digits;
    size_t rest_len = len - digits;
    if (digits == 0)
        return CONF_BAD_SHAPE;
    const struct unit *unit = NULL;
    for (size_t i = 0; i < UNITS; i++)
        if (strlen(units[i].name) == rest_len && memcmp(units[i].name, rest, rest_len) == 0)
            unit = &units[i];
    if (unit == NULL && rest_len == 0) {
        if (is_huge || magnitude != 0)
            return CONF_BAD_UNIT;
        unit = &units[0]; // 0 is 0 in any unit
    }
    if (unit == NULL)
        return CONF_BAD_SHAPE;
    if (is_huge || __builtin_mul_overflow(magnitude, unit->factor, number))
        return CONF_BAD_RANGE;
    return check_bounds(row, *number);
}

static bool
is_word(const char *text, size_t len, const char *word)
{
    return strlen(word) == len && strncasecmp(text, word, len) == 0;
}

static enum conf_fault
parse_bool(const char *text, size_t len, bool *flag)
{
    static const char *const words[][2] = {{"false", "true"}, {"no", "yes"}, {"off", "on"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        for (int truth = 0; truth < 2; truth++)
            if (is_word(text, len, words[i][truth])) {
                *flag = truth == 1;
                return CONF_GOOD;
            }
    return CONF_BAD_SHAPE;
}

// Walks the words between '|'. NULL after the last.
static const char *
next_choice(const char *at, size_t *len)
{
    if (at == NULL || *at == '\0')
        return NULL;
    *len = strcspn(at, "|");
    return at;
}

static const char *
behind_choice(const char *choice, size_t len)
{
    return choice[len] == '|' ? choice + len + 1 : choice + len;
}

static enum conf_fault
parse_choice(const struct conf_row *row, const char *text, size_t len, char **out)
{
    size_t word_len;
    for (const char *word = row->choices; (word = next_choice(word, &word_len)) != NULL;
         word = behind_choice(word, word_len))
        if (word_len == len && memcmp(word, text, len) == 0) {
            *out = conf_copy(text, len);
            return CONF_GOOD;
        }
    return CONF_BAD_SHAPE;
}

static enum conf_fault
parse_string(const struct conf_row *row, const char *text, size_t len, char **out)
{
    enum conf_fault fault = check_bounds(row, (int64_t)len);
    if (fault == CONF_GOOD)
        *out = conf_copy(text, len);
    return fault;
}

// Words with single spaces between them, whatever white space stood there.
static char *
join_words(const char *text, size_t len)
{
    char *out = conf_copy(text, len);
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        bool is_space = strchr(" \t\r\n", text[i]) != NULL;
        if (!is_space)
            out[used++] = text[i];
        else if (used > 0 && out[used - 1] != ' ')
            out[used++] = ' ';
    }
    if (used > 0 && out[used - 1] == ' ')
        used--;
    out[used] = '\0';
    return out;
}

enum conf_fault
conf_parse(const struct conf_row *row, const char *text, size_t len, struct conf_value *value)
{
    *value = (struct conf_value){0};
    if (memchr(text, '\0', len) != NULL)
        return CONF_BAD_NUL;
    switch (row->type) {
    case CONF_STRING:
        return parse_string(row, text, len, &value->text);
    case CONF_INT:
        return parse_int(row, text, len, &value->number);
    case CONF_BOOL:
        return parse_bool(text, len, &value->flag);
    case CONF_DURATION:
        return parse_with_unit(row, durations, text, len, &value->number);
    case CONF_SIZE:
        return parse_with_unit(row, sizes, text, len, &value->number);
    case CONF_CHOICE:
        return parse_choice(row, text, len, &value->text);
    case CONF_LIST:
        value->text = join_words(text, len);
        return CONF_GOOD;
    }
    assert(false);
    return CONF_BAD_SHAPE;
}

void
conf_write_quoted(const char *text, size_t len, FILE *out)
{
    size_t shown = len < CONF_SHOWN_MAX ? len : CONF_SHOWN_MAX;
    // Not in the middle of a UTF-8 character.
    while (shown > 0 && shown < len && ((unsigned char)text[shown] & 0xc0) == 0x80)
        shown--;
    fputc('\'', out);
    for (size_t i = 0; i < shown; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte < 0x20 || byte == 0x7f)
            fprintf(out, "\\x%02x", byte);
        else
            fputc(byte, out);
    }
    fputs(shown < len ? "...'" : "'", out);
}

static void
write_number(const struct conf_row *row, int64_t number, FILE *out)
{
    if (row->type != CONF_DURATION && row->type != CONF_SIZE) {
        fprintf(out, "%" PRId64, number);
        return;
    }
    const struct unit *units = row->type == CONF_DURATION ? durations : sizes;
    size_t i = UNITS - 1;
    while (i > 0 && (number == 0 || number % units[i].factor != 0))
        i--;
    fprintf(out, "%" PRId64 "%s", number / units[i].factor, number == 0 ? "" : units[i].name);
}

static void
write_choices(const struct conf_row *row, FILE *out)
{
    size_t len;
    for (const char *word = row->choices; (word = next_choice(word, &len)) != NULL;
         word = behind_choice(word, len)) {
        bool is_last = word[len] == '\0';
        fputs(word == row->choices ? "" : is_last ? " or " : ", ", out);
        fwrite(word, 1, len, out);
    }
}

void
conf_write_range(const struct conf_row *row, FILE *out)
{
    switch (row->type) {
    case CONF_BOOL:
        fputs("true or false", out);
        return;
    case CONF_CHOICE:
        write_choices(row, out);
        return;
    case CONF_LIST:
        fputs("words", out);
        return;
    default:
        break;
    }
    write_number(row, row->min, out);
    if (row->max == INT64_MAX) {
        fputs(" or more", out);
    } else {
        fputs(" to ", out);
        write_number(row, row->max, out);
    }
    if (row->type == CONF_STRING)
        fputs(" bytes", out);
}

static const char *
shape_fault(const struct conf_row *row)
{
    switch (row->type) {
    case CONF_INT:
        return "is not a whole number";
    case CONF_DURATION:
        return "is not a duration";
    case CONF_SIZE:
        return "is not a size";
    default:
        return "is not possible";
    }
}

static void
guess_choice(const struct conf_row *row, const char *text, size_t len, FILE *out)
{
    struct conf_guess guess;
    conf_guess_start(&guess, text, len, "");
    size_t word_len;
    for (const char *word = row->choices; (word = next_choice(word, &word_len)) != NULL;
         word = behind_choice(word, word_len)) {
        char name[CONF_NAME_MAX];
        assert(word_len < sizeof(name));
        memcpy(name, word, word_len);
        name[word_len] = '\0';
        conf_guess_offer(&guess, name);
    }
    conf_guess_write(&guess, out);
}

void
conf_explain(const struct conf_row *row, const char *text, size_t len, enum conf_fault fault,
             FILE *out)
{
    if (row->secret)
        fputs("the value", out);
    else
        conf_write_quoted(text, len, out);
    if (fault == CONF_BAD_NUL) {
        fprintf(out, " holds a NUL byte, which %s cannot", row->key);
        return;
    }
    if (fault == CONF_BAD_UNIT) {
        fprintf(out, " has no unit for %s: ms, s, m or h, as in 10s", row->key);
        return;
    }
    const char *wrong = fault == CONF_BAD_SHAPE    ? shape_fault(row)
                        : row->type != CONF_STRING ? "is out of range"
                        : (int64_t)len < row->min  ? "is too short"
                                                   : "is too long";
    fprintf(out, " %s for %s: ", wrong, row->key);
    conf_write_range(row, out);
    if (fault == CONF_BAD_SHAPE && row->type == CONF_DURATION)
        fputs(", in ms, s, m or h", out);
    if (fault == CONF_BAD_SHAPE && row->type == CONF_SIZE)
        fputs(", in bytes, KiB, MiB or GiB", out);
    if (row->type == CONF_CHOICE && !row->secret)
        guess_choice(row, text, len, out);
}

void
conf_read(const struct conf_row *row, const void *settings, struct conf_value *value)
{
    const char *at = (const char *)settings + row->offset;
    *value = (struct conf_value){0};
    if (conf_has_text(row))
        memcpy(&value->text, at, sizeof(value->text));
    else if (row->type == CONF_BOOL)
        memcpy(&value->flag, at, sizeof(value->flag));
    else
        memcpy(&value->number, at, sizeof(value->number));
}

void
conf_store(const struct conf_row *row, void *settings, const struct conf_value *value)
{
    char *at = (char *)settings + row->offset;
    if (conf_has_text(row))
        memcpy(at, &value->text, sizeof(value->text));
    else if (row->type == CONF_BOOL)
        memcpy(at, &value->flag, sizeof(value->flag));
    else
        memcpy(at, &value->number, sizeof(value->number));
}

bool
conf_is_default(const struct conf_row *row, const void *settings)
{
    struct conf_value now;
    struct conf_value standard;
    conf_read(row, settings, &now);
    enum conf_fault fault = conf_parse(row, row->value, strlen(row->value), &standard);
    assert(fault == CONF_GOOD); // conf_init has parsed it before
    (void)fault;
    bool is_same = conf_has_text(row)       ? strcmp(now.text, standard.text) == 0
                   : row->type == CONF_BOOL ? now.flag == standard.flag
                                            : now.number == standard.number;
    if (standard.text != NULL)
        conf_wipe_free(standard.text, strlen(standard.text));
    return is_same;
}

void
conf_write_value(const struct conf_row *row, const struct conf_value *value, FILE *out)
{
    if (conf_has_text(row))
        fputs(value->text, out);
    else if (row->type == CONF_BOOL)
        fputs(value->flag ? "true" : "false", out);
    else
        write_number(row, value->number, out);
}
