// token.c: JSON Web Tokens in compact form, checked and made.
//
// 1. Lengths and the number of segments, before anything is decoded.
// 2. The header: one small JSON object. kid picks the key, the key says which
//    algorithm it is for, and alg must be exactly that one. So nothing in the token
//    chooses how it is verified. jku, x5u, jwk and x5c are names we never look at.
// 3. The signature, compared in constant time.
// 4. Only now the claims, which are from whoever holds the key: form, dates, issuer,
//    audience, user.
//
// Refused, each with its own reason: more or fewer than three segments, padding or
// stray bits in base64url, duplicate JSON keys, nesting over MAX_DEPTH, extensions
// that change the meaning of a token (crit, b64, zip, enc), a type meant for another
// protocol, an unknown kid, dates that are no plain integers. The first fault ends
// the check and *claims stays untouched.
//
// A login costs mostly this, so: hashes need one context, made once; and the headers of
// tokens that were good are remembered with the key they picked, since an issuer writes the
// same header into each. Step 2 depends on the header and the keys alone, and keys are
// never replaced. Only a right signature gets a header remembered, so strangers cannot
// push the real ones out.
#include "edge/token.h"

#include <assert.h>
#include <jansson.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

#define KID_MAX_BYTES 64
#define MAC_BYTES 32
// Three members and the longest kid, in base64.
#define KNOWN_HEADER_BYTES 192
// HMAC-SHA256 replaces a longer key by its hash (RFC 2104, section 2); so do we, at once.
#define BLOCK_BYTES 64
// Ours need 1. Some issuers nest a few levels; more is an attack on the parser's stack.
#define MAX_DEPTH 8
// The end of year 9999: with this bound a date in milliseconds fits too.
#define DATE_MAX_S UINT64_C(253402300799)
#define LEEWAY_MAX_S 60

struct key;

struct algorithm {
    const char *name; // as in alg
    size_t signature_bytes;
    // `signature` has signature_bytes. False also if the library failed.
    bool (*verify)(const struct key *key, const char *text, size_t len, const uint8_t *signature);
};

// SHA-256, and what it works in: fetched and made once, either is dearer than a token.
struct hash {
    EVP_MD *sha256;
    EVP_MD_CTX *context;
};

struct key {
    const struct algorithm *algorithm;
    const struct hash *hash; // borrowed from token_keys
    char kid[KID_MAX_BYTES + 1];
    uint8_t secret[BLOCK_BYTES]; // zeros behind it, as HMAC wants it
};

// The headers of good tokens, as they came; the oldest goes first.
struct known_headers {
    size_t next;
    struct known_header {
        const struct key *key; // NULL: none yet
        size_t len;
        char text[KNOWN_HEADER_BYTES];
    } headers[TOKEN_MAX_KEYS];
};

struct token_keys {
    struct hash hash;
    struct known_headers *known;
    size_t count;
    struct key *keys; // TOKEN_MAX_KEYS, in pages of their own, kept out of core dumps
};

#define KEYS_SIZE (TOKEN_MAX_KEYS * sizeof(struct key))

struct segment {
    const char *text;
    size_t len;
};

struct parts {
    struct segment header, claims, signature;
    size_t signed_len; // header, dot and claims
};

// The hash of the key, each byte changed by `pad`, and the text.
static bool
hash_keyed(const struct key *key, uint8_t pad, const void *text, size_t len,
           uint8_t out[static MAC_BYTES])
{
    EVP_MD_CTX *context = key->hash->context;
    uint8_t block[BLOCK_BYTES];
    unsigned written = 0;
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = key->secret[i] ^ pad;
    bool is_done = EVP_DigestInit_ex2(context, key->hash->sha256, NULL) == 1 &&
                   EVP_DigestUpdate(context, block, sizeof(block)) == 1 &&
                   EVP_DigestUpdate(context, text, len) == 1 &&
                   EVP_DigestFinal_ex(context, out, &written) == 1;
    OPENSSL_cleanse(block, sizeof(block));
    return is_done && written == MAC_BYTES;
}

// HMAC, RFC 2104, section 2. OpenSSL's own makes five contexts for one, and a context of
// it that is kept would hold the key on the heap, where core dumps have it.
static bool
sign_hmac(const struct key *key, const char *text, size_t len, uint8_t *signature)
{
    uint8_t inner[MAC_BYTES];
    bool is_done = hash_keyed(key, 0x36, text, len, inner) &&
                   hash_keyed(key, 0x5c, inner, sizeof(inner), signature);
    OPENSSL_cleanse(inner, sizeof(inner));
    // The context starts anew, so that the signature does not stay in it either.
    return EVP_DigestInit_ex2(key->hash->context, key->hash->sha256, NULL) == 1 && is_done;
}

