// Tokens are signed here by code of its own, so that a fault shared by the two halves
// of token.c shows. JSON is written with ' for ", and base64url is that of OpenSSL.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above first.
#include <cmocka.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edge/token.h"

#define NOW_S UINT64_C(1700000000)
#define TEXT_MAX 8192

static const char secret[] = "0123456789abcdef0123456789abcdef";
static const char stranger[] = "an other key of thirty-two bytes";

static const struct token_rules rules = {
    .issuer = "login", .audience = "chat", .leeway_s = 30, .max_life_s = 3600};
static const struct token_rules any_rules = {.issuer = "", .audience = "", .leeway_s = 0};

// Into a buffer of TEXT_MAX bytes, where it must fit.
__attribute__((format(printf, 2, 3))) static void
print(char *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(out, TEXT_MAX, format, args);
    va_end(args);
    assert_in_range(len, 0, TEXT_MAX - 1);
}

static void
encode(const void *bytes, size_t len, char *out)
{
    assert_true(len < TEXT_MAX / 2);
    EVP_EncodeBlock((unsigned char *)out, bytes, (int)len);
    for (char *c = out; *c != '\0'; c++) {
        if (*c == '+')
            *c = '-';
        else if (*c == '/')
            *c = '_';
        else if (*c == '=')
            *c = '\0';
    }
}

static void
encode_json(const char *json, char *out)
{
    char text[TEXT_MAX];
    size_t len = strlen(json);
    assert_true(len < sizeof(text));
    for (size_t i = 0; i <= len; i++)
        text[i] = json[i] == '\'' ? '"' : json[i];
    encode(text, len, out);
}

static void
sign(const char *signed_text, const char *key, const char *digest, char *out)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    size_t len = 0;
    assert_non_null(EVP_Q_mac(NULL, "HMAC", NULL, digest, NULL, key, strlen(key),
                              (const unsigned char *)signed_text, strlen(signed_text), mac,
                              sizeof(mac), &len));
    encode(mac, len, out);
}

// header and claims in base64url, with their signature.
static void
join(const char *header, const char *claims, const char *key, const char *digest, char *out)
{
    char signature[200];
    print(out, "%s.%s", header, claims);
    sign(out, key, digest, signature);
    print(out, "%s.%s.%s", header, claims, signature);
}

static void
make(const char *header, const char *claims, char *out)
{
    char head[TEXT_MAX], body[TEXT_MAX];
    encode_json(header, head);
    encode_json(claims, body);
    join(head, body, secret, "SHA256", out);
}

static struct token_keys *
test_keys(void)
{
    struct token_keys *keys = token_keys_new();
    assert_int_equal(token_keys_add_hs256(keys, "", secret, strlen(secret)), 0);
    return keys;
}

// Whatever was said of a token is said again once the header of a good one is known.
static void
check_again(struct token_keys *keys, const struct token_rules *by, const char *token, size_t len,
            uint64_t now_s, int before, const char *why)
{
    struct token_claims claims;
    const char *reason = NULL;
    char good[TEXT_MAX];
    make("{'alg':'HS256'}", "{'sub':'a','exp':1700000001}", good);
    assert_int_equal(token_check(keys, &any_rules, good, strlen(good), NOW_S, &claims, &reason), 0);
    assert_int_equal(token_check(keys, by, token, len, now_s, &claims, &reason), before);
    if (before != 0)
        assert_string_equal(reason, why);
}

// NULL: accepted, else the reason. Refused claims must stay as they were.
static const char *
check_bytes(const struct token_rules *by, const char *token, size_t len, uint64_t now_s,
            struct token_claims *claims)
{
    struct token_keys *keys = test_keys();
    struct token_claims before;
    memset(&before, 0x5a, sizeof(before));
    *claims = before;
    const char *why = NULL;
    int got = token_check(keys, by, token, len, now_s, claims, &why);
    check_again(keys, by, token, len, now_s, got, why);
    token_keys_free(keys);
    if (got == 0)
        return NULL;
    assert_int_equal(got, SY_EDENIED);
    assert_memory_equal(claims, &before, sizeof(before));
    assert_non_null(why);
    return why;
}

static const char *
check(const struct token_rules *by, const char *token, uint64_t now_s)
{
    struct token_claims claims;
    return check_bytes(by, token, strlen(token), now_s, &claims);
}

// What is done to header and claims of an attempt on the way to a token.
enum how {
    SIGNED,         // as it should be
    BY_STRANGER,    // with a key that is not ours
    BY_SHA512,      // our key, the digest of HS512
    EMPTY_SIGNED,   // "h.c."
    ONE,            // "h"
    TWO,            // "h.c"
    FOUR,           // "h.c.s.s"
    FIVE,           // as JWE in compact form
    NO_HEADER,      // ".c.s"
    NO_CLAIMS,      // "h..s"
    ONLY_DOTS,      // ".."
    PAD_HEADER,     // '=' after the header
    PAD_SIGNATURE,  // '=' after the signature
    STRAY_BITS,     // last character of the signature with unused bits set
    STRAY_CLAIMS,   // the same in the claims, signed as such
    SHORT_MAC,      // 31 bytes
    LONG_MAC,       // 33 bytes
    ZERO_MAC,       // 32 zero bytes
    NEWLINE,        // at the end
    SPACE_FIRST,    // at the front
    STANDARD_64,    // '+' in the claims
    STANDARD_MAC,   // '+' in the signature
    BAD_LENGTH_64,  // claims of 4n + 1 characters
    LATIN_CLAIMS,   // a byte over 0x7f in the claims segment
    SWAPPED,        // claims of another token under this signature
    HEADER_CHANGED, // a header other than the signed one
};

struct attempt {
    const char *name, *header, *claims;
    enum how how;
    const char *why; // NULL: must be accepted
};

#define HS "{'alg':'HS256'}"
#define PARTIES "'iss':'login','aud':'chat'"
#define DATES "'iat':1699999990,'exp':1700000300"
#define GOOD "{'sub':'anna'," PARTIES "," DATES "}"
#define DATED(dates) "{'sub':'anna'," PARTIES "," dates "}"
#define NAMED(parties) "{'sub':'anna'," DATES "," parties "}"
#define ALSO(more) "{'sub':'anna'," PARTIES "," DATES "," more "}"

