/*
 * A SOCKS5 session, both ends of it, on a poll loop of this program's own.
 *
 *   app --tcp--> "entry" (direct in, SOCKS5 client out) --tcp--> "proxy" (SOCKS5 server in,
 *   direct out) --tcp--> echo
 *
 * The library opens no socket and reads no clock here: this program does, and tells it. The app
 * sends bytes and a FIN, and checks that the same bytes and a FIN come back.
 *
 *   cargo build --profile library -p sansbox-ffi
 *   cc -I ffi/include ffi/examples/socks_client.c target/library/libsansbox_ffi.a \
 *      -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc -o socks_client && ./socks_client
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sansbox.h"
#include "sockets.h"

enum { LINKS = 4, BUFFER = 16384, PAYLOAD = 200000, POLLED = 16 };

/* One socket of a machine. */
struct link {
    enum { UNUSED, CONNECTING, OPEN, RELAYED } state;
    int fd;
    uint32_t slot;
    uint32_t id;        /* of the dial, while CONNECTING */
    int read_ended;     /* its FIN was read */
    int write_shut;     /* our FIN was sent */
    struct link *peer;  /* RELAYED: where its bytes go */
    size_t from, until; /* RELAYED: what was read from it and not yet sent to the peer */
    uint8_t bytes[BUFFER];
};

/* One machine and its sockets. */
struct driver {
    const char *name;
    uint64_t machine;
    struct link links[LINKS];
};

static void ok(sansbox_status status, const char *what) {
    if (status < 0) die(what, sansbox_status_text(status));
}

static struct link *new_link(struct driver *driver, int fd, uint32_t slot, int state) {
    for (struct link *link = driver->links; link < driver->links + LINKS; link++) {
        if (link->state != UNUSED) continue;
        memset(link, 0, offsetof(struct link, bytes));
        link->state = state;
        link->fd = fd;
        link->slot = slot;
        return link;
    }
    die(driver->name, "more slots than expected");
    return NULL;
}

static struct link *find(struct driver *driver, uint32_t slot) {
    for (struct link *link = driver->links; link < driver->links + LINKS; link++)
        if (link->state != UNUSED && link->slot == slot) return link;
    return NULL;
}

static void close_link(struct link *link, int reset) {
    if (reset) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    close(link->fd);
    link->state = UNUSED;
}

static void failed(struct driver *driver, uint32_t id, uint32_t why) {
    ok(sansbox_machine_failed(driver->machine, now(), id, why), "failed");
}

static void dial(struct driver *driver, const sansbox_action *action) {
    int fd = tcp_socket();
    int error = action->address.family == 4 ? connect_to(fd, action->address) : EHOSTUNREACH;
    if (error) {
        close(fd);
        failed(driver, action->id, refusal_of(error));
        return;
    }
    new_link(driver, fd, action->slot, CONNECTING)->id = action->id;
}

static void join(struct driver *driver, uint32_t slot, uint32_t other) {
    struct link *a = find(driver, slot), *b = find(driver, other);
    if (!a || !b) die(driver->name, "passthrough between unknown slots");
    a->state = b->state = RELAYED;
    a->peer = b;
    b->peer = a;
}

/* Does all that the machine wants done. */
static void act(struct driver *driver) {
    sansbox_action action;
    sansbox_status status;
    for (;;) {
        status = sansbox_machine_poll_action(driver->machine, &action, NULL, 0);
        if (status != SANSBOX_STATUS_OK) break;
        struct link *link = find(driver, action.slot);
        switch (action.kind) {
        case SANSBOX_ACTION_KIND_DIAL:
            dial(driver, &action);
            break;
        case SANSBOX_ACTION_KIND_CANCEL:
            for (link = driver->links; link < driver->links + LINKS; link++)
                if (link->state == CONNECTING && link->id == action.id) close_link(link, 0);
            break;
        case SANSBOX_ACTION_KIND_CLOSE:
            if (link) close_link(link, action.end == SANSBOX_END_RESET);
            break;
        case SANSBOX_ACTION_KIND_PASSTHROUGH:
            join(driver, action.slot, action.other);
            break;
        case SANSBOX_ACTION_KIND_LOG:
            printf("%s: stage %u\n", driver->name, (unsigned)action.stage);
            break;
        /* The configurations of this program name addresses, and no UDP. */
        case SANSBOX_ACTION_KIND_RESOLVE:
            failed(driver, action.id, SANSBOX_REFUSAL_RESOLVER_FAILED);
            break;
        case SANSBOX_ACTION_KIND_BIND:
            failed(driver, action.id, SANSBOX_REFUSAL_COMMAND_UNSUPPORTED);
            break;
        default:
            die(driver->name, "an action that was not expected");
        }
    }
    ok(status, "poll_action");
}

