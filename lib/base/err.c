// err.c: the words for SY_E*, from the one list in err.h.
#include "lib/base/err.h"

const char *
sy_error_name(int error)
{
    switch (error) {
    case SY_OK:
        return "ok";
#define AS_CASE(symbol, number, name, text) \
    case symbol:                            \
        return name;
        SY_ERRORS(AS_CASE)
#undef AS_CASE
    default:
        return "unknown";
    }
}

const char *
sy_error_text(int error)
{
    switch (error) {
    case SY_OK:
        return "no error";
#define AS_CASE(symbol, number, name, text) \
    case symbol:                            \
        return text;
        SY_ERRORS(AS_CASE)
#undef AS_CASE
    default:
        return "a number that is no error of ours";
    }
}