static const char NOT_OURS[] = "alg is not that of the key";
static const char EXTENSION[] = "an extension in the header";
static const char BAD_HEADER[] = "the header is not base64url of a small JSON object";
static const char BAD_CLAIMS[] = "the claims are not base64url of a small JSON object";
static const char BAD_DATE[] = "a date is not a whole number of seconds from 1970 to 9999";
static const char BAD_KID[] = "kid is not 1-64 of [A-Za-z0-9._-]";
static const char BAD_MAC[] = "the signature does not match";
static const char MAC_LENGTH[] = "the signature has the wrong length";
static const char NOT_64[] = "the signature is not base64url";
static const char SEGMENTS[] = "not three segments";
static const char EMPTY[] = "an empty segment";
static const char BAD_AUD[] = "aud does not name us";
static const char AUD_FORM[] = "aud is neither a string nor an array of strings";
static const char BAD_USER[] = "sub is not a user id";
static const char BAD_JTI[] = "jti is not 1-64 bytes of text";
static const char BAD_TYPE[] = "typ is of another kind of token";

// clang-format off
static const struct attempt attempts[] = {
    // Shape
    {"plain", HS, GOOD, SIGNED, NULL},
    {"one segment", HS, GOOD, ONE, SEGMENTS},
    {"two segments", HS, GOOD, TWO, SEGMENTS},
    {"four segments", HS, GOOD, FOUR, SEGMENTS},
    {"five segments, a JWE", "{'alg':'dir','enc':'A256GCM'}", GOOD, FIVE, SEGMENTS},
    {"only dots", HS, GOOD, ONLY_DOTS, EMPTY},
    {"empty header", HS, GOOD, NO_HEADER, EMPTY},
    {"empty claims", HS, GOOD, NO_CLAIMS, EMPTY},
    {"empty signature", HS, GOOD, EMPTY_SIGNED, EMPTY},
    {"padded header", HS, GOOD, PAD_HEADER, BAD_HEADER},
    {"padded signature", HS, GOOD, PAD_SIGNATURE, MAC_LENGTH},
    {"stray bits in the signature", HS, GOOD, STRAY_BITS, NOT_64},
    {"standard alphabet in the signature", HS, GOOD, STANDARD_MAC, NOT_64},
    {"stray bits in the claims", HS, ALSO("'a':12"), STRAY_CLAIMS, BAD_CLAIMS},
    {"newline after", HS, GOOD, NEWLINE, MAC_LENGTH},
    {"space before", HS, GOOD, SPACE_FIRST, BAD_HEADER},
    {"standard alphabet", HS, GOOD, STANDARD_64, BAD_CLAIMS},
    {"impossible length", HS, GOOD, BAD_LENGTH_64, BAD_CLAIMS},
    {"byte over 0x7f", HS, GOOD, LATIN_CLAIMS, BAD_CLAIMS},
    // Signature
    {"another key", HS, GOOD, BY_STRANGER, BAD_MAC},
    {"claims of another token", HS, GOOD, SWAPPED, BAD_MAC},
    {"header changed after signing", HS, GOOD, HEADER_CHANGED, BAD_MAC},
    {"zero signature", HS, GOOD, ZERO_MAC, BAD_MAC},
    {"signature cut by a byte", HS, GOOD, SHORT_MAC, MAC_LENGTH},
    {"signature longer by a byte", HS, GOOD, LONG_MAC, MAC_LENGTH},
    {"HS512 signature under HS256", HS, GOOD, BY_SHA512, MAC_LENGTH},
    // Algorithm
    {"none, unsigned", "{'alg':'none'}", GOOD, EMPTY_SIGNED, EMPTY},
    {"none, signed", "{'alg':'none'}", GOOD, SIGNED, NOT_OURS},
    {"None", "{'alg':'None'}", GOOD, SIGNED, NOT_OURS},
    {"NONE", "{'alg':'NONE'}", GOOD, SIGNED, NOT_OURS},
    {"nOnE, zero signature", "{'alg':'nOnE'}", GOOD, ZERO_MAC, NOT_OURS},
    {"hs256", "{'alg':'hs256'}", GOOD, SIGNED, NOT_OURS},
    {"Hs256", "{'alg':'Hs256'}", GOOD, SIGNED, NOT_OURS},
    {"HS256 and a space", "{'alg':'HS256 '}", GOOD, SIGNED, NOT_OURS},
    {"HS384", "{'alg':'HS384'}", GOOD, SIGNED, NOT_OURS},
    {"HS512, signed as that", "{'alg':'HS512'}", GOOD, BY_SHA512, NOT_OURS},
    {"RS256 with an HMAC", "{'alg':'RS256'}", GOOD, SIGNED, NOT_OURS},
    {"ES256 with an HMAC", "{'alg':'ES256'}", GOOD, SIGNED, NOT_OURS},
    {"EdDSA with an HMAC", "{'alg':'EdDSA'}", GOOD, SIGNED, NOT_OURS},
    {"empty alg", "{'alg':''}", GOOD, SIGNED, NOT_OURS},
    {"no alg", "{'typ':'JWT'}", GOOD, SIGNED, NOT_OURS},
    {"alg is an array", "{'alg':['HS256']}", GOOD, SIGNED, NOT_OURS},
    {"alg is a number", "{'alg':256}", GOOD, SIGNED, NOT_OURS},
    {"alg is null", "{'alg':null}", GOOD, SIGNED, NOT_OURS},
    {"alg escaped, the same text", "{'alg':'\\u0048S256'}", GOOD, SIGNED, NULL},
    {"alg with NUL", "{'alg':'HS256\\u0000'}", GOOD, SIGNED, BAD_HEADER},
    {"ALG only", "{'ALG':'HS256'}", GOOD, SIGNED, NOT_OURS},
    {"alg twice", "{'alg':'HS256','alg':'none'}", GOOD, SIGNED, BAD_HEADER},
    {"alg twice, escaped", "{'alg':'HS256','\\u0061lg':'none'}", GOOD, SIGNED, BAD_HEADER},
    // Header
    {"typ JWT", "{'alg':'HS256','typ':'JWT'}", GOOD, SIGNED, NULL},
    {"typ jwt", "{'alg':'HS256','typ':'jwt'}", GOOD, SIGNED, NULL},
    {"typ of an access token", "{'alg':'HS256','typ':'at+jwt'}", GOOD, SIGNED, NULL},
    {"the same in long form", "{'alg':'HS256','typ':'application/at+jwt'}", GOOD, SIGNED, NULL},
    {"typ of a logout", "{'alg':'HS256','typ':'logout+jwt'}", GOOD, SIGNED, BAD_TYPE},
    {"typ of a proof", "{'alg':'HS256','typ':'dpop+jwt'}", GOOD, SIGNED, BAD_TYPE},
    {"typ is a number", "{'alg':'HS256','typ':1}", GOOD, SIGNED, BAD_TYPE},
    {"crit, unknown", "{'alg':'HS256','crit':['exp']}", GOOD, SIGNED, EXTENSION},
    {"crit, empty", "{'alg':'HS256','crit':[]}", GOOD, SIGNED, EXTENSION},
    {"crit is null", "{'alg':'HS256','crit':null}", GOOD, SIGNED, EXTENSION},
    {"b64 false", "{'alg':'HS256','b64':false}", GOOD, SIGNED, EXTENSION},
    {"b64 false, critical", "{'alg':'HS256','b64':false,'crit':['b64']}", GOOD, SIGNED, EXTENSION},
    {"b64 true", "{'alg':'HS256','b64':true}", GOOD, SIGNED, EXTENSION},
    {"zip", "{'alg':'HS256','zip':'DEF'}", GOOD, SIGNED, EXTENSION},
    {"enc", "{'alg':'HS256','enc':'A256GCM'}", GOOD, SIGNED, EXTENSION},
    {"jku is not looked at", "{'alg':'HS256','jku':'http://127.0.0.1:1/k'}", GOOD, SIGNED, NULL},
    {"x5u is not looked at", "{'alg':'HS256','x5u':'http://127.0.0.1:1/c'}", GOOD, SIGNED, NULL},
    {"x5c is not looked at", "{'alg':'HS256','x5c':['AAAA']}", GOOD, SIGNED, NULL},
    {"jwk is not looked at", "{'alg':'HS256','jwk':{'kty':'oct','k':'AAAA'}}", GOOD, SIGNED, NULL},
    // The key in the header is the one a stranger signed with.
    {"jwk is no key", "{'alg':'HS256','jwk':{'kty':'oct','k':"
     "'YW4gb3RoZXIga2V5IG9mIHRoaXJ0eS10d28gYnl0ZXM'}}", GOOD, BY_STRANGER, BAD_MAC},
    {"unknown kid", "{'alg':'HS256','kid':'other'}", GOOD, SIGNED, "kid is unknown"},
    {"empty kid", "{'alg':'HS256','kid':''}", GOOD, SIGNED, BAD_KID},
    {"kid is a path", "{'alg':'HS256','kid':'../../dev/null'}", GOOD, SIGNED, BAD_KID},
    {"kid is SQL", "{'alg':'HS256','kid':'x; DROP TABLE'}", GOOD, SIGNED, BAD_KID},
    {"kid is a URL", "{'alg':'HS256','kid':'http://127.0.0.1/'}", GOOD, SIGNED, BAD_KID},
    {"kid with NUL", "{'alg':'HS256','kid':'\\u0000'}", GOOD, SIGNED, BAD_HEADER},
    {"kid with newline", "{'alg':'HS256','kid':'a\\n'}", GOOD, SIGNED, BAD_KID},
    {"kid is a number", "{'alg':'HS256','kid':0}", GOOD, SIGNED, BAD_KID},
    {"kid is null", "{'alg':'HS256','kid':null}", GOOD, SIGNED, BAD_KID},
    {"header is an array", "['alg','HS256']", GOOD, SIGNED, BAD_HEADER},
    {"header is a string", "'HS256'", GOOD, SIGNED, BAD_HEADER},
    {"header is cut", "{'alg':'HS256'", GOOD, SIGNED, BAD_HEADER},
    {"header has a tail", "{'alg':'HS256'}{}", GOOD, SIGNED, BAD_HEADER},
    {"header is not UTF-8", "{'alg':'HS256','a':'\xff'}", GOOD, SIGNED, BAD_HEADER},
    // Form of the claims
    {"claims are an array", HS, "[" GOOD "]", SIGNED, BAD_CLAIMS},
    {"claims are empty", HS, "{}", SIGNED, "exp is missing"},
    {"claims are cut", HS, "{'sub':'anna'", SIGNED, BAD_CLAIMS},
    {"claims have a tail", HS, GOOD "x", SIGNED, BAD_CLAIMS},
    {"sub twice", HS, ALSO("'sub':'root'"), SIGNED, BAD_CLAIMS},
    {"key twice, nested", HS, ALSO("'a':{'b':1,'b':2}"), SIGNED, BAD_CLAIMS},
    {"8 levels", HS, ALSO("'a':[[[[[[[1]]]]]]]"), SIGNED, NULL},
    {"9 levels", HS, ALSO("'a':[[[[[[[[1]]]]]]]]"), SIGNED, BAD_CLAIMS},
    {"9 levels of objects", HS,
     ALSO("'a':{'a':{'a':{'a':{'a':{'a':{'a':{'a':1}}}}}}}}"), SIGNED, BAD_CLAIMS},
    {"brackets in a string are no levels", HS, ALSO("'a':'[[[[[[[[[[\\\\\\'{{{{{{{{{{'"),
     SIGNED, NULL},
    {"brackets side by side are one level", HS, ALSO("'a':[[],[],[],[],[],[],[],[],{}]"),
     SIGNED, NULL},
    {"unknown claims", HS, ALSO("'scope':'a b','n':1.5,'x':null"), SIGNED, NULL},
    // User
    {"no sub", HS, "{" PARTIES "," DATES "}", SIGNED, "sub is missing"},
    {"sub is empty", HS, "{'sub':''," PARTIES "," DATES "}", SIGNED, BAD_USER},
    {"sub is a number", HS, "{'sub':7," PARTIES "," DATES "}", SIGNED, BAD_USER},
    {"sub is an array", HS, "{'sub':['anna']," PARTIES "," DATES "}", SIGNED, BAD_USER},
    {"sub with newline", HS, "{'sub':'a\\nb'," PARTIES "," DATES "}", SIGNED, BAD_USER},
    {"sub with NUL", HS, "{'sub':'anna\\u0000x'," PARTIES "," DATES "}", SIGNED, BAD_CLAIMS},
    {"sub in Greek", HS, "{'sub':'\\u0386\\u03bd\\u03bd\\u03b1'," PARTIES "," DATES "}",
     SIGNED, NULL},
    {"half a surrogate pair", HS, "{'sub':'\\ud83d'," PARTIES "," DATES "}", SIGNED, BAD_CLAIMS},
    {"jti", HS, ALSO("'jti':'5f-1'"), SIGNED, NULL},
    {"jti is a number", HS, ALSO("'jti':5"), SIGNED, BAD_JTI},
    {"jti is empty", HS, ALSO("'jti':''"), SIGNED, BAD_JTI},
    {"jti with newline", HS, ALSO("'jti':'a\\n'"), SIGNED, BAD_JTI},
    // Dates
    {"no exp", HS, DATED("'iat':1699999990"), SIGNED, "exp is missing"},
    {"no iat, life limited", HS, DATED("'exp':1700000300"), SIGNED,
     "iat is missing, and the length of life is limited"},
    {"exp is a string", HS, DATED("'exp':'1700000300'"), SIGNED, BAD_DATE},
    {"exp is a float", HS, DATED("'exp':1700000300.0"), SIGNED, BAD_DATE},
    {"exp has an exponent", HS, DATED("'exp':17e8"), SIGNED, BAD_DATE},
    {"exp is negative", HS, DATED("'exp':-1"), SIGNED, BAD_DATE},
    {"exp is null", HS, DATED("'exp':null"), SIGNED, BAD_DATE},
    {"exp is true", HS, DATED("'exp':true"), SIGNED, BAD_DATE},
    {"exp is 0", HS, DATED("'iat':0,'exp':0"), SIGNED, "it has expired"},
    {"exp is 2^63 - 1", HS, DATED("'exp':9223372036854775807"), SIGNED, BAD_DATE},
    {"exp is 2^63", HS, DATED("'exp':9223372036854775808"), SIGNED, BAD_CLAIMS},
    {"exp is 2^64 and ours", HS, DATED("'exp':18446744075409551916"), SIGNED, BAD_CLAIMS},
    {"exp is 1e999", HS, DATED("'exp':1e999"), SIGNED, BAD_CLAIMS},
    {"nbf is a float", HS, ALSO("'nbf':0.5"), SIGNED, BAD_DATE},
    {"nbf is a string", HS, ALSO("'nbf':'0'"), SIGNED, BAD_DATE},
    {"iat is negative", HS, DATED("'iat':-1,'exp':1700000300"), SIGNED, BAD_DATE},
    {"iat is a float", HS, DATED("'iat':1699999990.5,'exp':1700000300"), SIGNED, BAD_DATE},
    {"iat after exp", HS, DATED("'iat':1700000005,'exp':1700000004"), SIGNED,
     "it expired before it was issued"},
    // Issuer and audience
    {"no iss", HS, NAMED("'aud':'chat'"), SIGNED, "iss is not the issuer we trust"},
    {"another iss", HS, NAMED("'iss':'evil','aud':'chat'"),
     SIGNED, "iss is not the issuer we trust"},
    {"longer iss", HS, NAMED("'iss':'login2','aud':'chat'"),
     SIGNED, "iss is not the issuer we trust"},
    {"iss in other case", HS, NAMED("'iss':'Login','aud':'chat'"), SIGNED,
     "iss is not the issuer we trust"},
    {"iss is an array", HS, NAMED("'iss':['login'],'aud':'chat'"), SIGNED, "iss is not a string"},
    {"no aud", HS, NAMED("'iss':'login'"), SIGNED, BAD_AUD},
    {"another aud", HS, NAMED("'iss':'login','aud':'mail'"), SIGNED, BAD_AUD},
    {"shorter aud", HS, NAMED("'iss':'login','aud':'cha'"), SIGNED, BAD_AUD},
    {"aud in an array", HS, NAMED("'iss':'login','aud':['mail','chat']"), SIGNED, NULL},
    {"array without our aud", HS, NAMED("'iss':'login','aud':['mail','chats']"), SIGNED, BAD_AUD},
    {"empty aud array", HS, NAMED("'iss':'login','aud':[]"), SIGNED, BAD_AUD},
    {"aud array with a number", HS, NAMED("'iss':'login','aud':['chat',1]"), SIGNED, AUD_FORM},
    {"aud in an array in an array", HS, NAMED("'iss':'login','aud':[['chat']]"), SIGNED, AUD_FORM},
    {"aud is an object", HS, NAMED("'iss':'login','aud':{'chat':1}"), SIGNED, AUD_FORM},
    {"aud is null", HS, NAMED("'iss':'login','aud':null"), SIGNED, AUD_FORM},
};
// clang-format on