static bool
verify_hmac(const struct key *key, const char *text, size_t len, const uint8_t *signature)
{
    uint8_t right[MAC_BYTES];
    bool is_right = sign_hmac(key, text, len, right) &&
                    CRYPTO_memcmp(signature, right, sizeof(right)) == 0;
    // For a forged token this is the one thing the forger lacks.
    OPENSSL_cleanse(right, sizeof(right));
    return is_right;
}

static const struct algorithm hs256 = {"HS256", MAC_BYTES, verify_hmac};

struct token_keys *
token_keys_new(void)
{
    struct token_keys *keys = calloc(1, sizeof(*keys));
    void *pages = mmap(NULL, KEYS_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct known_headers *known = calloc(1, sizeof(*known));
    struct hash hash = {EVP_MD_fetch(NULL, "SHA256", NULL), EVP_MD_CTX_new()};
    if (keys == NULL || pages == MAP_FAILED || known == NULL || hash.sha256 == NULL ||
        hash.context == NULL)
        abort();
    // Only a precaution: a kernel that cannot do it is no reason not to start.
    (void)madvise(pages, KEYS_SIZE, MADV_DONTDUMP);
    keys->hash = hash;
    keys->known = known;
    keys->keys = pages;
    json_object_seed(0); // it reads a file; not while clients wait
    return keys;
}

void
token_keys_free(struct token_keys *keys)
{
    if (keys == NULL)
        return;
    OPENSSL_cleanse(keys->keys, KEYS_SIZE);
    munmap(keys->keys, KEYS_SIZE);
    EVP_MD_CTX_free(keys->hash.context);
    EVP_MD_free(keys->hash.sha256);
    free(keys->known);
    free(keys);
}

static bool
kid_is_valid(const char *kid)
{
    size_t len = strspn(kid, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return len >= 1 && len <= KID_MAX_BYTES && kid[len] == '\0';
}

static const struct key *
key_find(const struct token_keys *keys, const char *kid)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (strcmp(keys->keys[i].kid, kid) == 0)
            return &keys->keys[i];
    }
    return NULL;
}

int
token_keys_add_hs256(struct token_keys *keys, const char *kid, const void *secret, size_t len)
{
    bool is_named = kid[0] != '\0';
    if (len < TOKEN_MIN_KEY_BYTES || keys->count == TOKEN_MAX_KEYS ||
        (is_named && !kid_is_valid(kid)) || key_find(keys, kid) != NULL)
        return SY_EINVAL;
    struct key *key = &keys->keys[keys->count];
    if (len <= BLOCK_BYTES)
        memcpy(key->secret, secret, len);
    else if (EVP_Q_digest(NULL, "SHA256", NULL, secret, len, key->secret, NULL) != 1)
        return SY_EINVAL;
    key->algorithm = &hs256;
    key->hash = &keys->hash;
    memcpy(key->kid, kid, strlen(kid) + 1);
    keys->count++;
    return 0;
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

// One more than what each character stands for; 0: nothing.
static const uint8_t base64url_values[UCHAR_MAX + 1] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['-'] = 63, ['_'] = 64,
};

// RFC 7515 base64url: no padding, no line breaks, unused bits zero, so that bytes have
// one spelling. `out` has room for len * 3 / 4 bytes. False if it is not that.
static bool
base64url_read(struct segment in, uint8_t *out, size_t *out_len)
{
    uint32_t bits = 0; // the low `held` bits are not written yet
    unsigned held = 0;
    size_t written = 0;
    for (size_t i = 0; i < in.len; i++) {
        uint32_t value = base64url_values[(unsigned char)in.text[i]];
        if (value == 0)
            return false;
        bits = (bits << 6 | (value - 1)) & 0xfff;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[written++] = (uint8_t)(bits >> held);
        }
    }
    *out_len = written;
    return in.len % 4 != 1 && (bits & ((1u << held) - 1)) == 0;
}

// The length written, without a NUL; 0 if it does not fit. `out` must not overlap.
static size_t
base64url_write(const void *bytes, size_t len, char *out, size_t size)
{
    const uint8_t *in = bytes;
    size_t needed = (len * 8 + 5) / 6;
    if (needed > size)
        return 0;
    for (size_t i = 0; i < needed; i++) {
        size_t bit = i * 6;
        uint32_t pair = (uint32_t)in[bit / 8] << 8;
        if (bit / 8 + 1 < len)
            pair |= in[bit / 8 + 1];
        out[i] = alphabet[pair >> (10 - bit % 8) & 63];
    }
    return needed;
}

