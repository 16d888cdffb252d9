// conf_show.c: everything printed from the table: --help, the values, the environment
// names, a settings file to start from, and the reference page.
//
// Sections appear in the order of their first row. Defaults of secrets are printed:
// they are in the table, thus public.
#include "lib/base/conf_internal.h"

#include <string.h>
#include <strings.h>

static const char *const type_names[] = {
    [CONF_STRING] = "text",       [CONF_INT] = "number", [CONF_BOOL] = "true or false",
    [CONF_DURATION] = "duration", [CONF_SIZE] = "size",  [CONF_CHOICE] = "choice",
    [CONF_LIST] = "words",
};

// "number, 0 to 65535"; only what the type does not say already.
static void
write_type(const struct conf_row *row, FILE *out)
{
    if (row->type != CONF_CHOICE)
        fputs(type_names[row->type], out);
    if (row->type == CONF_BOOL || row->type == CONF_LIST)
        return;
    if (row->type != CONF_CHOICE)
        fputs(", ", out);
    conf_write_range(row, out);
}

static size_t
section_len(const char *key)
{
    return strcspn(key, ".");
}

static bool
starts_with(const char *key, const char *prefix, size_t len)
{
    return strncmp(key, prefix, len) == 0;
}

// Whether no earlier row shares the first `len` bytes of this row's key.
static bool
is_first_of(const struct conf *conf, size_t index, size_t len)
{
    for (size_t i = 0; i < index; i++)
        if (starts_with(conf->rows[i].key, conf->rows[index].key, len))
            return false;
    return true;
}

// Words of `text` in lines of at most `width` columns, each after `margin` spaces and `lead`.
static void
write_wrapped(const char *text, int margin, const char *lead, FILE *out)
{
    const size_t width = 90;
    size_t column = 0;
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, " \n");
        if (column > 0 && column + 1 + len > width) {
            fputc('\n', out);
            column = 0;
        }
        if (column == 0)
            fprintf(out, "%*s%s", margin, "", lead);
        else
            fputc(' ', out);
        column += column == 0 ? (size_t)margin + strlen(lead) : 1;
        fwrite(at, 1, len, out);
        column += len;
        at += len;
        at += strspn(at, " \n");
    }
    fputc('\n', out);
}

static void
write_help_row(const struct conf_row *row, FILE *out)
{
    char flag[CONF_NAME_MAX];
    char variable[CONF_NAME_MAX];
    conf_flag_name(row, flag);
    conf_env_name(row, variable);
    fprintf(out, "  %s%s  (", flag, row->type == CONF_BOOL ? "[=false]" : " VALUE");
    write_type(row, out);
    fprintf(out, "; default: %s)\n", *row->value != '\0' ? row->value : "empty");
    write_wrapped(row->help, 6, "", out);
    fprintf(out, "      %s%s\n", variable,
            row->secret ? ", or its path in the same with _FILE" : "");
}

void
conf_help(const struct conf *conf, FILE *out)
{
    fprintf(out,
            "Usage: %s [FLAG...] [WORD...]\n\n"
            "A setting is taken from its flag, else its environment variable, else the settings\n"
            "file, else its default.\n\n"
            "  -c FILE, --config FILE  the settings file, in YAML; also " CONF_ENV_FILE "\n"
            "  --set KEY=VALUE         any setting by its key, as in the file\n"
            "  -h, --help              this text\n",
            conf->program);
    for (size_t i = 0; i < conf->count; i++) {
        size_t len = section_len(conf->rows[i].key);
        if (!is_first_of(conf, i, len + 1))
            continue;
        fprintf(out, "\n%.*s\n", (int)len, conf->rows[i].key);
        for (size_t j = i; j < conf->count; j++)
            if (starts_with(conf->rows[j].key, conf->rows[i].key, len + 1))
                write_help_row(&conf->rows[j], out);
    }
}

static bool
is_all_of(const char *text, const char *allowed)
{
    return *text != '\0' && text[strspn(text, allowed)] == '\0';
}

#define WORD_BYTES "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-"

// A double-quoted YAML scalar of text[0..len).
static void
write_yaml_quoted(const char *text, size_t len, FILE *out)
{
    fputc('"', out);
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte == '"' || byte == '\\')
            fprintf(out, "\\%c", byte);
        else if (byte < 0x20 || byte == 0x7f)
            fprintf(out, "\\x%02x", byte);
        else
            fputc(byte, out);
    }
    fputc('"', out);
}

// So that a value is one line and cannot pass for an origin.
static bool
needs_quotes(const char *text)
{
    if (*text == '\0')
        return true;
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || strchr("\"\\#\x7f", *text) != NULL)
            return true;
    return false;
}

void
conf_show(const struct conf *conf, bool with_origin, FILE *out)
{
    for (size_t i = 0; i < conf->count; i++) {
        const struct conf_row *row = &conf->rows[i];
        struct conf_value value;
        conf_read(row, conf->settings, &value);
        fprintf(out, "%s = ", row->key);
        bool is_empty = conf_has_text(row) && *value.text == '\0';
        if (row->secret && !is_empty && !conf_is_default(row, conf->settings))
            fputs("***", out);
        else if (conf_has_text(row) && needs_quotes(value.text))
            write_yaml_quoted(value.text, strlen(value.text), out);
        else
            conf_write_value(row, &value, out);
        if (with_origin)
            fprintf(out, "  # %s", conf->origins[i]);
        fputc('\n', out);
    }
}

