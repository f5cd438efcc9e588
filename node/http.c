// node/http.c -- the admin port, on libmicrohttpd.
//
// Shape: shell.
#include "node/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "node/address.h"

#define CONNECTION_BYTES ((size_t)16 << 10) // of a request's head, and the like
#define TEXT_TYPE "text/plain; charset=utf-8"

struct visitor { // a connection; freed when it is closed
    struct visitor *older, *newer;
    int fd;
    bool has_asked; // something whole
    bool leaves;    // to make room
};

struct http {
    struct http_config config;
    struct MHD_Daemon *daemon;
    struct visitor *newest; // of the daemon's thread, as all of them
    uint32_t staying;       // of those that are there
};

struct answer {
    unsigned code;
    const char *type;
    const char *text;
    size_t count;
    const char *allow; // NULL: no such head
};

static enum MHD_Result
answer_with(struct MHD_Connection *connection, const struct answer *answer)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        answer->count, (void *)(uintptr_t)answer->text, MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO; // the connection is closed
    enum MHD_Result done = MHD_add_response_header(response, "Content-Type", answer->type);
    if (done == MHD_YES && answer->allow != NULL)
        done = MHD_add_response_header(response, "Allow", answer->allow);
    if (done == MHD_YES)
        done = MHD_queue_response(connection, answer->code, response);
    MHD_destroy_response(response);
    return done;
}

static enum MHD_Result
answer_line(struct MHD_Connection *connection, unsigned code, const char *line)
{
    char text[256];
    const size_t count = strnlen(line, sizeof text - 2);
    memcpy(text, line, count);
    text[count] = '\n';
    return answer_with(connection,
                       &(struct answer){code, TEXT_TYPE, text, count + 1,
                                        code == MHD_HTTP_METHOD_NOT_ALLOWED ? "GET, HEAD" : NULL});
}

static enum MHD_Result
answer_metrics(const struct http *http, struct MHD_Connection *connection)
{
    struct metrics_text text;
    metrics_init(&text);
    http->config.metrics(http->config.context, &text);
    const enum MHD_Result done =
        text.failed
            ? answer_line(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "no memory for the metrics")
            : answer_with(connection,
                          &(struct answer){MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8",
                                           text.bytes, text.count, NULL});
    metrics_fini(&text);
    return done;
}

static enum MHD_Result
answer_health(struct MHD_Connection *connection, const char *why_not)
{
    if (why_not == NULL)
        return answer_line(connection, MHD_HTTP_OK, "ok");
    return answer_line(connection, MHD_HTTP_SERVICE_UNAVAILABLE, why_not);
}

// ---- who is there ----

// For the newest: of the others that have asked nothing whole, else of all others, the one that has been there longest is sent away. The
// daemon sees that it is gone, and closes it, a moment later; meanwhile it may have as many connections more.
static void
make_room(struct http *http)
{
    struct visitor *goes = NULL;
    for (struct visitor *each = http->newest->older; each != NULL; each = each->older)
        if (!each->leaves && (!each->has_asked || goes == NULL || goes->has_asked))
            goes = each;
    goes->leaves = true;
    http->staying--;
    (void)shutdown(goes->fd, SHUT_RDWR);
}

static void
come(struct http *http, struct MHD_Connection *connection, struct visitor **kept)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct visitor *visitor = info != NULL ? mem_alloc_zero(1, sizeof *visitor) : NULL;
    *kept = visitor;
    if (visitor == NULL)
        return; // the daemon's own limits hold for it
    visitor->fd = info->connect_fd;
    visitor->older = http->newest;
    if (visitor->older != NULL)
        visitor->older->newer = visitor;
    http->newest = visitor;
    if (++http->staying > HTTP_CONNECTIONS_MAX)
        make_room(http);
}

static void
go(struct http *http, struct visitor *visitor)
{
    if (visitor == NULL)
        return;
    *(visitor->newer != NULL ? &visitor->newer->older : &http->newest) = visitor->older;
    if (visitor->older != NULL)
        visitor->older->newer = visitor->newer;
    http->staying -= !visitor->leaves;
    mem_free(visitor);
}

static void
note_visitor(void *context, struct MHD_Connection *connection, void **kept,
             enum MHD_ConnectionNotificationCode what)
{
    struct visitor **visitor = (struct visitor **)kept;
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        come(context, connection, visitor);
    else
        go(context, *visitor);
}

static void
note_asked(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct visitor *visitor = info != NULL ? info->socket_context : NULL;
    if (visitor != NULL)
        visitor->has_asked = true;
}

// ---- what is asked ----

// Called when a request's head is there, and again when all of its body was read, which nobody wants.
static enum MHD_Result
take(void *context, struct MHD_Connection *connection, const char *url, const char *method,
     const char *version, const char *body, size_t *body_bytes, void **seen)
{
    static char once;
    const struct http *http = context;
    (void)version;
    (void)body;
    if (*seen == NULL) {
        note_asked(connection);
        *seen = &once;
        return MHD_YES;
    }
    if (*body_bytes > 0) {
        *body_bytes = 0;
        return MHD_YES;
    }
    const bool metrics = strcmp(url, "/metrics") == 0;
    const bool live = strcmp(url, "/health/live") == 0, ready = strcmp(url, "/health/ready") == 0;
    if (!metrics && !live && !ready)
        return answer_line(connection, MHD_HTTP_NOT_FOUND,
                           "here are /metrics, /health/live and /health/ready");
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer_line(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "read only");
    if (metrics)
        return answer_metrics(http, connection);
    return answer_health(connection, live ? http->config.not_live(http->config.context)
                                          : http->config.not_ready(http->config.context));
}

static struct MHD_Daemon *
listen_on(struct http *http)
{
    const struct gossip_address *listen = &http->config.listen;
    const unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(listen->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(listen->port)};
    const bool is_v4 = address_is_v4(listen);
    memcpy(&v4.sin_addr, listen->ip + 12, sizeof v4.sin_addr);
    memcpy(&v6.sin6_addr, listen->ip, sizeof v6.sin6_addr);
    errno = 0;
    return MHD_start_daemon(
        is_v4 ? flags : flags | MHD_USE_IPv6, listen->port, NULL, NULL, take, http,
        MHD_OPTION_SOCK_ADDR, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
        MHD_OPTION_CONNECTION_LIMIT, 2 * HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        http->config.idle_seconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES,
        MHD_OPTION_NOTIFY_CONNECTION, note_visitor, http, MHD_OPTION_END);
}

omen_status
http_open(const struct http_config *config, struct http **out, struct omen_error *error)
{
    *out = NULL;
    struct http *http = mem_alloc_zero(1, sizeof *http);
    if (http == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    http->config = *config;
    if (http->config.idle_seconds == 0)
        http->config.idle_seconds = HTTP_IDLE_SECONDS;
    http->daemon = listen_on(http);
    if (http->daemon != NULL) {
        *out = http;
        return OMEN_OK;
    }
    const int why = errno;
    char text[ADDRESS_TEXT_BYTES];
    mem_free(http);
    address_text(&config->listen, text);
    if (why == ENOMEM)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    return error_set(error, OMEN_E_INVALID, "%s: cannot be listened on: %s", text,
                     why != 0 ? strerror(why) : "no reason was given");
}

uint16_t
http_port(const struct http *http)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info != NULL ? info->port : 0;
}

void
http_close(struct http *http)
{
    if (http == NULL)
        return;
    MHD_stop_daemon(http->daemon);
    mem_free(http);
}
