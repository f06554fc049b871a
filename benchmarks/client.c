/* The measuring client of the benchmarks: one thread, epoll, as cheap as a client gets.
 *
 * It opens N WebSockets, then either receives a stream or sends orders, and counts what arrives: messages, gaps,
 * duplicates, a hash of the content, latency from the "ts_us" that each message carries. It knows nothing of any
 * server: whatever stands around the data, it looks for "ts_us": and "seq": in a text frame. A compressed message is
 * counted and not looked into.
 *
 *   client HOST PORT[,PORT]... CONNECTIONS SECONDS [option value]...
 *     connect-rate N   new connections a second (default 2000)
 *     path P           default /ws
 *     say FILE         a line a connection: what it says once connected, texts separated by tabs
 *     expect HASH,...  what the content of updates hashes to, in hexadecimal: of N hashes, that of an update is number
 *                      seq modulo N; without it copies of an update are compared with the first
 *     deflate 1        offer permessage-deflate; a server that does not take it fails the connection
 *     orders closed    each connection sends its next order when the last is answered
 *     orders N         N orders a second over all connections, on a fixed schedule; latency is from when one was due
 *     log-orders 1     print "order ANSWERED_WALL_US LATENCY_US" for each answer
 *     intervals MS     print "interval WALL_US MESSAGES P99_US MAX_US SKIMMED_BYTES" every MS, for what came in it
 *     marks 1          print such a line when one comes on standard input, for what came since the last
 *     stamps 1         such lines end with another P99_US and MAX_US, until the kernel had it: before this program waits
 *                      for its core
 *     topic 1          connections take one topic: by "tseq", not "seq", is seen what is lost
 *     resume N         besides, what a connection says names the position ("seq") behind which it takes it again, where
 *                      up to N "tseq" and "seq" are the same: all is counted from the beginning, and "back SECONDS" is
 *                      printed once every connection has N, from the first one's attempt
 *   Of the connections (only the rest is measured):
 *     stuck N          the first N are never read again once open
 *     slow N           the next N are read SLOW_BYTES every SLOW_EVERY_US, through a small receive buffer
 *     skim N           N, spread over those behind, are read as fast as any, but what comes is only counted in bytes:
 *                      the kernel throws it away, which spares this program most of its work
 *
 * Prints "connected N failed N" when all have been tried, "start" when it begins to count, "end" when it stops
 * (2 s without counting lie before "start"), and one line of JSON. The driver samples the server's CPU at those
 * words. Then it waits for the end of its standard input, all connections open; if that comes earlier, it is the end
 * of the measuring too. Times are microseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SMALL_BUFFER 16384 /* SO_RCVBUF of who is stuck or slow: what they do not read waits at the server */
#define SLOW_EVERY_US 100000
#define SLOW_BYTES 2000 /* 20 KB/s */
#define SPIN_RATE 1000 /* from so many orders a second on it waits for the next without sleeping */

enum state { UNUSED, CONNECTING, SHAKING, OPEN, DEAD };
enum kind { MEASURED, STUCK, SLOW, SKIMMED };

struct connection {
    int fd;
    enum state state;
    enum kind kind;
    uint64_t last_seq; /* tseq, of one that resumes */
    uint64_t next_read_us; /* of a slow one */
    uint8_t *rest; /* the beginning of a frame that has not arrived whole */
    size_t rest_length;
};

static struct connection *connections;
static int wanted, epoll_fd, opened, failed;
static uint8_t buffer[4 << 20];
static const char *path = "/ws";
static char **say; /* a line a connection */
static uint64_t *expected; /* hashes of content, by seq modulo expected_count */
static uint64_t expected_count;
static char host[64];
#define MOST_PORTS 16
static int ports[MOST_PORTS], port_count; /* connections go to them in turn */

static int counting, orders_closed, log_orders, deflate, stuck, slow, skimmed;
static double orders_rate, connect_rate = 2000;
static uint64_t interval_us;
static int marks, stamps, one_topic, input_ended;
static uint64_t resume_to, begun_us;
static int back; /* connections that have resume_to */
static uint64_t messages, bytes, missing, duplicates, reordered, content_differs, closed_by_server;
static uint64_t skimmed_bytes, slow_bytes;

#define ORDERS 65536 /* more than are ever on their way */
static uint64_t due_us_of[ORDERS], order_number, orders_sent, orders_answered;

