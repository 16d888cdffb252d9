// spent.c: see spent.h.
#include "lib/bus/spent.h"

void
spent_keep(struct spent *spent, natsMsg *msg)
{
    spent->msgs[spent->count++] = msg;
    spent->bytes += (size_t)natsMsg_GetDataLength(msg);
    if (spent->count == SPENT_MAX || spent->bytes >= SPENT_MAX_BYTES)
        spent_give_back(spent);
}

void
spent_give_back(struct spent *spent)
{
    for (size_t i = 0; i < spent->count; i++)
        natsMsg_Destroy(spent->msgs[i]);
    spent->count = 0;
    spent->bytes = 0;
}