// Counts brackets outside strings. It agrees with a JSON parser up to the first
// fault in the text, and there the parser stops.
static bool
is_shallow(const char *text, size_t len)
{
    unsigned depth = 0;
    bool is_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (is_string && c == '\\')
            i++;
        else if (c == '"')
            is_string = !is_string;
        else if (!is_string && (c == '{' || c == '[')) {
            if (++depth > MAX_DEPTH)
                return false;
        } else if (!is_string && (c == '}' || c == ']') && depth > 0)
            depth--;
    }
    return true;
}

// The object a segment encodes, or NULL. The caller releases it.
static json_t *
read_object(struct segment in)
{
    uint8_t text[TOKEN_MAX_BYTES];
    size_t len;
    if (!base64url_read(in, text, &len) || !is_shallow((const char *)text, len))
        return NULL;
    json_t *object = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(object))
        return object;
    json_decref(object);
    return NULL;
}

static const char *
split(const char *token, size_t len, struct parts *parts)
{
    if (len > TOKEN_MAX_BYTES)
        return "longer than 4096 bytes";
    const char *first = memchr(token, '.', len);
    const char *end = token + len;
    const char *second = first != NULL ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
    if (second == NULL || memchr(second + 1, '.', (size_t)(end - second - 1)) != NULL)
        return "not three segments";
    parts->header = (struct segment){token, (size_t)(first - token)};
    parts->claims = (struct segment){first + 1, (size_t)(second - first - 1)};
    parts->signature = (struct segment){second + 1, (size_t)(end - second - 1)};
    parts->signed_len = (size_t)(second - token);
    if (parts->header.len == 0 || parts->claims.len == 0 || parts->signature.len == 0)
        return "an empty segment";
    return NULL;
}

// Tokens that an issuer made for another purpose (a logout notice, a proof of
// possession) say so in typ, and are no login. RFC 8725, section 3.11.
static bool
type_is_ours(const json_t *header)
{
    const json_t *type = json_object_get(header, "typ");
    if (type == NULL)
        return true;
    const char *name = json_string_value(type);
    return name != NULL && (strcasecmp(name, "JWT") == 0 || strcasecmp(name, "at+jwt") == 0 ||
                            strcasecmp(name, "application/at+jwt") == 0);
}

static const char *
check_header(const struct token_keys *keys, const json_t *header, const struct key **out)
{
    static const char *const refused[] = {"crit", "b64", "zip", "enc"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (json_object_get(header, refused[i]) != NULL)
            return "an extension in the header";
    }
    if (!type_is_ours(header))
        return "typ is of another kind of token";
    const json_t *id = json_object_get(header, "kid");
    const char *kid = id != NULL ? json_string_value(id) : "";
    if (kid == NULL || (id != NULL && !kid_is_valid(kid)))
        return "kid is not 1-64 of [A-Za-z0-9._-]";
    const struct key *key = key_find(keys, kid);
    if (key == NULL)
        return id != NULL ? "kid is unknown" : "no kid, and no key without one";
    const char *alg = json_string_value(json_object_get(header, "alg"));
    if (alg == NULL || strcmp(alg, key->algorithm->name) != 0)
        return "alg is not that of the key";
    *out = key;
    return NULL;
}

// The key that a good token with this very header had, or NULL.
static const struct key *
recall_header(const struct token_keys *keys, struct segment header)
{
    for (size_t i = 0; i < TOKEN_MAX_KEYS; i++) {
        const struct known_header *known = &keys->known->headers[i];
        if (known->key != NULL && known->len == header.len &&
            memcmp(known->text, header.text, header.len) == 0)
            return known->key;
    }
    return NULL;
}

static void
remember_header(const struct token_keys *keys, struct segment header, const struct key *key)
{
    if (header.len > KNOWN_HEADER_BYTES)
        return;
    struct known_header *known = &keys->known->headers[keys->known->next++ % TOKEN_MAX_KEYS];
    known->key = key;
    known->len = header.len;
    memcpy(known->text, header.text, header.len);
}

static const char *
read_header(const struct token_keys *keys, struct segment segment, const struct key **key)
{
    json_t *header = read_object(segment);
    if (header == NULL)
        return "the header is not base64url of a small JSON object";
    const char *fault = check_header(keys, header, key);
    json_decref(header);
    return fault;
}