static void reset(struct driver *driver, struct link *link) {
    ok(sansbox_machine_ended(driver->machine, now(), link->slot, SANSBOX_END_RESET), "ended");
    act(driver);
}

/* A dial is decided. */
static void connected(struct driver *driver, struct link *link) {
    int error = 0;
    socklen_t len = sizeof error;
    sys(getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &len), "SO_ERROR");
    if (error) {
        close_link(link, 0);
        failed(driver, link->id, refusal_of(error));
    } else {
        sansbox_address local = own_address(link->fd);
        link->state = OPEN;
        ok(sansbox_machine_connected(driver->machine, now(), link->id, &local), "connected");
    }
    act(driver);
}

/* Sends what the machine has for a socket. */
static void flush(struct driver *driver, struct link *link) {
    uint8_t bytes[BUFFER];
    size_t len, waiting;
    sansbox_end end;
    while (link->state == OPEN) {
        ok(sansbox_machine_peek(driver->machine, link->slot, bytes, sizeof bytes, &len, &waiting,
                                &end), "peek");
        if (len == 0) {
            if (end == SANSBOX_END_FIN && !link->write_shut) {
                link->write_shut = 1;
                shutdown(link->fd, SHUT_WR);
            }
            return;
        }
        ssize_t sent = send(link->fd, bytes, len, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) reset(driver, link);
            return;
        }
        ok(sansbox_machine_drained(driver->machine, now(), link->slot, (size_t)sent), "drained");
        act(driver);
    }
}

/* Reads from a socket as much as the machine has room for. */
static void fill(struct driver *driver, struct link *link) {
    uint8_t bytes[BUFFER];
    size_t room, taken;
    ok(sansbox_machine_room(driver->machine, link->slot, &room), "room");
    if (room == 0) return;
    ssize_t len = recv(link->fd, bytes, room < sizeof bytes ? room : sizeof bytes, 0);
    if (len < 0) {
        if (errno != EAGAIN) reset(driver, link);
        return;
    }
    if (len == 0) {
        link->read_ended = 1;
        ok(sansbox_machine_ended(driver->machine, now(), link->slot, SANSBOX_END_FIN), "ended");
    } else {
        ok(sansbox_machine_received(driver->machine, now(), link->slot, bytes, (size_t)len,
                                    &taken), "received");
        if (taken != (size_t)len) die(driver->name, "took less than it had room for");
    }
    act(driver);
}

/* Moves bytes that the machine need not see, and tells it how many. */
static void relay(struct driver *driver, struct link *link) {
    struct link *peer = link->peer;
    if (link->from == link->until && !link->read_ended) {
        ssize_t len = recv(link->fd, link->bytes, sizeof link->bytes, 0);
        if (len < 0) {
            if (errno != EAGAIN) reset(driver, link);
            return;
        }
        link->from = 0;
        link->until = (size_t)len;
        link->read_ended = len == 0;
    }
    if (link->from < link->until) {
        size_t left = link->until - link->from;
        ssize_t sent = send(peer->fd, link->bytes + link->from, left, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) reset(driver, peer);
            return;
        }
        link->from += (size_t)sent;
        ok(sansbox_machine_relayed(driver->machine, now(), link->slot, (uint64_t)sent), "relayed");
        act(driver);
    } else if (link->read_ended && !peer->write_shut) {
        peer->write_shut = 1;
        shutdown(peer->fd, SHUT_WR);
        ok(sansbox_machine_ended(driver->machine, now(), link->slot, SANSBOX_END_FIN), "ended");
        act(driver);
    }
}

/* What to wait for on a socket. */
static short interest(const struct driver *driver, const struct link *link) {
    uint8_t byte;
    size_t len, waiting, room;
    sansbox_end end;
    short events = 0;
    if (link->state == CONNECTING) return POLLOUT;
    if (link->state == RELAYED) {
        if (link->from == link->until && !link->read_ended) events |= POLLIN;
        if (link->peer->from < link->peer->until) events |= POLLOUT;
        return events;
    }
    ok(sansbox_machine_room(driver->machine, link->slot, &room), "room");
    ok(sansbox_machine_peek(driver->machine, link->slot, &byte, 1, &len, &waiting, &end), "peek");
    if (room > 0 && !link->read_ended) events |= POLLIN;
    if (waiting > 0) events |= POLLOUT;
    return events;
}

static void step(struct driver *driver, struct link *link, short events) {
    if (link->state == CONNECTING && events) connected(driver, link);
    if (link->state == OPEN && !link->read_ended && (events & (POLLIN | POLLHUP | POLLERR)))
        fill(driver, link);
    for (link = driver->links; link < driver->links + LINKS; link++) {
        if (link->state == OPEN) flush(driver, link);
        if (link->state == RELAYED) relay(driver, link);
    }
}