// Sets the unused bits of a last base64url character: 43 characters are 258 bits for 256.
static void
set_stray_bits(char *text)
{
    static const char order[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    assert_int_not_equal(strlen(text) % 4, 0);
    char *last = text + strlen(text) - 1;
    *last = order[(size_t)(strchr(order, *last) - order) | 1];
}

static void
build(const struct attempt *attempt, char *out)
{
    char head[TEXT_MAX], body[TEXT_MAX], mac[200];
    encode_json(attempt->header, head);
    encode_json(attempt->claims, body);
    join(head, body, secret, "SHA256", out);
    snprintf(mac, sizeof(mac), "%s", strrchr(out, '.') + 1);
    switch (attempt->how) {
    case SIGNED:
        break;
    case BY_STRANGER:
        join(head, body, stranger, "SHA256", out);
        break;
    case BY_SHA512:
        join(head, body, secret, "SHA512", out);
        break;
    case EMPTY_SIGNED:
        print(out, "%s.%s.", head, body);
        break;
    case ONE:
        print(out, "%s", head);
        break;
    case TWO:
        print(out, "%s.%s", head, body);
        break;
    case FOUR:
        print(out, "%s.%s.%s.%s", head, body, mac, mac);
        break;
    case FIVE:
        print(out, "%s..AAAAAAAAAAAAAAAA.%s.AAAAAAAAAAAAAAAAAAAAAA", head, body);
        break;
    case NO_HEADER:
        join("", body, secret, "SHA256", out);
        break;
    case NO_CLAIMS:
        join(head, "", secret, "SHA256", out);
        break;
    case ONLY_DOTS:
        print(out, "..");
        break;
    case PAD_HEADER:
        strcat(head, "=");
        join(head, body, secret, "SHA256", out);
        break;
    case PAD_SIGNATURE:
        strcat(out, "=");
        break;
    case STRAY_BITS:
        set_stray_bits(out + strlen(head) + strlen(body) + 2);
        break;
    case STRAY_CLAIMS:
        set_stray_bits(body);
        join(head, body, secret, "SHA256", out);
        break;
    case SHORT_MAC:
        mac[42] = '\0'; // 31 bytes are 42 characters
        print(out, "%s.%s.%s", head, body, mac);
        break;
    case LONG_MAC:
        mac[42] = 'A';
        print(out, "%s.%s.%sA", head, body, mac);
        break;
    case ZERO_MAC:
        print(out, "%s.%s.%043d", head, body, 0);
        memset(strrchr(out, '.') + 1, 'A', 43);
        break;
    case NEWLINE:
        strcat(out, "\n");
        break;
    case SPACE_FIRST:
        memmove(head + 1, head, strlen(head) + 1);
        head[0] = ' ';
        join(head, body, secret, "SHA256", out);
        break;
    case STANDARD_64:
        body[strlen(body) / 2] = '+';
        join(head, body, secret, "SHA256", out);
        break;
    case STANDARD_MAC:
        mac[20] = '+';
        print(out, "%s.%s.%s", head, body, mac);
        break;
    case BAD_LENGTH_64:
        while (strlen(body) % 4 != 1)
            strcat(body, "A");
        join(head, body, secret, "SHA256", out);
        break;
    case LATIN_CLAIMS:
        body[strlen(body) / 2] = '\xc4';
        join(head, body, secret, "SHA256", out);
        break;
    case SWAPPED:
        encode_json(DATED("'iat':1699999990,'exp':1700000301"), body);
        print(out, "%s.%s.%s", head, body, mac);
        break;
    case HEADER_CHANGED:
        encode_json("{'alg':'HS256' }", head);
        print(out, "%s.%s.%s", head, body, mac);
        break;
    }
}

static void
every_forged_token_is_refused_for_its_own_reason(void **state)
{
    (void)state;
    size_t count = sizeof(attempts) / sizeof(attempts[0]);
    assert_true(count >= 45);
    for (size_t i = 0; i < count; i++) {
        char token[TEXT_MAX];
        build(&attempts[i], token);
        const char *why = check(&rules, token, NOW_S);
        const char *expected = attempts[i].why;
        if (why != expected && (why == NULL || expected == NULL || strcmp(why, expected) != 0))
            fail_msg("%s: got '%s', not '%s'", attempts[i].name, why != NULL ? why : "accepted",
                     expected != NULL ? expected : "accepted");
    }
}

static void
every_changed_bit_is_noticed(void **state)
{
    (void)state;
    char token[TEXT_MAX];
    make(HS, GOOD, token);
    size_t len = strlen(token);
    struct token_claims claims;
    assert_null(check_bytes(&rules, token, len, NOW_S, &claims));
    for (size_t bit = 0; bit < len * 8; bit++) {
        token[bit / 8] = (char)(token[bit / 8] ^ 1 << bit % 8);
        if (check_bytes(&rules, token, len, NOW_S, &claims) == NULL)
            fail_msg("accepted with bit %zu changed: %s", bit, token);
        token[bit / 8] = (char)(token[bit / 8] ^ 1 << bit % 8);
    }
}

static void
every_cut_token_is_refused(void **state)
{
    (void)state;
    char token[TEXT_MAX];
    make(HS, GOOD, token);
    struct token_claims claims;
    for (size_t len = 0; len < strlen(token); len++) {
        // A block of its own size, so that a sanitizer sees a read past the end.
        char *cut = malloc(len + 1);
        memcpy(cut, token, len);
        char *exact = realloc(cut, len > 0 ? len : 1);
        assert_non_null(check_bytes(&rules, exact, len, NOW_S, &claims));
        free(exact);
    }
}

static void
claims_of_a_good_token_are_handed_out(void **state)
{
    (void)state;
    char token[TEXT_MAX];
    make(HS, ALSO("'jti':'5f-1'"), token);
    struct token_claims claims;
    assert_null(check_bytes(&rules, token, strlen(token), NOW_S, &claims));
    assert_string_equal(claims.user, "anna");
    assert_string_equal(claims.id, "5f-1");
    assert_int_equal(claims.issued_s, 1699999990);
    assert_int_equal(claims.expires_s, 1700000300);
    make(HS, "{'sub':'bo','exp':1700000001}", token);
    assert_null(check_bytes(&any_rules, token, strlen(token), NOW_S, &claims));
    assert_string_equal(claims.user, "bo");
    assert_string_equal(claims.id, "");
    assert_int_equal(claims.issued_s, 0);
}

static int
check_with(struct token_keys *keys, const char *token)
{
    struct token_claims claims;
    const char *why = "";
    int got = token_check(keys, &any_rules, token, strlen(token), NOW_S, &claims, &why);
    if (got != 0)
        assert_string_equal(why, BAD_MAC);
    return got;
}

// More of them than are remembered, one too long for that, each good and with a wrong
// signature, in turn.
static void
a_known_header_still_needs_its_own_keys_signature(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "{'alg':'HS256'}",
        "{'alg':'HS256','typ':'JWT'}",
        "{'typ':'JWT','alg':'HS256'}",
        "{'alg':'HS256','typ':'jwt'}",
        "{'alg':'HS256','typ':'at+jwt'}",
        "{ 'alg':'HS256'}",
        ("{'alg':'HS256',   'x':'0123456789012345678901234567890123456789012345678901234567890123"
         "45678901234567890123456789012345678901234567890123456789012345678901234567890123456789'"
         "}"),
        "{'alg':'HS256','kid':'second'}",
    };
    struct token_keys *keys = test_keys();
    assert_int_equal(token_keys_add_hs256(keys, "second", stranger, strlen(stranger)), 0);
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
            bool is_second = strstr(headers[i], "second") != NULL;
            char head[TEXT_MAX], body[TEXT_MAX], right[TEXT_MAX], wrong[TEXT_MAX];
            encode_json(headers[i], head);
            encode_json("{'sub':'a','exp':1700000001}", body);
            join(head, body, is_second ? stranger : secret, "SHA256", right);
            join(head, body, is_second ? secret : stranger, "SHA256", wrong);
            assert_int_equal(check_with(keys, wrong), SY_EDENIED);
            assert_int_equal(check_with(keys, right), 0);
            assert_int_equal(check_with(keys, wrong), SY_EDENIED);
            assert_int_equal(check_with(keys, right), 0);
        }
    }
    token_keys_free(keys);
}