#define SEQS 65536
static uint64_t seq_of[SEQS], hash_of[SEQS], first_us[SEQS], last_us[SEQS];
static uint32_t seen[SEQS];

#define BUCKETS 26000
static struct histogram { uint64_t counts[BUCKETS], recorded; } all, interval, arrival;
static uint64_t interval_skimmed;
static uint64_t stamp_us; /* when the kernel had what was read last */

static uint64_t now_us(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void add(struct histogram *to, int64_t us) {
    uint64_t v = us < 0 ? 0 : us > 0xffffffffLL ? 0xffffffffULL : (uint64_t)us;
    int shift = v < 2048 ? 0 : 64 - __builtin_clzll(v) - 11, bucket = shift * 1024 + (v >> shift);
    to->counts[bucket]++;
    to->recorded++;
}

static void record(int64_t us) {
    add(&all, us);
    if (interval_us || marks) add(&interval, us);
}

static double percentile(const struct histogram *of, double percent) {
    uint64_t rank = (uint64_t)(of->recorded * percent / 100.0 + 0.999999), reached = 0;
    for (int i = 0; i < BUCKETS; i++) {
        reached += of->counts[i];
        if (reached >= rank && reached) {
            int shift = i < 2048 ? 0 : i / 1024 - 1;
            return (double)(((uint64_t)(i - shift * 1024) + 1) << shift) - 1;
        }
    }
    return 0;
}

static uint64_t number_after(const uint8_t *at, size_t length, const char *name, size_t name_length) {
    const uint8_t *found = memmem(at, length, name, name_length);
    if (!found) return 0;
    uint64_t value = 0;
    for (const uint8_t *p = found + name_length; p < at + length && *p >= '0' && *p <= '9'; p++)
        value = value * 10 + (*p - '0');
    return value;
}

static void send_text(struct connection *c, const char *text, size_t length) {
    uint8_t frame[4096];
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    size_t n = 0;
    frame[n++] = 0x81;
    if (length < 126) frame[n++] = 0x80 | length;
    else { frame[n++] = 0x80 | 126; frame[n++] = length >> 8; frame[n++] = length & 255; }
    memcpy(frame + n, mask, 4);
    n += 4;
    for (size_t i = 0; i < length; i++) frame[n + i] = text[i] ^ mask[i & 3];
    n += length;
    if (send(c->fd, frame, n, MSG_NOSIGNAL) != (ssize_t)n) { fprintf(stderr, "short send\n"); exit(1); }
}

static void send_order(struct connection *c, uint64_t due_us) {
    char text[1024];
    due_us_of[++order_number % ORDERS] = due_us;
    int n = snprintf(text, sizeof text,
        "{\"event\":\"order-request\",\"data\":{\"request\":%llu,\"rows\":1,\"timestamp\":%llu,\"address\":\"bench\","
        "\"execs\":[{\"sequence\":0,\"activityDateStr\":\"2026-11-24\",\"com\":3,\"price\":42,\"accountId\":1772139,"
        "\"symbol\":\"QQQ\",\"transaction\":\"STO\",\"description\":\"QQQ Stock\",\"qty\":100,\"key\":\"QQQ:::S\","
        "\"netAmount\":420}]}}",
        (unsigned long long)order_number, (unsigned long long)(now_us(CLOCK_REALTIME) / 1000));
    send_text(c, text, n);
    if (counting) orders_sent++;
}

static void take_update(struct connection *c, const uint8_t *payload, size_t length, uint64_t wall_us) {
    size_t head = length < 400 ? length : 400;
    uint64_t seq = one_topic ? number_after(payload, head, "\"tseq\":", 7) : number_after(payload, head, "\"seq\":", 6);
    uint64_t ts = number_after(payload, head, "\"ts_us\":", 8);
    if (!seq || !ts) return;
    if (counting) {
        messages++;
        bytes += length;
        record((int64_t)(wall_us - ts));
        if (stamps) add(&arrival, (int64_t)(stamp_us - ts));
        if (c->last_seq) {
            if (seq > c->last_seq + 1) missing += seq - c->last_seq - 1;
            else if (seq == c->last_seq) duplicates++;
            else if (seq < c->last_seq) reordered++;
        }
        uint32_t slot = seq & (SEQS - 1);
        if (seq_of[slot] != seq) { seq_of[slot] = seq; seen[slot] = 0; hash_of[slot] = 0; first_us[slot] = wall_us; }
        last_us[slot] = wall_us;
        if ((seen[slot]++ & 63) == 0) { /* every 64th copy of an update is looked at */
            const uint8_t *execs = memmem(payload, length, "\"execs\"", 7);
            uint64_t hash = 1469598103934665603ULL;
            for (const uint8_t *p = execs; p && p < payload + length && *p != ']'; p++)
                hash = (hash ^ *p) * 1099511628211ULL;
            uint64_t *truth = expected ? &expected[seq % expected_count] : &hash_of[slot];
            if (!*truth) *truth = hash;
            else if (*truth != hash) content_differs++;
        }
    }
    if (resume_to && seq == resume_to && ++back == wanted)
        printf("back %.3f\n", (now_us(CLOCK_MONOTONIC) - begun_us) / 1e6);
    c->last_seq = seq;
}

static void take_answer(struct connection *c, const uint8_t *payload, size_t length, uint64_t wall_us) {
    uint64_t now = now_us(CLOCK_MONOTONIC);
    int64_t latency_us = now - due_us_of[number_after(payload, length, "\"request\":", 10) % ORDERS];
    if (counting) { orders_answered++; record(latency_us); }
    if (log_orders) printf("order %llu %lld\n", (unsigned long long)wall_us, (long long)latency_us);
    if (orders_closed) send_order(c, now);
}

static void take_text(struct connection *c, const uint8_t *payload, size_t length, uint64_t wall_us) {
    if (length == 1 && payload[0] == '2') { send_text(c, "3", 1); return; } /* Engine.IO's ping */
    if ((orders_closed || orders_rate) && memmem(payload, length < 64 ? length : 64, "order-response", 14))
        take_answer(c, payload, length, wall_us);
    else take_update(c, payload, length, wall_us);
}

static void die(struct connection *c) {
    if (c->state != OPEN) failed++;
    else if (c->kind != SLOW) closed_by_server++; /* of a slow one it is the server's to say */
    close(c->fd);
    c->state = DEAD;
}

/* Take whole frames from data; return how many bytes they were. */
static size_t take_frames(struct connection *c, const uint8_t *data, size_t length, uint64_t wall_us) {
    size_t at = 0;
    while (length - at >= 2) {
        size_t head = 2;
        uint64_t size = data[at + 1] & 127;
        if (size == 126) { head = 4; if (length - at < 4) break; size = data[at + 2] << 8 | data[at + 3]; }
        else if (size == 127) {
            head = 10;
            if (length - at < 10) break;
            size = 0;
            for (int i = 0; i < 8; i++) size = size << 8 | data[at + 2 + i];
        }
        if (length - at < head + size) break;
        int opcode = data[at] & 15, compressed = data[at] & 0x40;
        if (compressed) { if (counting) { messages++; bytes += size; } }
        else if (opcode == 1) take_text(c, data + at + head, size, wall_us);
        else if (opcode == 9) {
            uint8_t pong[6] = {0x8a, 0x80, 0, 0, 0, 0};
            if (size == 0 && send(c->fd, pong, 6, MSG_NOSIGNAL) != 6) return length;
        } else if (opcode == 8) { die(c); return length; }
        at += head + size;
    }
    return at;
}

static int port_of(const struct connection *c) { return ports[(c - connections) % port_count]; }

static void shake(struct connection *c) {
    char request[512];
    int n = snprintf(request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "%s%s\r\n", path, host, port_of(c), orders_closed || orders_rate || resume_to ? "Sec-WebSocket-Protocol: execgate.1\r\n" : "",
        deflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "");
    if (send(c->fd, request, n, MSG_NOSIGNAL) != n) { die(c); return; }
    c->state = SHAKING;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

static void say_hello(struct connection *c) {
    if (!say) return;
    if (resume_to) c->last_seq = number_after((uint8_t *)say[c - connections], strlen(say[c - connections]), "\"seq\":", 6);
    for (char *text = say[c - connections]; *text;) {
        size_t length = strcspn(text, "\t");
        send_text(c, text, length);
        text += length + (text[length] == '\t');
    }
}

static void skim(struct connection *c) {
    ssize_t n = recv(c->fd, NULL, 16 << 20, MSG_TRUNC); /* TCP discards so much without copying it */
    if (n <= 0) { if (n == 0 || (errno != EAGAIN && errno != EINTR)) die(c); return; }
    if (counting) { skimmed_bytes += n; interval_skimmed += n; }
}

/* Let every slow connection whose time has come read a little. */
static void read_slowly(uint64_t now) {
    for (struct connection *c = connections + stuck; c < connections + stuck + slow; c++) {
        if (c->state != OPEN || now < c->next_read_us) continue;
        c->next_read_us = now + SLOW_EVERY_US;
        ssize_t n = recv(c->fd, buffer, SLOW_BYTES, 0);
        if (n > 0 && counting) slow_bytes += n;
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) die(c);
    }
}

/* recv, which notes when the kernel had the end of it. */
static ssize_t recv_stamped(int fd, void *to, size_t size) {
    char control[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec part = {to, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &message, 0);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
        struct timespec t;
        memcpy(&t, CMSG_DATA(c), sizeof t);
        stamp_us = (uint64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
    } else if (n > 0) stamp_us = now_us(CLOCK_REALTIME); /* not on the socket's first bytes */
    return n;
}

static void read_from(struct connection *c) {
    if (c->state == OPEN && c->kind == SKIMMED) { skim(c); return; }
    size_t held = c->rest_length;
    if (held) memcpy(buffer, c->rest, held);
    size_t room = sizeof buffer - held - 1;
    ssize_t n = stamps ? recv_stamped(c->fd, buffer + held, room) : recv(c->fd, buffer + held, room, 0);
    if (n <= 0) { if (n == 0 || (errno != EAGAIN && errno != EINTR)) die(c); return; }
    uint64_t wall_us = now_us(CLOCK_REALTIME);
    size_t length = held + n, used = 0;
    if (c->state == SHAKING) {
        uint8_t *end = memmem(buffer, length, "\r\n\r\n", 4);
        if (end) {
            size_t head = end + 4 - buffer;
            if (memcmp(buffer, "HTTP/1.1 101", 12)) { die(c); return; }
            if (deflate && !memmem(buffer, head, "permessage-deflate", 18)) { die(c); return; }
            c->state = OPEN;
            opened++;
            used = head;
            say_hello(c);
            if (c->kind == SKIMMED) return;
            if (c->kind == STUCK || c->kind == SLOW) {
                epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
                c->next_read_us = now_us(CLOCK_MONOTONIC) + SLOW_EVERY_US * (c - connections) / wanted; /* not all at once */
                return;
            }
        }
    }
    if (c->state == OPEN) used += take_frames(c, buffer + used, length - used, wall_us);
    if (c->state == DEAD) return;
    size_t left = length - used;
    if (left || held) {
        c->rest = realloc(c->rest, left ? left : 1);
        memcpy(c->rest, buffer + used, left);
        c->rest_length = left;
    }
}

static enum kind kind_of(int index) {
    if (index < stuck + slow) return index < stuck ? STUCK : SLOW;
    long place = index - stuck - slow, rest = wanted - stuck - slow, measured = rest - skimmed;
    return place * measured / rest < (place + 1) * measured / rest ? MEASURED : SKIMMED;
}

static void begin(struct connection *c) {
    c->kind = kind_of(c - connections);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) { failed++; c->state = DEAD; return; }
    int one = 1, small = SMALL_BUFFER;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c->kind == STUCK || c->kind == SLOW) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (stamps) setsockopt(c->fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port_of(c))};
    inet_pton(AF_INET, host, &a.sin_addr);
    c->state = CONNECTING;
    struct epoll_event e = {.events = EPOLLOUT, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
    if (connect(c->fd, (struct sockaddr *)&a, sizeof a) && errno != EINPROGRESS) die(c);
}