static const char *
check_signature(const struct key *key, const char *token, const struct parts *parts)
{
    uint8_t signature[TOKEN_MAX_BYTES];
    size_t len;
    if (parts->signature.len != (key->algorithm->signature_bytes * 8 + 5) / 6)
        return "the signature has the wrong length";
    if (!base64url_read(parts->signature, signature, &len))
        return "the signature is not base64url";
    if (!key->algorithm->verify(key, token, parts->signed_len, signature))
        return "the signature does not match";
    return NULL;
}

struct date {
    bool is_given;
    uint64_t s;
};

// False if the claim is there and is no date.
static bool
read_date(const json_t *claims, const char *name, struct date *out)
{
    const json_t *value = json_object_get(claims, name);
    *out = (struct date){.is_given = value != NULL};
    if (value == NULL)
        return true;
    json_int_t s = json_integer_value(value);
    if (!json_is_integer(value) || s < 0 || (uint64_t)s > DATE_MAX_S)
        return false;
    out->s = (uint64_t)s;
    return true;
}

static const char *
check_dates(const struct token_rules *rules, uint64_t now_s, const json_t *object,
            struct token_claims *claims)
{
    struct date exp, nbf, iat;
    if (!read_date(object, "exp", &exp) || !read_date(object, "nbf", &nbf) ||
        !read_date(object, "iat", &iat))
        return "a date is not a whole number of seconds from 1970 to 9999";
    if (!exp.is_given)
        return "exp is missing";
    if (now_s >= exp.s + rules->leeway_s)
        return "it has expired";
    uint64_t latest_s = now_s + rules->leeway_s;
    if (nbf.s > latest_s)
        return "it is not valid yet";
    if (iat.s > latest_s)
        return "it was issued in the future";
    if (iat.is_given && iat.s > exp.s)
        return "it expired before it was issued";
    if (rules->max_life_s > 0 && !iat.is_given)
        return "iat is missing, and the length of life is limited";
    if (rules->max_life_s > 0 && exp.s - iat.s > rules->max_life_s)
        return "it lives longer than allowed";
    claims->issued_s = iat.s;
    claims->expires_s = exp.s;
    return NULL;
}

// 1 if `audience` is in the claim, 0 if not, -1 if the claim is neither absent nor a
// string nor an array of strings.
static int
find_audience(const json_t *claim, const char *audience)
{
    if (claim == NULL)
        return 0;
    if (json_is_string(claim))
        return strcmp(json_string_value(claim), audience) == 0;
    if (!json_is_array(claim))
        return -1;
    int found = 0;
    size_t i;
    const json_t *entry;
    json_array_foreach(claim, i, entry)
    {
        if (!json_is_string(entry))
            return -1;
        if (strcmp(json_string_value(entry), audience) == 0)
            found = 1;
    }
    return found;
}

static const char *
check_parties(const struct token_rules *rules, const json_t *object)
{
    const json_t *iss = json_object_get(object, "iss");
    if (iss != NULL && !json_is_string(iss))
        return "iss is not a string";
    const char *issuer = rules->issuer != NULL ? rules->issuer : "";
    if (issuer[0] != '\0' && (iss == NULL || strcmp(json_string_value(iss), issuer) != 0))
        return "iss is not the issuer we trust";
    const char *audience = rules->audience != NULL ? rules->audience : "";
    int found = find_audience(json_object_get(object, "aud"), audience);
    if (found < 0)
        return "aud is neither a string nor an array of strings";
    if (audience[0] != '\0' && found == 0)
        return "aud does not name us";
    return NULL;
}

static bool
has_word(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (; *words != '\0'; words += strcspn(words, " "), words += *words == ' ')
        if (strcspn(words, " ") == len && memcmp(words, word, len) == 0)
            return true;
    return false;
}

static const char *
read_scope(const json_t *object, struct token_claims *claims)
{
    const json_t *scope = json_object_get(object, "scope");
    if (scope == NULL)
        return NULL;
    if (!json_is_string(scope))
        return "scope is not text";
    claims->may_broadcast = has_word(json_string_value(scope), "broadcast");
    return NULL;
}

static const char *
read_identity(const json_t *object, struct token_claims *claims)
{
    const json_t *sub = json_object_get(object, "sub");
    if (sub == NULL)
        return "sub is missing";
    if (!json_is_string(sub) || !ident_is_valid(json_string_value(sub), json_string_length(sub)))
        return "sub is not a user id";
    memcpy(claims->user, json_string_value(sub), json_string_length(sub) + 1);
    const json_t *jti = json_object_get(object, "jti");
    if (jti == NULL)
        return NULL;
    size_t len = json_string_length(jti);
    if (!json_is_string(jti) || len >= sizeof(claims->id) ||
        !ident_is_valid(json_string_value(jti), len))
        return "jti is not 1-64 bytes of text";
    memcpy(claims->id, json_string_value(jti), len + 1);
    return NULL;
}

