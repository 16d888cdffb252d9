// ident_private.h: which of our alphabets a byte belongs to, for the loops that run
// over every node id and every subject several times per message.
#pragma once

#include <stddef.h>

enum ident_letter {
    LETTER_NAME = 1,    // of a node's name: [a-z0-9-]
    LETTER_HEX = 2,     // [0-9a-f]
    LETTER_PLAIN = 4,   // ident_map leaves it as it is: [A-Za-z0-9-]
    LETTER_SUBJECT = 8, // of a subject: [A-Za-z0-9_.-]
};

// What all bytes of the text are; of none: everything.
unsigned ident_letters_in_common(const char *text, size_t len);