static void tell_interval(void) {
    printf("interval %llu %llu %.0f %.0f %llu", (unsigned long long)now_us(CLOCK_REALTIME),
           (unsigned long long)interval.recorded, percentile(&interval, 99), percentile(&interval, 100),
           (unsigned long long)interval_skimmed);
    if (stamps) printf(" %.0f %.0f", percentile(&arrival, 99), percentile(&arrival, 100));
    printf("\n");
    memset(&interval, 0, sizeof interval);
    memset(&arrival, 0, sizeof arrival);
    interval_skimmed = 0;
}

static void tell_due_interval(void) {
    static uint64_t due_us;
    uint64_t now = now_us(CLOCK_MONOTONIC);
    if (now < due_us) return;
    if (due_us) tell_interval();
    due_us = now + interval_us;
}

static void read_input(void) {
    char line[64];
    ssize_t n = read(0, line, sizeof line);
    if (n > 0 && marks) tell_interval();
    if (n <= 0) { input_ended = 1; epoll_ctl(epoll_fd, EPOLL_CTL_DEL, 0, NULL); }
}

static int turn(int timeout_ms) { /* returns how many had something */
    static struct epoll_event events[1024];
    int n = epoll_wait(epoll_fd, events, 1024, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        if (!c) { read_input(); continue; }
        if (c->state == DEAD) continue;
        if (c->state == CONNECTING) {
            int error = 0;
            socklen_t size = sizeof error;
            getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
            if (error) die(c); else shake(c);
        } else read_from(c);
    }
    return n;
}

