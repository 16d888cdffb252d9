// Any bytes as a token. An input that starts with 'r' is a token as it is. One
// that starts with 's' is a header, a newline and claims, which are signed here with the
// key that is checked: so the fuzzer reaches what stands behind the signature.
//
// The second byte picks the rules. In every case: a refusal has a reason and leaves the
// claims alone; what is accepted names a user and has not expired.
#include <assert.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "edge/token.h"

#define NOW_S UINT64_C(1700000000)
#define PART_MAX 4200 // somewhat more than the longest token

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const char secret[] = "0123456789abcdef0123456789abcdef";

// The length written to `out`, which has room for 4 characters per 3 bytes and a NUL.
static size_t
encode(const uint8_t *bytes, size_t len, char *out)
{
    size_t written = (size_t)EVP_EncodeBlock((unsigned char *)out, bytes, (int)len);
    while (written > 0 && out[written - 1] == '=')
        written--;
    for (size_t i = 0; i < written; i++)
        out[i] = (char)(out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i]);
    return written;
}

static size_t
sign(const uint8_t *bytes, size_t len, char *out)
{
    const uint8_t *newline = memchr(bytes, '\n', len);
    size_t header_len = newline != NULL ? (size_t)(newline - bytes) : len;
    size_t at = encode(bytes, header_len, out);
    out[at++] = '.';
    if (newline != NULL)
        at += encode(newline + 1, len - header_len - 1, out + at);
    uint8_t mac[32];
    size_t mac_len = 0;
    unsigned char *done = EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, secret, strlen(secret),
                                    (const unsigned char *)out, at, mac, sizeof(mac), &mac_len);
    assert(done != NULL && mac_len == sizeof(mac));
    out[at++] = '.';
    return at + encode(mac, sizeof(mac), out + at);
}

static struct token_keys *
test_keys(void)
{
    struct token_keys *keys = token_keys_new();
    int added = token_keys_add_hs256(keys, "", secret, strlen(secret));
    added += token_keys_add_hs256(keys, "k1", secret, strlen(secret));
    assert(added == 0);
    return keys;
}

static void
check(const char *token, size_t len, uint8_t choice)
{
    static struct token_keys *keys;
    if (keys == NULL)
        keys = test_keys();
    const struct token_rules rules = {
        .issuer = choice & 1 ? "login" : "",
        .audience = choice & 2 ? "chat" : "",
        .leeway_s = choice & 4 ? 30 : 0,
        .max_life_s = choice & 8 ? 3600 : 0,
    };
    struct token_claims before;
    memset(&before, 0x5a, sizeof(before));
    struct token_claims claims = before;
    const char *why = NULL;
    if (token_check(keys, &rules, token, len, NOW_S, &claims, &why) != 0) {
        assert(why != NULL && why[0] != '\0');
        assert(memcmp(&claims, &before, sizeof(claims)) == 0);
        return;
    }
    assert(why == NULL && len <= TOKEN_MAX_BYTES);
    assert(ident_is_valid(claims.user, strnlen(claims.user, sizeof(claims.user))));
    assert(memchr(claims.id, '\0', sizeof(claims.id)) != NULL);
    assert(NOW_S < claims.expires_s + rules.leeway_s);
    assert(claims.issued_s <= NOW_S + rules.leeway_s && claims.issued_s <= claims.expires_s);
    assert(rules.max_life_s == 0 || claims.expires_s - claims.issued_s <= rules.max_life_s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len < 2 || len > PART_MAX)
        return 0;
    const uint8_t choice = bytes[1];
    if (bytes[0] == 's') {
        char token[2 * PART_MAX];
        check(token, sign(bytes + 2, len - 2, token), choice);
    } else if (bytes[0] == 'r') {
        check((const char *)bytes + 2, len - 2, choice);
    }
    return 0;
}