// RFC 7515, appendix A.1: header and claims as printed there, line breaks and all.
static void
the_example_of_rfc_7515_has_a_right_signature(void **state)
{
    (void)state;
    // The key of the RFC: 64 bytes, some of them zero.
    static const uint8_t key[] = {3,   35,  53,  75,  43,  15,  165, 188, 131, 126, 6,   101, 119,
                                  123, 166, 143, 90,  179, 40,  230, 240, 84,  201, 40,  169, 15,
                                  132, 178, 210, 80,  46,  191, 211, 251, 90,  146, 210, 6,   71,
                                  239, 150, 138, 180, 195, 119, 98,  61,  34,  61,  46,  33,  114,
                                  5,   46,  79,  8,   192, 205, 154, 245, 103, 208, 128, 163};
    static const char text[] = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
                               ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
                               "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
                               ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    struct token_rules joe = {.issuer = "joe", .audience = "", .leeway_s = 0};
    struct token_keys *keys = token_keys_new();
    assert_int_equal(token_keys_add_hs256(keys, "", key, sizeof(key)), 0);
    struct token_claims claims;
    const char *why = NULL;
    // It names no user, which is found after the signature, the dates and the issuer.
    int got = token_check(keys, &joe, text, strlen(text), 1300819379, &claims, &why);
    assert_int_equal(got, SY_EDENIED);
    assert_string_equal(why, "sub is missing");
    got = token_check(keys, &joe, text, strlen(text), 1300819380, &claims, &why);
    assert_int_equal(got, SY_EDENIED);
    assert_string_equal(why, "it has expired");
    char changed[sizeof(text)];
    memcpy(changed, text, sizeof(text));
    changed[sizeof(text) - 3] = 'Y';
    got = token_check(keys, &joe, changed, strlen(changed), 1300819379, &claims, &why);
    assert_int_equal(got, SY_EDENIED);
    assert_string_equal(why, BAD_MAC);
    token_keys_free(keys);
}

