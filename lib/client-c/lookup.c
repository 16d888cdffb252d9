// lookup.c: getaddrinfo in libuv's pool. A look-up that runs cannot be called back, so it
// owns itself, and one that was abandoned ends unheard.
#include "lib/client-c/lookup.h"

#include <stdlib.h>

struct lookup {
    uv_getaddrinfo_t request;
    lookup_cb *done; // NULL: abandoned
    void *arg;
};

static void
add(struct addresses *found, const struct sockaddr *address)
{
    char *out = found->text[found->count];
    int error = 1;
    if (address->sa_family == AF_INET)
        error = uv_ip4_name((const void *)address, out, LOOKUP_ADDRESS_SIZE);
    else if (address->sa_family == AF_INET6)
        error = uv_ip6_name((const void *)address, out, LOOKUP_ADDRESS_SIZE);
    if (error == 0)
        found->count++;
}

bool
lookup_is_numeric(const char *host, struct addresses *found)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    found->count = 0;
    if (uv_ip4_addr(host, 0, &v4) == 0)
        add(found, (const void *)&v4);
    else if (uv_ip6_addr(host, 0, &v6) == 0)
        add(found, (const void *)&v6);
    return found->count > 0;
}

static void
on_found(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct lookup *lookup = request->data;
    struct addresses found = {.count = 0};
    if (status == 0) {
        for (struct addrinfo *at = list; at != NULL && found.count < LOOKUP_MAX_ADDRESSES;
             at = at->ai_next)
            add(&found, at->ai_addr);
    }
    uv_freeaddrinfo(list);
    if (lookup->done != NULL)
        lookup->done(lookup->arg, &found, status != 0 || found.count > 0 ? status : UV_EAI_NODATA);
    free(lookup);
}

struct lookup *
lookup_start(uv_loop_t *loop, const char *host, lookup_cb *done, void *arg)
{
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    if (lookup == NULL)
        return NULL;
    lookup->request.data = lookup;
    lookup->done = done;
    lookup->arg = arg;
    if (uv_getaddrinfo(loop, &lookup->request, on_found, host, NULL, &hints) != 0) {
        free(lookup);
        return NULL;
    }
    return lookup;
}

void
lookup_abandon(struct lookup *lookup)
{
    lookup->done = NULL;
    uv_cancel((uv_req_t *)&lookup->request); // may be too late; then it ends by itself
}