static double connect_all(void) { /* returns how many seconds it took */
    uint64_t start = begun_us = now_us(CLOCK_MONOTONIC), deadline = start + (uint64_t)(wanted / connect_rate * 1e6) + 20000000;
    int begun = 0;
    while (opened + failed < wanted && now_us(CLOCK_MONOTONIC) < deadline) {
        int due = (now_us(CLOCK_MONOTONIC) - start) * connect_rate / 1e6 + 1;
        for (; begun < wanted && begun < due; begun++) begin(&connections[begun]);
        turn(1);
    }
    failed = wanted - opened;
    return (now_us(CLOCK_MONOTONIC) - start) / 1e6;
}

/* Send the orders whose time has come; return for how many milliseconds there is no other, at most 10. */
static int send_due_orders(uint64_t start_us, double *behind_us) {
    static uint64_t scheduled;
    for (;;) {
        uint64_t now = now_us(CLOCK_MONOTONIC), due_us = start_us + (uint64_t)(scheduled * 1e6 / orders_rate);
        if (now < due_us) {
            uint64_t left_ms = (due_us - now) / 1000;
            return orders_rate >= SPIN_RATE ? 0 : left_ms < 10 ? left_ms : 10;
        }
        if (counting && now - due_us > *behind_us) *behind_us = now - due_us;
        struct connection *c = &connections[scheduled++ % wanted];
        if (c->state == OPEN) send_order(c, due_us);
    }
}