static void
exp_is_kept_to_the_second(void **state)
{
    (void)state;
    struct token_rules by = any_rules;
    char token[TEXT_MAX];
    make(HS, "{'sub':'a','exp':1700000000}", token);
    assert_null(check(&by, token, NOW_S - 1));
    assert_string_equal(check(&by, token, NOW_S), "it has expired");
    by.leeway_s = 60;
    assert_null(check(&by, token, NOW_S + 59));
    assert_string_equal(check(&by, token, NOW_S + 60), "it has expired");
}

static void
nbf_is_kept_to_the_second(void **state)
{
    (void)state;
    struct token_rules by = any_rules;
    char token[TEXT_MAX];
    make(HS, "{'sub':'a','exp':1700009999,'nbf':1700000000}", token);
    assert_null(check(&by, token, NOW_S));
    assert_string_equal(check(&by, token, NOW_S - 1), "it is not valid yet");
    by.leeway_s = 30;
    assert_null(check(&by, token, NOW_S - 30));
    assert_string_equal(check(&by, token, NOW_S - 31), "it is not valid yet");
}

static void
iat_is_kept_to_the_second(void **state)
{
    (void)state;
    struct token_rules by = any_rules;
    char token[TEXT_MAX];
    make(HS, "{'sub':'a','exp':1700009999,'iat':1700000000}", token);
    assert_null(check(&by, token, NOW_S));
    assert_string_equal(check(&by, token, NOW_S - 1), "it was issued in the future");
    by.leeway_s = 30;
    assert_null(check(&by, token, NOW_S - 30));
    assert_string_equal(check(&by, token, NOW_S - 31), "it was issued in the future");
}