static int is_finished(const struct driver *driver) {
    sansbox_record record;
    if (!driver->machine) return 0;
    ok(sansbox_machine_record(driver->machine, &record), "record");
    return record.finished != 0;
}

static void accept_session(struct driver *driver, int listener, uint64_t plan) {
    struct sockaddr_in in;
    socklen_t len = sizeof in;
    uint8_t seed[SANSBOX_SEED_SIZE];
    int fd = accept4(listener, (struct sockaddr *)&in, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    sys(fd, "accept");
    sansbox_address remote = address_of(&in), local = own_address(fd);
    sys((int)getrandom(seed, sizeof seed, 0), "getrandom");
    ok(sansbox_session_new(plan, 0, &remote, &local, seed, now(), &driver->machine), "session_new");
    new_link(driver, fd, 0, OPEN);
    act(driver);
}

static uint64_t plan_from(const char *json) {
    char text[1024];
    uint64_t plan;
    sansbox_status status = sansbox_plan_new(json, strlen(json), text, sizeof text, &plan);
    if (status < 0) die(sansbox_status_text(status), text);
    return plan;
}

static int listen_for(uint64_t plan) {
    sansbox_inbound inbound;
    ok(sansbox_plan_inbound(plan, 0, &inbound), "plan_inbound");
    return listen_on(inbound.address);
}

/* The app and the echo server; neither knows of a proxy. */
static uint8_t sent_bytes[PAYLOAD], echoed[PAYLOAD];
static size_t sent_len, echoed_len;
static int is_echoed;

static void app(int fd, short events) {
    if ((events & POLLOUT) && sent_len < PAYLOAD) {
        ssize_t len = send(fd, sent_bytes + sent_len, PAYLOAD - sent_len, MSG_NOSIGNAL);
        if (len < 0 && errno != EAGAIN) die("app", strerror(errno));
        if (len > 0) sent_len += (size_t)len;
        if (sent_len == PAYLOAD) sys(shutdown(fd, SHUT_WR), "shutdown");
    }
    if (events & (POLLIN | POLLHUP | POLLERR)) {
        uint8_t byte;
        int is_full = echoed_len == PAYLOAD;
        uint8_t *to = is_full ? &byte : echoed + echoed_len;
        ssize_t len = recv(fd, to, is_full ? 1 : PAYLOAD - echoed_len, 0);
        if (len < 0 && errno != EAGAIN) die("app", strerror(errno));
        if (len == 0) is_echoed = 1;
        if (len > 0 && is_full) die("app", "more came back than was sent");
        if (len > 0) echoed_len += (size_t)len;
    }
}

static void echo(struct link *link, short events) {
    if (events && link->from == link->until && !link->read_ended) {
        ssize_t len = recv(link->fd, link->bytes, sizeof link->bytes, 0);
        if (len < 0 && errno != EAGAIN) die("echo", strerror(errno));
        link->from = 0;
        link->until = len > 0 ? (size_t)len : 0;
        link->read_ended = len == 0;
        if (len == 0) sys(shutdown(link->fd, SHUT_WR), "shutdown");
    }
    if (link->from < link->until) {
        size_t left = link->until - link->from;
        ssize_t len = send(link->fd, link->bytes + link->from, left, MSG_NOSIGNAL);
        if (len < 0 && errno != EAGAIN) die("echo", strerror(errno));
        if (len > 0) link->from += (size_t)len;
    }
}

/* Milliseconds until the first deadline. */
static int timeout_of(const struct driver *all) {
    uint64_t first = UINT64_MAX, at, time = now();
    for (int i = 0; i < 2; i++) {
        if (!all[i].machine) continue;
        sansbox_status status = sansbox_machine_deadline(all[i].machine, &at);
        if (status == SANSBOX_STATUS_OK && at < first) first = at;
    }
    if (first <= time) return 0;
    uint64_t milliseconds = (first - time + 999999) / 1000000;
    return milliseconds > 5000 ? 5000 : (int)milliseconds;
}

/* All that this program has. */
static struct driver drivers[2] = {{.name = "entry"}, {.name = "proxy"}};
static uint64_t plans[2];
static struct link echo_link;
static int listeners[3]; /* of the drivers, and of the echo server */
static int app_fd;

static void set_up(void) {
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char json[512];
    listeners[2] = listen_on(address_of(&any));
    plans[1] = plan_from("{\"inbounds\": [{\"type\": \"socks\","
                         "  \"users\": [{\"username\": \"u\", \"password\": \"p\"}]}]}");
    listeners[1] = listen_for(plans[1]);
    snprintf(json, sizeof json,
             "{\"inbounds\": [{\"type\": \"direct\","
             "  \"override_address\": \"127.0.0.1\", \"override_port\": %u}],"
             " \"outbounds\": [{\"type\": \"socks\", \"server\": \"127.0.0.1\","
             "  \"server_port\": %u, \"username\": \"u\", \"password\": \"p\"}]}",
             own_address(listeners[2]).port, own_address(listeners[1]).port);
    plans[0] = plan_from(json);
    listeners[0] = listen_for(plans[0]);
    for (size_t i = 0; i < PAYLOAD; i++) sent_bytes[i] = (uint8_t)(i * 31 + i / 256);
    app_fd = tcp_socket();
    if (connect_to(app_fd, own_address(listeners[0]))) die("app", "cannot connect");
}

/* The deadline of a machine has come. */
static void tick(struct driver *driver) {
    uint64_t at;
    if (!driver->machine) return;
    sansbox_status status = sansbox_machine_deadline(driver->machine, &at);
    if (status == SANSBOX_STATUS_OK && at <= now()) {
        ok(sansbox_machine_tick(driver->machine, now()), "tick");
        act(driver);
    }
}

/* Waits once, and lets everybody do what can be done. */
static void turn(void) {
    struct pollfd polled[POLLED];
    struct { struct driver *driver; struct link *link; } owners[POLLED];
    nfds_t count = 0;
    short app_wants = (short)(POLLIN | (sent_len < PAYLOAD ? POLLOUT : 0));
    short echo_wants = echo_link.from < echo_link.until ? POLLOUT : POLLIN;
    int echo_fd = echo_link.state && !echo_link.read_ended ? echo_link.fd : -1;
    for (int i = 0; i < 3; i++)
        polled[count++] = (struct pollfd){.fd = listeners[i], .events = POLLIN};
    polled[count++] = (struct pollfd){.fd = is_echoed ? -1 : app_fd, .events = app_wants};
    polled[count++] = (struct pollfd){.fd = echo_fd, .events = echo_wants};
    for (int i = 0; i < 2; i++)
        for (struct link *link = drivers[i].links; link < drivers[i].links + LINKS; link++) {
            if (link->state == UNUSED) continue;
            /* Nothing to wait for: POLLHUP of a half-closed socket must not spin the loop. */
            short wants = interest(&drivers[i], link);
            owners[count].driver = &drivers[i];
            owners[count].link = link;
            polled[count++] = (struct pollfd){.fd = wants ? link->fd : -1, .events = wants};
        }
    sys(poll(polled, count, timeout_of(drivers)), "poll");
    for (int i = 0; i < 2; i++) {
        if (polled[i].revents) accept_session(&drivers[i], listeners[i], plans[i]);
        tick(&drivers[i]);
    }
    if (polled[2].revents) {
        echo_link.fd = accept4(listeners[2], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        sys(echo_link.fd, "accept");
        echo_link.state = OPEN;
    }
    app(app_fd, polled[3].revents);
    if (echo_fd >= 0) echo(&echo_link, polled[4].revents);
    for (nfds_t i = 5; i < count; i++)
        /* An earlier one may have closed it. */
        if (polled[i].revents && owners[i].link->state && owners[i].link->fd == polled[i].fd)
            step(owners[i].driver, owners[i].link, polled[i].revents);
}

/* Says how a machine ended, and frees it. */
static void finish(struct driver *driver) {
    sansbox_record record;
    ok(sansbox_machine_record(driver->machine, &record), "record");
    printf("%s: %llu bytes up, %llu bytes down, closed %u\n", driver->name,
           (unsigned long long)record.bytes_up, (unsigned long long)record.bytes_down,
           (unsigned)record.closed);
    ok(sansbox_machine_free(driver->machine), "machine_free");
    if (sansbox_machine_tick(driver->machine, now()) != SANSBOX_STATUS_BAD_HANDLE)
        die("tick", "a freed handle works");
}

int main(void) {
    uint64_t give_up = now() + 30000000000u;
    size_t handles;
    if (sansbox_abi_version() / 1000 != SANSBOX_ABI_VERSION / 1000) die("sansbox", "another ABI");
    set_up();
    while (!is_finished(&drivers[0]) || !is_finished(&drivers[1]) || !is_echoed) {
        if (now() > give_up) die("loop", "no end in sight");
        turn();
    }
    if (echoed_len != PAYLOAD || memcmp(sent_bytes, echoed, PAYLOAD))
        die("app", "what came back differs");
    for (int i = 0; i < 2; i++) {
        finish(&drivers[i]);
        ok(sansbox_plan_free(plans[i]), "plan_free");
    }
    ok(sansbox_handle_count(&handles), "handle_count");
    if (handles) die("handles", "some are not freed");
    for (int i = 0; i < 3; i++) close(listeners[i]);
    close(echo_link.fd);
    close(app_fd);
    return 0;
}