static double cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void read_lines(const char *name) { /* into say: one for each connection */
    FILE *file = fopen(name, "r");
    if (!file) { perror(name); exit(2); }
    say = calloc(wanted, sizeof *say);
    for (int i = 0; i < wanted; i++) {
        size_t room = 0;
        ssize_t length = getline(&say[i], &room, file);
        if (length < 0) { fprintf(stderr, "%s: %d lines for %d connections\n", name, i, wanted); exit(2); }
        say[i][strcspn(say[i], "\n")] = 0;
    }
    fclose(file);
}

static void read_ports(const char *list) {
    for (const char *at = list; at && port_count < MOST_PORTS; at = (at = strchr(at, ',')) ? at + 1 : NULL)
        ports[port_count++] = atoi(at);
}

static void read_hashes(const char *list) { /* into expected */
    for (const char *at = list; *at; at += *at == ',') {
        expected = realloc(expected, (expected_count + 1) * sizeof *expected);
        if (!expected) { perror("expect"); exit(1); }
        expected[expected_count++] = strtoull(at, (char **)&at, 16);
        if (*at && *at != ',') { fprintf(stderr, "expect %s: not hexadecimal, separated by commas\n", list); exit(2); }
    }
}

static void read_option(const char *name, const char *value) {
    if (!strcmp(name, "connect-rate")) connect_rate = atof(value);
    else if (!strcmp(name, "path")) path = value;
    else if (!strcmp(name, "say")) read_lines(value);
    else if (!strcmp(name, "expect")) read_hashes(value);
    else if (!strcmp(name, "deflate")) deflate = atoi(value);
    else if (!strcmp(name, "orders") && !strcmp(value, "closed")) orders_closed = 1;
    else if (!strcmp(name, "orders")) orders_rate = atof(value);
    else if (!strcmp(name, "log-orders")) log_orders = atoi(value);
    else if (!strcmp(name, "intervals")) interval_us = atoi(value) * 1000;
    else if (!strcmp(name, "marks")) marks = atoi(value);
    else if (!strcmp(name, "stamps")) stamps = atoi(value);
    else if (!strcmp(name, "topic")) one_topic = atoi(value);
    else if (!strcmp(name, "resume")) resume_to = counting = atoi(value);
    else if (!strcmp(name, "stuck")) stuck = atoi(value);
    else if (!strcmp(name, "slow")) slow = atoi(value);
    else if (!strcmp(name, "skim")) skimmed = atoi(value);
    else { fprintf(stderr, "unknown option %s\n", name); exit(2); }
}