static void
a_life_exactly_as_long_as_allowed_is_accepted(void **state)
{
    (void)state;
    struct token_rules by = any_rules;
    char token[TEXT_MAX];
    make(HS, "{'sub':'a','iat':1700000000,'exp':1700003600}", token);
    by.max_life_s = 3600;
    assert_null(check(&by, token, NOW_S));
    by.max_life_s = 3599;
    assert_string_equal(check(&by, token, NOW_S), "it lives longer than allowed");
    make(HS, "{'sub':'a','iat':1700000000,'exp':1700000000}", token);
    by.leeway_s = 1;
    assert_null(check(&by, token, NOW_S));
}

static void
the_last_date_is_the_end_of_year_9999(void **state)
{
    (void)state;
    char token[TEXT_MAX];
    make(HS, "{'sub':'a','exp':253402300799}", token);
    assert_null(check(&any_rules, token, NOW_S));
    make(HS, "{'sub':'a','exp':253402300800}", token);
    assert_string_equal(check(&any_rules, token, NOW_S), BAD_DATE);
}

static void
without_rules_any_issuer_and_audience_will_do_but_not_any_type(void **state)
{
    (void)state;
    struct token_rules none = {0}; // NULL means the same as ""
    char token[TEXT_MAX];
    make(HS, "{'sub':'a','exp':1700000300,'iss':'x','aud':['y']}", token);
    assert_null(check(&none, token, NOW_S));
    assert_null(check(&any_rules, token, NOW_S));
    make(HS, "{'sub':'a','exp':1700000300,'iss':1}", token);
    assert_string_equal(check(&none, token, NOW_S), "iss is not a string");
    make(HS, "{'sub':'a','exp':1700000300,'aud':1}", token);
    assert_string_equal(check(&none, token, NOW_S), AUD_FORM);
}

// {"sub":"<n letters>", ...}
static const char *
check_user_of(size_t n)
{
    char claims[TEXT_MAX], token[TEXT_MAX];
    snprintf(claims, sizeof(claims), "{'sub':'%0*d','exp':1700000300}", (int)n, 0);
    make(HS, claims, token);
    return check(&any_rules, token, NOW_S);
}

static const char *
check_jti_of(size_t n)
{
    char claims[TEXT_MAX], token[TEXT_MAX];
    snprintf(claims, sizeof(claims), "{'sub':'a','exp':1700000300,'jti':'%0*d'}", (int)n, 0);
    make(HS, claims, token);
    return check(&any_rules, token, NOW_S);
}

static void
ids_of_the_longest_length_are_accepted(void **state)
{
    (void)state;
    assert_null(check_user_of(128));
    assert_string_equal(check_user_of(129), BAD_USER);
    assert_null(check_jti_of(64));
    assert_string_equal(check_jti_of(65), BAD_JTI);
}

static void
a_token_of_4096_bytes_is_accepted_and_4097_is_not(void **state)
{
    (void)state;
    for (size_t claim_bytes = 3011; claim_bytes <= 3012; claim_bytes++) {
        char claims[TEXT_MAX], token[TEXT_MAX];
        size_t fixed = strlen("{'sub':'a','exp':1700000300,'pad':''}");
        snprintf(claims, sizeof(claims), "{'sub':'a','exp':1700000300,'pad':'%0*d'}",
                 (int)(claim_bytes - fixed), 0);
        // This header is 27 bytes, 36 characters.
        make("{'alg':'HS256','kid':'k01'}", claims, token);
        assert_int_equal(strlen(token), claim_bytes == 3011 ? 4096 : 4097);
        struct token_keys *keys = token_keys_new();
        assert_int_equal(token_keys_add_hs256(keys, "k01", secret, strlen(secret)), 0);
        struct token_claims out;
        const char *why = NULL;
        int got = token_check(keys, &any_rules, token, strlen(token), NOW_S, &out, &why);
        assert_int_equal(got, claim_bytes == 3011 ? 0 : SY_EDENIED);
        if (got != 0)
            assert_string_equal(why, "longer than 4096 bytes");
        token_keys_free(keys);
    }
}