// As a shell, systemd and compose files read it: bare, or in single quotes.
static void
write_env_value(const char *text, FILE *out)
{
    if (*text == '\0' || is_all_of(text, WORD_BYTES ":@%+,")) {
        fputs(text, out);
        return;
    }
    fputc('\'', out);
    for (; *text != '\0'; text++)
        if (*text == '\'')
            fputs("'\\''", out);
        else
            fputc(*text, out);
    fputc('\'', out);
}

void
conf_show_env(const struct conf *conf, FILE *out)
{
    for (size_t i = 0; i < conf->count; i++) {
        const struct conf_row *row = &conf->rows[i];
        char name[CONF_NAME_MAX];
        write_wrapped(row->help, 0, "# ", out);
        if (row->secret) {
            conf_env_file_name(row, name);
            fprintf(out, "# Or %s, the path of a file that holds it.\n", name);
        }
        conf_env_name(row, name);
        fprintf(out, "%s=", name);
        write_env_value(row->value, out);
        fputc('\n', out);
    }
}

// The default as YAML that reads back as the same value.
static void
write_yaml_default(const struct conf_row *row, FILE *out)
{
    const char *at = row->value;
    if (row->type != CONF_LIST) {
        // Quoted also where a plain word would mean "no value".
        if (!conf_has_text(row) ||
            (is_all_of(at, WORD_BYTES) && at[0] != '-' && strcasecmp(at, "null") != 0))
            fputs(at, out);
        else
            write_yaml_quoted(at, strlen(at), out);
        return;
    }
    fputc('[', out);
    for (bool is_first = true; *(at += strspn(at, " ")) != '\0'; is_first = false) {
        size_t len = strcspn(at, " ");
        fputs(is_first ? "" : ", ", out);
        write_yaml_quoted(at, len, out);
        at += len;
    }
    fputc(']', out);
}

// The key without its first `prefix` bytes, which the sections above it say.
static void
write_yaml_row(const struct conf_row *row, size_t prefix, int margin, FILE *out)
{
    char name[CONF_NAME_MAX];
    conf_env_name(row, name);
    write_wrapped(row->help, margin, "# ", out);
    fprintf(out, "%*s# (", margin, "");
    write_type(row, out);
    fprintf(out, "; %s%s)\n", name, row->reloadable ? "; reloadable" : "");
    fprintf(out, "%*s#%s: ", margin, "", row->key + prefix);
    write_yaml_default(row, out);
    fputc('\n', out);
}

// The rows and sections below rows[first].key[0..prefix).
static void
write_yaml_section(const struct conf *conf, size_t first, size_t prefix, int margin, FILE *out)
{
    for (size_t i = first; i < conf->count; i++) {
        const char *key = conf->rows[i].key;
        if (!starts_with(key, conf->rows[first].key, prefix))
            continue;
        size_t word = strcspn(key + prefix, ".");
        if (key[prefix + word] == '\0') {
            write_yaml_row(&conf->rows[i], prefix, margin, out);
        } else if (is_first_of(conf, i, prefix + word + 1)) {
            fprintf(out, "%s%*s%.*s:\n", margin == 0 ? "\n" : "", margin, "", (int)word,
                    key + prefix);
            write_yaml_section(conf, i, prefix + word + 1, margin + 2, out);
        }
    }
}

void
conf_show_yaml(const struct conf *conf, FILE *out)
{
    fprintf(out,
            "# Settings of %s: every key, commented out, with its default.\n"
            "# To change one, remove the '#' right before the key.\n",
            conf->program);
    write_yaml_section(conf, 0, 0, 0, out);
}

// In a table cell a '|' would end it.
static void
write_cell(const char *text, FILE *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '|')
            fputc('\\', out);
        fputc(*text == '\n' ? ' ' : *text, out);
    }
}

static void
write_markdown_row(const struct conf_row *row, FILE *out)
{
    char name[CONF_NAME_MAX];
    conf_env_name(row, name);
    fprintf(out, "| `%s` | ", row->key);
    write_type(row, out);
    fputs(*row->value != '\0' ? " | `" : " | ", out);
    write_cell(row->value, out);
    fprintf(out, "%s | `%s`%s | %s | ", *row->value != '\0' ? "`" : "empty", name,
            row->secret ? " or `…_FILE`" : "", row->reloadable ? "yes" : "no");
    write_cell(row->help, out);
    fputs(" |\n", out);
}

void
conf_show_markdown(const struct conf *conf, FILE *out)
{
    bool is_start = true;
    for (size_t i = 0; i < conf->count; i++) {
        size_t len = section_len(conf->rows[i].key);
        if (!is_first_of(conf, i, len + 1))
            continue;
        fprintf(out,
                "%s## %.*s\n\n"
                "| Key | Type and range | Default | Variable | Reloadable | Meaning |\n"
                "|---|---|---|---|---|---|\n",
                is_start ? "" : "\n", (int)len, conf->rows[i].key);
        is_start = false;
        for (size_t j = i; j < conf->count; j++)
            if (starts_with(conf->rows[j].key, conf->rows[i].key, len + 1))
                write_markdown_row(&conf->rows[j], out);
    }
}