int main(int argc, char **argv) {
    if (argc < 5) { fprintf(stderr, "usage: client HOST PORT CONNECTIONS SECONDS [option value]...\n"); return 2; }
    snprintf(host, sizeof host, "%s", argv[1]);
    read_ports(argv[2]);
    wanted = atoi(argv[3]);
    double seconds = atof(argv[4]), behind_us = 0, cpu_before_s = 0;
    for (int i = 5; i + 1 < argc; i += 2) read_option(argv[i], argv[i + 1]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    connections = calloc(wanted, sizeof *connections);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &input); /* fails for /dev/null, which says nothing */
    double ramp_s = connect_all();
    printf("connected %d failed %d\n", opened, failed);
    uint64_t start_us = now_us(CLOCK_MONOTONIC), begin_us = start_us + 2000000, end_us = begin_us + (uint64_t)(seconds * 1e6);
    if (orders_closed)
        for (int i = 0; i < wanted; i++) if (connections[i].state == OPEN) send_order(&connections[i], start_us);
    for (uint64_t now; !input_ended && (now = now_us(CLOCK_MONOTONIC)) < end_us;) {
        if (!counting && now >= begin_us) { counting = 1; cpu_before_s = cpu_s(); printf("start\n"); }
        if (slow) read_slowly(now);
        if (counting && interval_us) tell_due_interval();
        turn(orders_rate ? send_due_orders(start_us, &behind_us) : 10);
    }
    while (resume_to && turn(0) > 0) {} /* what has been sent to who resumed is owed */
    counting = 0;
    double cpu_used_s = cpu_s() - cpu_before_s;
    printf("end\n");
    double spread = 0;
    uint64_t spread_most = 0, whole = 0;
    for (int i = 0; i < SEQS; i++)
        if (seen[i] && seen[i] == (uint32_t)(opened - stuck - slow - skimmed)) {
            uint64_t s = last_us[i] - first_us[i];
            spread += s;
            whole++;
            if (s > spread_most) spread_most = s;
        }
    printf("{\"connected\":%d,\"failed\":%d,\"ramp_s\":%.3f,\"seconds\":%.3f,\"messages\":%llu,\"bytes\":%llu,\"missing\":%llu,"
           "\"duplicates\":%llu,\"reordered\":%llu,\"content_differs\":%llu,\"closed_by_server\":%llu,\"skimmed_bytes\":%llu,\"slow_bytes\":%llu,"
           "\"p50_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%.0f,\"client_cpu_s\":%.3f,\"spread_mean_us\":%.0f,"
           "\"spread_max_us\":%llu,\"whole_updates\":%llu,\"orders_sent\":%llu,\"orders_answered\":%llu,\"behind_us\":%.0f,\"spins\":%s}\n",
           opened, failed, ramp_s, seconds, (unsigned long long)messages, (unsigned long long)bytes,
           (unsigned long long)missing, (unsigned long long)duplicates, (unsigned long long)reordered,
           (unsigned long long)content_differs, (unsigned long long)closed_by_server, (unsigned long long)skimmed_bytes,
           (unsigned long long)slow_bytes, percentile(&all, 50), percentile(&all, 99), percentile(&all, 100), cpu_used_s, whole ? spread / whole : 0,
           (unsigned long long)spread_most, (unsigned long long)whole, (unsigned long long)orders_sent,
           (unsigned long long)orders_answered, behind_us, orders_rate >= SPIN_RATE ? "true" : "false");
    fflush(stdout);
    while (!input_ended) read_input();
    return 0;
}
