// dedup.c: SipHash-1-3 (Aumasson and Bernstein 2012) over "<user> NUL <device> NUL <id>",
// and a ring of the answers.
#include "lib/client-c/dedup.h"

#include <string.h>

#define ROTATE(x, bits) (((x) << (bits)) | ((x) >> (64 - (bits))))

// Fed byte by byte: a message's key is short, and comes in three pieces.
struct sip {
    uint64_t v[4];
    uint64_t word;
    unsigned fill; // bytes in word
    uint8_t total;
};

static void
sip_round(uint64_t v[static 4])
{
    v[0] += v[1];
    v[1] = ROTATE(v[1], 13) ^ v[0];
    v[0] = ROTATE(v[0], 32);
    v[2] += v[3];
    v[3] = ROTATE(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = ROTATE(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = ROTATE(v[1], 17) ^ v[2];
    v[2] = ROTATE(v[2], 32);
}

static void
sip_absorb(struct sip *sip, uint64_t word)
{
    sip->v[3] ^= word;
    sip_round(sip->v);
    sip->v[0] ^= word;
}

static void
sip_text(struct sip *sip, const char *text)
{
    const uint8_t *byte = (const uint8_t *)text;
    do {
        sip->word |= (uint64_t)*byte << (8 * sip->fill);
        sip->total++;
        if (++sip->fill == 8) {
            sip_absorb(sip, sip->word);
            sip->word = 0;
            sip->fill = 0;
        }
    } while (*byte++ != 0);
}

static uint64_t
sip_finish(struct sip *sip)
{
    sip_absorb(sip, sip->word | (uint64_t)sip->total << 56);
    sip->v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(sip->v);
    return sip->v[0] ^ sip->v[1] ^ sip->v[2] ^ sip->v[3];
}

void
dedup_init(struct dedup *dedup, uint64_t key0, uint64_t key1)
{
    memset(dedup, 0, sizeof(*dedup));
    dedup->key[0] = key0;
    dedup->key[1] = key1;
}

bool
dedup_is_repeat(struct dedup *dedup, const char *user, const char *device, const char *id,
                uint64_t now_ms)
{
    if (id[0] == 0)
        return false;
    struct sip sip = {.v = {dedup->key[0] ^ 0x736f6d6570736575, dedup->key[1] ^ 0x646f72616e646f6d,
                            dedup->key[0] ^ 0x6c7967656e657261,
                            dedup->key[1] ^ 0x7465646279746573}};
    sip_text(&sip, user);
    sip_text(&sip, device);
    sip_text(&sip, id);
    uint64_t hash = sip_finish(&sip);
    for (unsigned i = 0; i < DEDUP_ENTRIES; i++) {
        if (dedup->entries[i].is_set && dedup->entries[i].hash == hash &&
            now_ms - dedup->entries[i].seen_ms < DEDUP_MS)
            return true;
    }
    dedup->entries[dedup->next].hash = hash;
    dedup->entries[dedup->next].seen_ms = now_ms;
    dedup->entries[dedup->next].is_set = true;
    dedup->next = (dedup->next + 1) % DEDUP_ENTRIES;
    return false;
}
