// send_check.h: what a Send command must be. Pure.
#pragma once

#include "switchyard/v1/client.pb-c.h"

// What is wrong with it, as a sentence for its sender; NULL: nothing.
const char *send_complaint(const Switchyard__V1__Send *send);
