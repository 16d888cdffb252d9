#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above first.
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "edge/handshake.h"
#include "edge/web_origin.h"

static const struct handshake good = {
    .method = "GET",
    .path = "/ws",
    .http = "HTTP/1.1",
    .host = "edge.example:8000",
    .upgrade = "websocket",
    .version = "13",
    .key = "dGhlIHNhbXBsZSBub25jZQ==",
    .subprotocols = "switchyard.v1",
};
static const struct handshake_policy open_policy = {
    .origins = "", .is_ready = true, .has_room = true, .rooms = "", .retry_after_s = 7};

static const char *
text_of(json_t *body, const char *name)
{
    const char *text = json_string_value(json_object_get(body, name));
    assert_non_null(text);
    return text;
}

// The verdict, after checks that hold for any. The body of a refusal must be JSON.
static json_t *
judge(const struct handshake *request, const struct handshake_policy *policy,
      struct handshake_verdict *verdict)
{
    memset(verdict, 0x5a, sizeof(*verdict));
    handshake_judge(request, policy, verdict);
    if (verdict->status == 101) {
        assert_string_equal(verdict->body, "");
        assert_int_equal(verdict->retry_after_s, 0);
        return NULL;
    }
    for (const char *c = verdict->body; *c != '\0'; c++)
        assert_in_range(*c, ' ', '~');
    json_t *body = json_loads(verdict->body, JSON_REJECT_DUPLICATES, NULL);
    if (body == NULL)
        fail_msg("not JSON: %s", verdict->body);
    assert_true(strlen(text_of(body, "text")) > 10);
    assert_null(verdict->subprotocol);
    assert_string_equal(verdict->token, "");
    return body;
}

static void
expect(const struct handshake *request, const struct handshake_policy *policy, unsigned status,
       const char *error)
{
    struct handshake_verdict verdict;
    json_t *body = judge(request, policy, &verdict);
    const char *got = body != NULL ? text_of(body, "error") : "";
    if (verdict.status != status || strcmp(got, error) != 0)
        fail_msg("got %u '%s', not %u '%s'", verdict.status, got, status, error);
    json_decref(body);
}

// One header replaced in the good request.
#define EXPECT(field, value, status, error)                 \
    do {                                                    \
        struct handshake request_ = good;                   \
        request_.field = (value);                           \
        expect(&request_, &open_policy, (status), (error)); \
    } while (0)

static void
the_good_request_is_upgraded(void **state)
{
    (void)state;
    struct handshake_verdict verdict;
    assert_null(judge(&good, &open_policy, &verdict));
    assert_int_equal(verdict.status, 101);
    assert_int_equal(verdict.format, CODEC_PROTOBUF);
    assert_string_equal(verdict.subprotocol, "switchyard.v1");
    assert_string_equal(verdict.token, "");
}