static void
a_key_is_found_by_its_id_alone(void **state)
{
    (void)state;
    struct token_keys *keys = token_keys_new();
    assert_int_equal(token_keys_add_hs256(keys, "old", stranger, strlen(stranger)), 0);
    assert_int_equal(token_keys_add_hs256(keys, "new", secret, strlen(secret)), 0);
    struct token_claims claims;
    const char *why = NULL;
    char token[TEXT_MAX];
    make("{'alg':'HS256','kid':'new'}", GOOD, token);
    assert_int_equal(token_check(keys, &rules, token, strlen(token), NOW_S, &claims, &why), 0);
    // Signed by the new key but said to be of the old one.
    make("{'alg':'HS256','kid':'old'}", GOOD, token);
    assert_int_equal(token_check(keys, &rules, token, strlen(token), NOW_S, &claims, &why),
                     SY_EDENIED);
    assert_string_equal(why, BAD_MAC);
    for (const char *const *kid = (const char *const[]){"ne", "new2", "New", "new.", NULL};
         *kid != NULL; kid++) {
        char header[100];
        snprintf(header, sizeof(header), "{'alg':'HS256','kid':'%s'}", *kid);
        make(header, GOOD, token);
        assert_int_equal(token_check(keys, &rules, token, strlen(token), NOW_S, &claims, &why),
                         SY_EDENIED);
        assert_string_equal(why, "kid is unknown");
    }
    make(HS, GOOD, token);
    assert_int_equal(token_check(keys, &rules, token, strlen(token), NOW_S, &claims, &why),
                     SY_EDENIED);
    assert_string_equal(why, "no kid, and no key without one");
    token_keys_free(keys);
}

static void
keys_are_checked_when_added(void **state)
{
    (void)state;
    struct token_keys *keys = token_keys_new();
    char kid[66];
    memset(kid, 'k', sizeof(kid));
    kid[65] = '\0';
    assert_int_equal(token_keys_add_hs256(keys, kid, secret, 32), SY_EINVAL);
    kid[64] = '\0';
    assert_int_equal(token_keys_add_hs256(keys, kid, secret, 32), 0);
    assert_int_equal(token_keys_add_hs256(keys, "a", secret, 31), SY_EINVAL);
    assert_int_equal(token_keys_add_hs256(keys, "a", secret, 0), SY_EINVAL);
    assert_int_equal(token_keys_add_hs256(keys, "a/b", secret, 32), SY_EINVAL);
    assert_int_equal(token_keys_add_hs256(keys, "a b", secret, 32), SY_EINVAL);
    assert_int_equal(token_keys_add_hs256(keys, "\xc3\xa9", secret, 32), SY_EINVAL);
    assert_int_equal(token_keys_add_hs256(keys, "A.z_-9", secret, 32), 0);
    assert_int_equal(token_keys_add_hs256(keys, "A.z_-9", stranger, 32), SY_EINVAL);
    assert_int_equal(token_keys_add_hs256(keys, "", secret, 32), 0);
    assert_int_equal(token_keys_add_hs256(keys, "", stranger, 32), SY_EINVAL);
    static const char longest[100000]; // no upper bound
    assert_int_equal(token_keys_add_hs256(keys, "4", longest, sizeof(longest)), 0);
    assert_int_equal(token_keys_add_hs256(keys, "fifth", secret, 32), SY_EINVAL);
    token_keys_free(keys);
    token_keys_free(NULL);
}

// Bytes of this process that a core dump leaves out. False if the kernel does not tell.
static bool
count_undumped(unsigned long *bytes)
{
    char line[512];
    unsigned long from, to, size = 0;
    bool is_told = false;
    FILE *maps = fopen("/proc/self/smaps", "r");
    *bytes = 0;
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            size = to - from;
        if (strncmp(line, "VmFlags:", 8) == 0) {
            is_told = true;
            *bytes += strstr(line, " dd") != NULL ? size : 0;
        }
    }
    if (maps != NULL)
        fclose(maps);
    return is_told;
}

static void
keys_are_kept_out_of_core_dumps(void **state)
{
    (void)state;
    unsigned long before, during, after;
    token_keys_free(test_keys()); // what the library sets up once is no part of this
    bool is_told = count_undumped(&before);
    struct token_keys *keys = test_keys();
    count_undumped(&during);
    token_keys_free(keys);
    count_undumped(&after);
    if (!is_told) {
        print_message("skipped: the kernel shows no VmFlags in /proc/self/smaps\n");
        skip();
    }
    assert_true(during >= before + 4096);
    assert_int_equal(after, before);
}

static void
a_made_token_is_accepted(void **state)
{
    (void)state;
    struct token_keys *keys = test_keys();
    assert_int_equal(token_keys_add_hs256(keys, "k1", stranger, strlen(stranger)), 0);
    for (int i = 0; i < 2; i++) {
        const char *kid = i == 0 ? "" : "k1";
        char token[TEXT_MAX];
        assert_int_equal(token_make_hs256(keys, kid, "An \"na\" \xc3\xa9", "login", "chat", NOW_S,
                                          NOW_S + 3600, token, sizeof(token)),
                         0);
        struct token_claims claims;
        const char *why = NULL;
        assert_int_equal(token_check(keys, &rules, token, strlen(token), NOW_S, &claims, &why), 0);
        assert_string_equal(claims.user, "An \"na\" \xc3\xa9");
        assert_int_equal(claims.issued_s, NOW_S);
        assert_int_equal(claims.expires_s, NOW_S + 3600);
    }
    token_keys_free(keys);
}

static void
what_would_be_refused_is_not_made(void **state)
{
    (void)state;
    struct token_keys *keys = test_keys();
    char token[TEXT_MAX];
    const size_t size = sizeof(token);
    assert_int_equal(token_make_hs256(keys, "k2", "a", "", "", 1, 2, token, size), SY_EINVAL);
    assert_int_equal(token_make_hs256(keys, "", "", "", "", 1, 2, token, size), SY_EINVAL);
    assert_int_equal(token_make_hs256(keys, "", "a\n", "", "", 1, 2, token, size), SY_EINVAL);
    assert_int_equal(token_make_hs256(keys, "", "a", "", "", 2, 1, token, size), SY_EINVAL);
    assert_int_equal(token_make_hs256(keys, "", "a", "", "", 2, 2, token, size), 0);
    assert_int_equal(token_make_hs256(keys, "", "a", "\xff", "", 1, 2, token, size), SY_EINVAL);
    assert_int_equal(token_make_hs256(keys, "", "a", "", "\xff", 1, 2, token, size), SY_EINVAL);
    assert_int_equal(token_make_hs256(keys, "", "a", NULL, NULL, 0, 253402300799, token, size), 0);
    assert_int_equal(token_make_hs256(keys, "", "a", "", "", 0, 253402300800, token, size),
                     SY_EINVAL);
    token_keys_free(keys);
}

