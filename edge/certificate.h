// certificate.h: do a certificate and a key go together? Asked before libwebsockets gets
// them, since a failed reload there would leave half of the old pair and half of the new.
#pragma once

#include "lib/base/err.h"

// Both PEM. SY_EINVAL with a line in *why.
MUST_USE
int certificate_check(const char *cert_file, const char *key_file, char why[static 200]);