static void
only_the_exact_path_is_found(void **state)
{
    (void)state;
    const char *const wrong[] = {"/", "", "/ws/", "/WS", "/wss", "/ws/x", "//ws", "ws", "/ws%00"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        EXPECT(path, wrong[i], 404, "not_found");
    EXPECT(path, NULL, 404, "not_found");
}

static void
only_get_opens_a_websocket(void **state)
{
    (void)state;
    const char *const wrong[] = {"POST", "get", "HEAD", "OPTIONS", "CONNECT", "GET ", ""};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        EXPECT(method, wrong[i], 405, "method");
    EXPECT(method, NULL, 405, "method");
}

static void
only_http_1_1_opens_a_websocket(void **state)
{
    (void)state;
    EXPECT(http, "HTTP/1.0", 400, "http_version");
    EXPECT(http, "HTTP/2", 400, "http_version");
    EXPECT(http, NULL, 400, "http_version");
}

static void
host_must_be_one_host(void **state)
{
    (void)state;
    const char *const right[] = {"a",     "AZ-az.09:9",  "a.b:1", "a_b-c", "127.0.0.1:65535",
                                 "[::1]", "[fe80::1]:80"};
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
        EXPECT(host, right[i], 101, "");
    // The comma is how a second Host header shows.
    const char *const wrong[] = {
        "",     "a,b", "a, a", "a b",  "u@a",  "a/b",    "a:",     "a:0",   "a:65536", "a:080",
        "a:1x", ":80", "[]",   "[::1", "[::g", "[::1]x", "[::1]:", "a:b:c", "a\x01",   "\xc3\xa9"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        EXPECT(host, wrong[i], 400, "host");
    EXPECT(host, NULL, 400, "host");
}

static void
a_body_is_refused(void **state)
{
    (void)state;
    EXPECT(has_body, true, 400, "body");
}

static void
only_upgrade_to_websocket_is_honoured(void **state)
{
    (void)state;
    EXPECT(upgrade, "WebSocket", 101, "");
    EXPECT(upgrade, "WEBSOCKET", 101, "");
    const char *const wrong[] = {"h2c",
                                 "websocket, h2c",
                                 "h2c, websocket",
                                 "websocket,websocket",
                                 "websockets",
                                 "websocke",
                                 " websocket",
                                 "TLS/1.0",
                                 ""};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        EXPECT(upgrade, wrong[i], 400, "upgrade");
    EXPECT(upgrade, NULL, 400, "upgrade");
}

static void
only_version_13_is_spoken(void **state)
{
    (void)state;
    const char *const wrong[] = {"8", "12", "14", "013", "13 ", "13,13", "13, 8", "0", ""};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        EXPECT(version, wrong[i], 426, "version");
    EXPECT(version, NULL, 426, "version");
}

static void
the_key_must_be_16_bytes(void **state)
{
    (void)state;
    EXPECT(key, "AAAAAAAAAAAAAAAAAAAAAA==", 101, "");
    EXPECT(key, "+/+/+/+/+/+/+/+/+/+/+/==", 101, "");
    const char *const wrong[] = {
        "",
        "AAAAAAAAAAAAAAAAAAAA",      // 15 bytes
        "AAAAAAAAAAAAAAAAAAAAAAA=",  // 17
        "AAAAAAAAAAAAAAAAAAAAAAAA",  // 18
        "AAAAAAAAAAAAAAAAAAAAAA",    // padding lost
        "AAAAAAAAAAAAAAAAAAAAAA=",   // half of it
        "AAAAAAAAAAAAAAAAAAAAAA===", // too much of it
        "AAAAAAAAAAAAAAAAAAAAA-==",  // the URL alphabet
        "AAAAAAAAAAAAAAAAAAAAA ==",  //
        "AAAAAAAAAAAAAAAAAAAAAA==, AAAAAAAAAAAAAAAAAAAAAA==",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        EXPECT(key, wrong[i], 400, "key");
    EXPECT(key, NULL, 400, "key");
}

static void
a_token_in_the_query_is_refused(void **state)
{
    (void)state;
    const char *const wrong[] = {"token=x",     "access_token=x", "a=1&token=x",
                                 "a=1;token=x", "Token=x",        "token",
                                 "token=",      "&&token=x",      "a=b=c&ACCESS_TOKEN=x"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        EXPECT(query, wrong[i], 400, "query_token");
    const char *const right[] = {"", "tokens=x", "tok=x", "a=token", "atoken=x", "a=1&b=token=x"};
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
        EXPECT(query, right[i], 101, "");
}

static void
a_refused_query_token_is_not_repeated(void **state)
{
    (void)state;
    struct handshake request = good;
    request.query = "token=canary";
    struct handshake_verdict verdict;
    json_t *body = judge(&request, &open_policy, &verdict);
    assert_null(strstr(verdict.body, "canary"));
    assert_non_null(strstr(text_of(body, "text"), "Authorization: Bearer"));
    assert_non_null(strstr(text_of(body, "text"), "hello.token"));
    json_decref(body);
}

static void
the_first_known_subprotocol_is_chosen(void **state)
{
    (void)state;
    static const struct {
        const char *offer, *chosen;
        enum codec_format format;
    } rows[] = {
        {"switchyard.v1", "switchyard.v1", CODEC_PROTOBUF},
        {"switchyard.v1.json", "switchyard.v1.json", CODEC_JSON},
        {"switchyard.v1, switchyard.v1.json", "switchyard.v1", CODEC_PROTOBUF},
        {"switchyard.v1.json,switchyard.v1", "switchyard.v1.json", CODEC_JSON},
        {"switchyard.v2, switchyard.v1", "switchyard.v1", CODEC_PROTOBUF},
        {" ,\tswitchyard.v1.json\t, ,", "switchyard.v1.json", CODEC_JSON},
        {"chat , switchyard.v1", "switchyard.v1", CODEC_PROTOBUF},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct handshake request = good;
        struct handshake_verdict verdict;
        request.subprotocols = rows[i].offer;
        assert_null(judge(&request, &open_policy, &verdict));
        assert_string_equal(verdict.subprotocol, rows[i].chosen);
        assert_int_equal(verdict.format, rows[i].format);
    }
}

static void
without_a_known_subprotocol_both_are_named(void **state)
{
    (void)state;
    const char *const wrong[] = {"",
                                 "chat",
                                 "switchyard.v",
                                 "switchyard.v1.jso",
                                 "switchyard.v11",
                                 "Switchyard.v1",
                                 "switchyard.v1;x",
                                 "switchyard.v1 x",
                                 "switchyard.v1\x01",
                                 "switchyard.v1\xff"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        EXPECT(subprotocols, wrong[i], 400, "subprotocol");
    struct handshake request = good;
    struct handshake_verdict verdict;
    request.subprotocols = NULL;
    json_t *body = judge(&request, &open_policy, &verdict);
    assert_int_equal(verdict.status, 400);
    assert_non_null(strstr(text_of(body, "text"), "'switchyard.v1'"));
    assert_non_null(strstr(text_of(body, "text"), "'switchyard.v1.json'"));
    json_decref(body);
}

static void
expect_token(const char *authorization, const char *subprotocols, const char *token)
{
    struct handshake request = good;
    struct handshake_verdict verdict;
    request.authorization = authorization;
    request.subprotocols = subprotocols;
    assert_null(judge(&request, &open_policy, &verdict));
    assert_string_equal(verdict.token, token);
}

static void
a_token_is_taken_from_either_place(void **state)
{
    (void)state;
    expect_token("Bearer a.b-c_d", "switchyard.v1", "a.b-c_d");
    expect_token("bearer AZ.az.09~", "switchyard.v1", "AZ.az.09~");
    expect_token("BEARER \t a~+/==  \t", "switchyard.v1", "a~+/==");
    expect_token(NULL, "switchyard.v1, bearer.a.b-c_d", "a.b-c_d");
    expect_token(NULL, "bearer.a.b,switchyard.v1.json", "a.b");
    expect_token("Basic YTpi", "switchyard.v1", "");
    expect_token("Basic YTpi", "switchyard.v1, bearer.a.b", "a.b");
    expect_token("Bearers a", "switchyard.v1", "");
    expect_token("", "switchyard.v1", "");
    // As entry of a list, case tells: another name, and unknown.
    expect_token(NULL, "switchyard.v1, Bearer.a", "");
    expect_token(NULL, "switchyard.v1, bearer", "");
}

static void
two_tokens_are_refused(void **state)
{
    (void)state;
    struct handshake request = good;
    request.authorization = "Bearer a";
    request.subprotocols = "switchyard.v1, bearer.a";
    expect(&request, &open_policy, 400, "two_tokens");
    EXPECT(subprotocols, "switchyard.v1, bearer.a, bearer.a", 400, "two_tokens");
}

static void
a_token_with_odd_characters_is_refused_and_not_repeated(void **state)
{
    (void)state;
    // The comma is how a second Authorization header shows.
    const char *const wrong[] = {"Bearer",
                                 "Bearer ",
                                 "Bearer canary canary",
                                 "Bearer canary,Bearer x",
                                 "Bearer \"canary\"",
                                 "Bearer canary\x7f",
                                 "Bearer canary\xc3\xa9",
                                 "Bearer canary\n"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct handshake request = good;
        struct handshake_verdict verdict;
        request.authorization = wrong[i];
        json_t *body = judge(&request, &open_policy, &verdict);
        assert_int_equal(verdict.status, 400);
        assert_string_equal(text_of(body, "error"), "token");
        assert_null(strstr(verdict.body, "canary"));
        json_decref(body);
    }
    EXPECT(subprotocols, "switchyard.v1, b@d", 400, "subprotocol");
    EXPECT(subprotocols, "switchyard.v1, bearer.", 400, "token");
    EXPECT(subprotocols, "switchyard.v1, bearer.a|b", 400, "token");
}

static void
a_token_of_4095_bytes_is_taken_and_4096_is_not(void **state)
{
    (void)state;
    char header[8 + 4096] = "Bearer ";
    memset(header + 7, 'a', 4095);
    expect_token(header, "switchyard.v1", header + 7);
    header[7 + 4095] = 'a';
    EXPECT(authorization, header, 400, "token");
}

static void
a_refused_client_has_no_token(void **state)
{
    (void)state;
    struct handshake request = good;
    struct handshake_policy policy = open_policy;
    request.authorization = "Bearer canary";
    policy.has_room = false;
    expect(&request, &policy, 503, "full"); // judge() looks at token and subprotocol
    request.origin = "null";
    expect(&request, &open_policy, 403, "origin");
}

struct origin_row {
    const char *origins, *host, *origin;
    bool is_allowed;
};

#define LIST "https://chat.example http://dev.example:3000 app://local HTTPS://Up.Example:443"

static void
origins_are_compared_part_by_part(void **state)
{
    (void)state;
    static const struct origin_row rows[] = {
        {LIST, "h", NULL, true},
        {LIST, "h", "https://chat.example", true},
        {LIST, "h", "https://chat.example:443", true},
        {LIST, "h", "HTTPS://CHAT.EXAMPLE", true},
        {LIST, "h", "https://up.example", true},
        {LIST, "h", "http://dev.example:3000", true},
        {LIST, "h", "app://local", true},
        {LIST, "h", "https://chat.example:8443", false},
        {LIST, "h", "http://chat.example", false},
        {LIST, "h", "http://chat.example:443", false},
        {LIST, "h", "http://dev.example", false},
        {LIST, "h", "http://dev.example:300", false},
        {LIST, "h", "http://dev.example:30000", false},
        {LIST, "h", "app://local:1", false},
        {LIST, "h", "https://chat.example.evil.example", false},
        {LIST, "h", "https://evilchat.example", false},
        {LIST, "h", "https://chat.exampl", false},
        {LIST, "h", "https://a.chat.example", false},
        {LIST, "h", "https://chat.example.", false},
        {LIST, "h", "https://chat.example@evil.example", false},
        {LIST, "h", "https://evil.example/https://chat.example", false},
        {LIST, "h", "https://chat.example/", false},
        {LIST, "h", "https://chat.example https://evil.example", false},
        {LIST, "h", "https://chat.example,https://chat.example", false},
        {LIST, "h", "https://chat.example:443:443", false},
        {LIST, "h", "https://chat.example:0443", false},
        {LIST, "h", "https://chat.example:", false},
        {LIST, "h", "https:/chat.example", false},
        {LIST, "h", "https:::chat.example", false},
        {LIST, "h", "://chat.example", false},
        {LIST, "h", "https://", false},
        {LIST, "h", "chat.example", false},
        {LIST, "h", " https://chat.example", false},
        {LIST, "h", "null", false},
        {LIST, "h", "*", false},
        {LIST, "h", "", false},
        // Same host, but the list is the law.
        {LIST, "edge.example", "https://edge.example", false},
        {"null", "h", "null", false},
        {"https://chat.example/", "h", "https://chat.example", false},
        {"*", "h", "https://anything.example", true},
        {"*", "h", "null", true},
        {"https://a.example *", "h", "https://anything.example", true},
        {"**", "h", "https://anything.example", false},
        // Empty: the origin that Host names, whichever scheme.
        {"", "edge.example", "http://edge.example", true},
        {"", "edge.example", "https://edge.example", true},
        {"", "edge.example", "https://edge.example:443", true},
        {" ", "edge.example", "http://edge.example:80", true},
        {"", "edge.example:8000", "http://edge.example:8000", true},
        {"", "edge.example:8000", "https://EDGE.example:8000", true},
        {"", "edge.example:443", "https://edge.example", true},
        {"", "edge.example:80", "http://edge.example", true},
        {"", "[::1]:8000", "http://[::1]:8000", true},
        {"", "edge.example:80", "https://edge.example", false},
        {"", "edge.example", "http://edge.example:8000", false},
        {"", "edge.example:8000", "http://edge.example", false},
        {"", "edge.example:8000", "http://edge.example:8001", false},
        {"", "edge.example", "http://edge.example.evil.example", false},
        {"", "edge.example", "http://xedge.example", false},
        {"", "edge.example", "app://edge.example", false},
        {"", "edge.example", "null", false},
        {"", "null", "null", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct handshake request = good;
        struct handshake_policy policy = open_policy;
        struct handshake_verdict verdict;
        request.host = rows[i].host;
        request.origin = rows[i].origin;
        policy.origins = rows[i].origins;
        json_decref(judge(&request, &policy, &verdict));
        if (verdict.status != (rows[i].is_allowed ? 101 : 403))
            fail_msg("row %zu, '%s': %u", i, rows[i].origin, verdict.status);
    }
}

static void
a_list_entry_that_is_no_origin_is_found_out(void **state)
{
    (void)state;
    assert_true(web_origin_is_valid("https://a.example", 17));
    assert_true(web_origin_is_valid("http://[::1]:1", 14));
    assert_false(web_origin_is_valid("https://a.example/", 18));
    assert_false(web_origin_is_valid("https://a.example:0", 19));
    assert_false(web_origin_is_valid("a.example", 9));
    assert_false(web_origin_is_valid("null", 4));
    assert_false(web_origin_is_valid("https://", 8));
    // Only what is within len counts.
    assert_true(web_origin_is_valid("https://a.examplexyz", 17));
    assert_true(web_origin_is_valid("https://a.example/", 17));
}

static void
an_edge_that_is_full_names_others(void **state)
{
    (void)state;
    struct handshake_policy policy = open_policy;
    struct handshake_verdict verdict;
    policy.has_room = false;
    policy.rooms = " ws://b:1  wss://\"c\\/ws";
    json_t *body = judge(&good, &policy, &verdict);
    assert_int_equal(verdict.status, 503);
    assert_int_equal(verdict.retry_after_s, 7);
    assert_string_equal(text_of(body, "error"), "full");
    assert_int_equal(json_integer_value(json_object_get(body, "retry_after_s")), 7);
    const json_t *edges = json_object_get(body, "edges");
    assert_int_equal(json_array_size(edges), 2);
    assert_string_equal(json_string_value(json_array_get(edges, 0)), "ws://b:1");
    assert_string_equal(json_string_value(json_array_get(edges, 1)), "wss://\"c\\/ws");
    json_decref(body);
    policy.rooms = NULL;
    body = judge(&good, &policy, &verdict);
    assert_true(json_is_array(json_object_get(body, "edges")));
    json_decref(body);
}

static void
an_edge_that_is_not_ready_says_so_first(void **state)
{
    (void)state;
    struct handshake_policy policy = open_policy;
    struct handshake_verdict verdict;
    policy.is_ready = false;
    expect(&good, &policy, 503, "not_ready");
    policy.has_room = false;
    policy.rooms = "ws://b:1";
    json_t *body = judge(&good, &policy, &verdict);
    assert_string_equal(text_of(body, "error"), "not_ready");
    assert_int_equal(verdict.retry_after_s, 7);
    assert_int_equal(json_array_size(json_object_get(body, "edges")), 1);
    json_decref(body);
}

static void
as_many_edges_are_named_as_fit(void **state)
{
    (void)state;
    // The length of the first URL moves the end of the body over every edge.
    for (size_t first = 1; first < 1200; first++) {
        char rooms[4000];
        memset(rooms, 'x', first);
        size_t len = first;
        for (int i = 0; i < 100; i++)
            len += (size_t)snprintf(rooms + len, sizeof(rooms) - len, " \"ws://edge-%d\"", i);
        struct handshake_policy policy = open_policy;
        struct handshake_verdict verdict;
        policy.has_room = false;
        policy.rooms = rooms;
        json_t *body = judge(&good, &policy, &verdict);
        const json_t *edges = json_object_get(body, "edges");
        size_t count = json_array_size(edges);
        assert_true(count < 100);
        if (first < 800)
            assert_true(count > 0);
        if (count > 1) // whole, not cut
            assert_string_equal(json_string_value(json_array_get(edges, 1)), "\"ws://edge-0\"");
        // Nothing was left out that would have fitted: an entry here needs 22 bytes at most.
        if (count > 0)
            assert_true(strlen(verdict.body) + 22 >= sizeof(verdict.body) - 1);
        json_decref(body);
    }
}

static void
faults_of_the_request_are_told_by_a_full_edge_too(void **state)
{
    (void)state;
    struct handshake_policy policy = open_policy;
    struct handshake request = good;
    policy.has_room = false;
    policy.is_ready = false;
    request.version = "8";
    expect(&request, &policy, 426, "version");
    request = good;
    request.origin = "null";
    expect(&request, &policy, 403, "origin");
}

static void
values_are_quoted_tamely(void **state)
{
    (void)state;
    struct handshake request = good;
    struct handshake_verdict verdict;
    request.upgrade = "h~\"2\\c\r\n\x1b[31m\x7f\xc3\xa9";
    json_t *body = judge(&request, &open_policy, &verdict); // looks for control characters
    assert_string_equal(text_of(body, "text"),
                        "Upgrade must be 'websocket', not 'h~\"2\\c???[31m?\?\?'");
    json_decref(body);
    // The worst for the size of the body: a long value, every character escaped.
    char quotes[5000];
    memset(quotes, '"', sizeof(quotes) - 1);
    quotes[sizeof(quotes) - 1] = '\0';
    EXPECT(path, quotes, 404, "not_found");
    EXPECT(method, quotes, 405, "method");
    EXPECT(http, quotes, 400, "http_version");
    EXPECT(host, quotes, 400, "host");
    EXPECT(upgrade, quotes, 400, "upgrade");
    EXPECT(version, quotes, 426, "version");
    EXPECT(origin, quotes, 403, "origin");
}

static void
a_browser_gets_html_and_others_text(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        bool is_html;
    } rows[] = {
        {NULL, false},
        {"", false},
        {"*/*", false},
        {"text/*", false},
        {"application/json", false},
        {"text/html", true},
        {"TEXT/HTML", true},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true},
        {"image/webp, text/html;q=0.5", true},
        {"text/html ; q=0.001", true},
        {"text/html;q=0", false},
        {"text/html; q=0.000, */*", false},
        {"text/html;q=0,text/html", true},
        {"text/htmlx", false},
        {"xtext/html", false},
        {"text/plain;x=text/html", false},
        {",,;,", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_reply reply;
        http_error_page(404, rows[i].accept, NULL, &reply);
        assert_string_equal(reply.content_type, rows[i].is_html ? "text/html; charset=utf-8"
                                                                : "text/plain; charset=utf-8");
        assert_int_equal(strncmp(reply.body, "<!doctype html>", 15) == 0, rows[i].is_html);
    }
}

static void
a_page_says_status_reason_sentence_and_detail(void **state)
{
    (void)state;
    struct http_reply reply;
    http_error_page(404, "text/html", "/x", &reply);
    assert_int_equal(reply.status, 404);
    assert_int_equal(reply.len, strlen(reply.body));
    assert_non_null(strstr(reply.body, "<title>404 Not Found</title>"));
    assert_non_null(strstr(reply.body, "<p>There is nothing at this address.</p>"));
    assert_non_null(strstr(reply.body, "<p>/x</p>\n</html>\n"));
    http_error_page(503, NULL, "try ws://b", &reply);
    assert_string_equal(reply.body, "503 Service Unavailable\nThe server cannot do this now; try "
                                    "again later.\ntry ws://b\n");
    assert_int_equal(reply.len, strlen(reply.body));
    http_error_page(405, NULL, NULL, &reply);
    assert_string_equal(reply.body, "405 Method Not Allowed\nThis address takes another method.\n");
    http_error_page(418, NULL, "", &reply);
    assert_int_equal(reply.status, 418);
    assert_string_equal(reply.body, "418 Error\nThe request was not answered.\n");
}

static void
detail_is_escaped(void **state)
{
    (void)state;
    struct http_reply reply;
    const char *detail = "<script>&\"'\r\n\x1b\x7f\xc3\xa9</script>";
    http_error_page(404, "text/html", detail, &reply);
    assert_non_null(
        strstr(reply.body, "<p>&lt;script&gt;&amp;&quot;&#39;??????&lt;/script&gt;</p>"));
    assert_null(strstr(reply.body, "<script>"));
    http_error_page(404, "text/plain", detail, &reply);
    assert_non_null(strstr(reply.body, "<script>&\"'?\?\?\?\?\?</script>\n"));
}

static void
a_page_ends_well_whatever_the_length_of_the_detail(void **state)
{
    (void)state;
    static char detail[5000];
    for (size_t len = 0; len < sizeof(detail); len++) {
        memset(detail, '&', len);
        detail[len] = '\0';
        struct http_reply reply;
        http_error_page(400, "text/html", detail, &reply);
        assert_int_equal(reply.len, strlen(reply.body));
        assert_in_range(reply.len, 1, sizeof(reply.body) - 1);
        static const char end[] = "</p>\n</html>\n";
        assert_string_equal(reply.body + reply.len - strlen(end), end);
        // The last entity is whole.
        assert_true(reply.body[reply.len - strlen(end) - 1] == ';' || len == 0);
        http_error_page(400, "", detail, &reply);
        assert_int_equal(reply.len, strlen(reply.body));
        assert_int_equal(reply.body[reply.len - 1], '\n');
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_good_request_is_upgraded),
        cmocka_unit_test(only_the_exact_path_is_found),
        cmocka_unit_test(only_get_opens_a_websocket),
        cmocka_unit_test(only_http_1_1_opens_a_websocket),
        cmocka_unit_test(host_must_be_one_host),
        cmocka_unit_test(a_body_is_refused),
        cmocka_unit_test(only_upgrade_to_websocket_is_honoured),
        cmocka_unit_test(only_version_13_is_spoken),
        cmocka_unit_test(the_key_must_be_16_bytes),
        cmocka_unit_test(a_token_in_the_query_is_refused),
        cmocka_unit_test(a_refused_query_token_is_not_repeated),
        cmocka_unit_test(the_first_known_subprotocol_is_chosen),
        cmocka_unit_test(without_a_known_subprotocol_both_are_named),
        cmocka_unit_test(a_token_is_taken_from_either_place),
        cmocka_unit_test(two_tokens_are_refused),
        cmocka_unit_test(a_token_with_odd_characters_is_refused_and_not_repeated),
        cmocka_unit_test(a_token_of_4095_bytes_is_taken_and_4096_is_not),
        cmocka_unit_test(a_refused_client_has_no_token),
        cmocka_unit_test(origins_are_compared_part_by_part),
        cmocka_unit_test(a_list_entry_that_is_no_origin_is_found_out),
        cmocka_unit_test(an_edge_that_is_full_names_others),
        cmocka_unit_test(an_edge_that_is_not_ready_says_so_first),
        cmocka_unit_test(as_many_edges_are_named_as_fit),
        cmocka_unit_test(faults_of_the_request_are_told_by_a_full_edge_too),
        cmocka_unit_test(values_are_quoted_tamely),
        cmocka_unit_test(a_browser_gets_html_and_others_text),
        cmocka_unit_test(a_page_says_status_reason_sentence_and_detail),
        cmocka_unit_test(detail_is_escaped),
        cmocka_unit_test(a_page_ends_well_whatever_the_length_of_the_detail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