static void
a_token_made_without_a_date_of_issue_has_none(void **state)
{
    (void)state;
    struct token_keys *keys = test_keys();
    char token[TEXT_MAX];
    assert_int_equal(
        token_make_hs256(keys, "", "a", "login", "chat", 0, NOW_S + 1, token, sizeof(token)), 0);
    token_keys_free(keys);
    assert_string_equal(check(&rules, token, NOW_S),
                        "iat is missing, and the length of life is limited");
}

static void
a_made_token_fits_or_is_refused_at_every_size(void **state)
{
    (void)state;
    struct token_keys *keys = test_keys();
    char whole[TEXT_MAX];
    assert_int_equal(token_make_hs256(keys, "", "a", "i", "", 1, 2, whole, sizeof(whole)), 0);
    for (size_t size = 0; size <= strlen(whole) + 1; size++) {
        char *out = malloc(size > 0 ? size : 1);
        int got = token_make_hs256(keys, "", "a", "i", "", 1, 2, out, size);
        assert_int_equal(got, size == strlen(whole) + 1 ? 0 : SY_EINVAL);
        if (got == 0)
            assert_string_equal(out, whole);
        free(out);
    }
    // The longest we would accept is the longest we make.
    char issuer[TEXT_MAX];
    size_t longest = 0;
    for (size_t n = 2900; n < 3100; n++) {
        memset(issuer, 'i', n);
        issuer[n] = '\0';
        if (token_make_hs256(keys, "", "a", issuer, "", 1, 2, whole, sizeof(whole)) == 0)
            longest = strlen(whole);
    }
    assert_int_equal(longest, TOKEN_MAX_BYTES);
    token_keys_free(keys);
}

// Runs a command and returns its first line of output; "" if it failed.
static void
run(const char *command, char *out, size_t size)
{
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t len = fread(out, 1, size - 1, pipe);
    out[len] = '\0';
    out[strcspn(out, "\n")] = '\0';
    if (pclose(pipe) != 0)
        out[0] = '\0';
}

static void
write_file(const char *directory, const char *name, const char *text)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

// Both directions with one key, in a directory of its own.
static void
exchange_with_jose(const char *directory, const char *key)
{
    char command[1000], text[TEXT_MAX], token[TEXT_MAX], k[TEXT_MAX];
    encode(key, strlen(key), k);
    print(text, "{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"%s\"}", k);
    write_file(directory, "key", text);
    struct token_keys *keys = token_keys_new();
    assert_int_equal(token_keys_add_hs256(keys, "", key, strlen(key)), 0);

    assert_int_equal(
        token_make_hs256(keys, "", "anna", "login", "chat", NOW_S, NOW_S + 9, token, TEXT_MAX), 0);
    write_file(directory, "ours", token);
    snprintf(command, sizeof(command), "cd %s && jose jws ver -i ours -k key -O - 2>&1", directory);
    run(command, text, sizeof(text));
    assert_string_equal(text, "{\"sub\":\"anna\",\"iat\":1700000000,\"exp\":1700000009,"
                              "\"iss\":\"login\",\"aud\":\"chat\"}");
    // The peer does check: a token it must refuse, it refuses.
    token[strlen(token) - 5] = token[strlen(token) - 5] == 'A' ? 'B' : 'A';
    write_file(directory, "ours", token);
    run(command, text, sizeof(text));
    assert_string_equal(text, "");

    write_file(directory, "claims", "{\"sub\":\"bo\",\"exp\":1700000009}");
    snprintf(command, sizeof(command), "cd %s && jose jws sig -I claims -k key -c -o - 2>&1",
             directory);
    run(command, token, sizeof(token));
    struct token_claims claims;
    const char *why = "";
    assert_int_equal(token_check(keys, &any_rules, token, strlen(token), NOW_S, &claims, &why), 0);
    assert_string_equal(claims.user, "bo");
    token_keys_free(keys);
}

static int
make_directory(void **state)
{
    static char directory[40];
    strcpy(directory, "/tmp/test_token.XXXXXX");
    *state = mkdtemp(directory);
    return *state != NULL ? 0 : -1;
}

static int
remove_directory(void **state)
{
    static const char *const names[] = {"key", "ours", "claims"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[100];
        snprintf(path, sizeof(path), "%s/%s", (const char *)*state, names[i]);
        unlink(path);
    }
    return rmdir(*state);
}

static void
the_jose_tool_agrees_in_both_directions(void **state)
{
    char text[400];
    run("command -v jose", text, sizeof(text));
    if (text[0] == '\0') {
        print_message("skipped: no jose on PATH (Debian package jose)\n");
        skip();
    }
    exchange_with_jose(*state, secret);
    // Exactly one block of SHA-256, and more, where HMAC hashes the key first.
    char key[101];
    memset(key, 'q', sizeof(key));
    key[64] = '\0';
    exchange_with_jose(*state, key);
    key[64] = 'q';
    key[65] = '\0';
    exchange_with_jose(*state, key);
    key[65] = 'q';
    key[100] = '\0';
    exchange_with_jose(*state, key);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_forged_token_is_refused_for_its_own_reason),
        cmocka_unit_test(every_changed_bit_is_noticed),
        cmocka_unit_test(every_cut_token_is_refused),
        cmocka_unit_test(claims_of_a_good_token_are_handed_out),
        cmocka_unit_test(a_known_header_still_needs_its_own_keys_signature),
        cmocka_unit_test(the_example_of_rfc_7515_has_a_right_signature),
        cmocka_unit_test(exp_is_kept_to_the_second),
        cmocka_unit_test(nbf_is_kept_to_the_second),
        cmocka_unit_test(iat_is_kept_to_the_second),
        cmocka_unit_test(a_life_exactly_as_long_as_allowed_is_accepted),
        cmocka_unit_test(the_last_date_is_the_end_of_year_9999),
        cmocka_unit_test(without_rules_any_issuer_and_audience_will_do_but_not_any_type),
        cmocka_unit_test(ids_of_the_longest_length_are_accepted),
        cmocka_unit_test(a_token_of_4096_bytes_is_accepted_and_4097_is_not),
        cmocka_unit_test(a_key_is_found_by_its_id_alone),
        cmocka_unit_test(keys_are_checked_when_added),
        cmocka_unit_test(keys_are_kept_out_of_core_dumps),
        cmocka_unit_test(a_made_token_is_accepted),
        cmocka_unit_test(what_would_be_refused_is_not_made),
        cmocka_unit_test(a_token_made_without_a_date_of_issue_has_none),
        cmocka_unit_test(a_made_token_fits_or_is_refused_at_every_size),
        cmocka_unit_test_setup_teardown(the_jose_tool_agrees_in_both_directions, make_directory,
                                        remove_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