static const char *
find_fault(const struct token_keys *keys, const struct token_rules *rules, const char *token,
           size_t len, uint64_t now_s, struct token_claims *claims)
{
    struct parts parts;
    const char *fault = split(token, len, &parts);
    if (fault != NULL)
        return fault;
    const struct key *key = recall_header(keys, parts.header);
    bool is_new = key == NULL;
    if (is_new)
        fault = read_header(keys, parts.header, &key);
    if (fault == NULL)
        fault = check_signature(key, token, &parts);
    if (fault != NULL)
        return fault;
    if (is_new)
        remember_header(keys, parts.header, key);
    json_t *object = read_object(parts.claims);
    if (object == NULL)
        return "the claims are not base64url of a small JSON object";
    fault = check_dates(rules, now_s, object, claims);
    if (fault == NULL)
        fault = check_parties(rules, object);
    if (fault == NULL)
        fault = read_identity(object, claims);
    if (fault == NULL)
        fault = read_scope(object, claims);
    json_decref(object);
    return fault;
}

int
token_check(const struct token_keys *keys, const struct token_rules *rules, const char *token,
            size_t len, uint64_t now_s, struct token_claims *claims, const char **why)
{
    assert(rules->leeway_s <= LEEWAY_MAX_S);
    assert(now_s <= DATE_MAX_S);
    struct token_claims found = {0};
    const char *fault = find_fault(keys, rules, token, len, now_s, &found);
    if (fault != NULL) {
        *why = fault;
        return SY_EDENIED;
    }
    *claims = found;
    return 0;
}

// Appends the object's text in base64url and a dot; releases the object (NULL: false).
static bool
append_object(json_t *object, char *out, size_t size, size_t *len)
{
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (text == NULL)
        return false;
    size_t written = base64url_write(text, strlen(text), out + *len, size - *len);
    free(text);
    *len += written;
    if (written == 0 || *len == size)
        return false;
    out[(*len)++] = '.';
    return true;
}

// The claim, left out if the text is empty.
static const char *
or_absent(const char *text)
{
    return text != NULL && text[0] != '\0' ? text : NULL;
}

int
token_make_hs256(const struct token_keys *keys, const char *kid, const char *user,
                 const char *issuer, const char *audience, uint64_t issued_s, uint64_t expires_s,
                 char *out, size_t size)
{
    return token_make_scoped(keys, kid, user, issuer, audience, issued_s, expires_s, "", out, size);
}

int
token_make_scoped(const struct token_keys *keys, const char *kid, const char *user,
                  const char *issuer, const char *audience, uint64_t issued_s, uint64_t expires_s,
                  const char *scope, char *out, size_t size)
{
    const struct key *key = key_find(keys, kid);
    if (key == NULL || key->algorithm != &hs256 || !ident_is_valid(user, strlen(user)) ||
        expires_s > DATE_MAX_S || issued_s > expires_s)
        return SY_EINVAL;
    // One more than the longest token we would accept, for the NUL.
    if (size > TOKEN_MAX_BYTES + 1)
        size = TOKEN_MAX_BYTES + 1;
    json_t *header = json_pack("{s:s, s:s, s:s*}", "alg", key->algorithm->name, "typ", "JWT", "kid",
                               or_absent(kid));
    json_t *issued = issued_s > 0 ? json_integer((json_int_t)issued_s) : NULL;
    json_t *claims = json_pack("{s:s, s:o*, s:I, s:s*, s:s*, s:s*}", "sub", user, "iat", issued,
                               "exp", (json_int_t)expires_s, "iss", or_absent(issuer), "aud",
                               or_absent(audience), "scope", or_absent(scope));
    size_t len = 0;
    bool is_whole = append_object(header, out, size, &len);
    if (!is_whole)
        json_decref(claims);
    else
        is_whole = append_object(claims, out, size, &len);
    uint8_t signature[MAC_BYTES];
    if (!is_whole || !sign_hmac(key, out, len - 1, signature))
        return SY_EINVAL;
    size_t written = base64url_write(signature, sizeof(signature), out + len, size - len);
    if (written == 0 || len + written >= size)
        return SY_EINVAL;
    out[len + written] = '\0';
    return 0;
}
