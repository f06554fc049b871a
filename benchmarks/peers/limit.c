/* The kernel's limit: a bare loop of one send() a delivery. Not a server anybody would use: it answers the handshake,
 * then writes each line that comes on standard input, as one text frame, to every connection that takes its topic, and
 * reads nothing more than it must. Whatever costs less than this a delivery has joined updates.
 *
 * A connection takes everything until it says `unsubscribe-execs`, then the topics that it names: those of
 * benchmarks/feeder.py, `ex.S0.` to `ex.S65535.`.
 *
 *   limit PORT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 65536
static struct members { int *fds, count, room; } everybody, takers[MOST]; /* takers: by the number of a topic */
static char input[1 << 20], scratch[1 << 16];
static uint8_t frame[(1 << 20) + 16];

/* The client always sends the key of RFC 6455 section 1.3's example, whose answer is known. */
static const char answer[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static const char topic_start[] = "\"ex.S";

static void add(struct members *to, int fd) {
    if (to->count == to->room) {
        to->room = to->room ? 2 * to->room : 16;
        to->fds = realloc(to->fds, to->room * sizeof *to->fds);
        if (!to->fds) { perror("limit"); exit(1); }
    }
    to->fds[to->count++] = fd;
}

static void drop(struct members *from, int fd) {
    for (int i = 0; i < from->count; i++)
        if (from->fds[i] == fd) { from->fds[i] = from->fds[--from->count]; return; }
}

/* What a client says after the handshake, each frame whole and under 64 KiB, as benchmarks/client.c writes it. */
static void listen_to(int fd, uint8_t *data, size_t length) {
    while (length > 6) {
        size_t head = 6, size = data[1] & 127;
        if (size == 126) { size = data[2] << 8 | data[3]; head = 8; }
        if (size == 127 || head + size > length) { fprintf(stderr, "limit: a frame that is cut or too long\n"); exit(1); }
        char *text = (char *)data + head;
        for (size_t i = 0; i < size; i++) text[i] ^= data[head - 4 + i % 4];
        if (memmem(text, size, "unsubscribe-execs", 17)) drop(&everybody, fd);
        for (char *at = text, *end = text + size; (at = memmem(at, end - at, topic_start, sizeof topic_start - 1));)
            add(&takers[strtoul(at += sizeof topic_start - 1, NULL, 10) % MOST], fd);
        data += head + size;
        length -= head + size;
    }
}

static void send_to(const struct members *to, size_t n) {
    for (int i = 0; i < to->count; i++) {
        size_t done = 0;
        while (done < n) { /* no queue: a full socket is waited for, which is what a bare loop does */
            ssize_t sent = send(to->fds[i], frame + done, n - done, MSG_NOSIGNAL);
            if (sent < 0) { if (errno == EAGAIN) { usleep(50); continue; } break; }
            done += sent;
        }
    }
}

static void send_line(const char *line, size_t length) {
    static const char prefix[] = "{\"event\":\"receive-execs\",\"data\":";
    size_t size = sizeof prefix - 1 + length + 1, n = 0;
    frame[n++] = 0x81;
    if (size < 126) frame[n++] = size;
    else if (size < 65536) { frame[n++] = 126; frame[n++] = size >> 8; frame[n++] = size & 255; }
    else { frame[n++] = 127; for (int i = 7; i >= 0; i--) frame[n++] = (uint64_t)size >> (8 * i); }
    memcpy(frame + n, prefix, sizeof prefix - 1);
    memcpy(frame + n + sizeof prefix - 1, line, length);
    frame[n + size - 1] = '}';
    n += size;
    send_to(&everybody, n);
    const char *topic = memmem(line, length, topic_start, sizeof topic_start - 1);
    if (topic) send_to(&takers[strtoul(topic + sizeof topic_start - 1, NULL, 10) % MOST], n);
}

int main(int argc, char **argv) {
    if (argc != 2) { fprintf(stderr, "usage: limit PORT\n"); return 2; }
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 4096)) { perror("listen"); return 1; }
    int poll_fd = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &e);
    e.data.fd = 0;
    fcntl(0, F_SETFL, O_NONBLOCK);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, 0, &e);
    size_t held = 0;
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(poll_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int c;
                while ((c = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    e.events = EPOLLIN;
                    e.data.fd = c;
                    epoll_ctl(poll_fd, EPOLL_CTL_ADD, c, &e);
                }
            } else if (fd == 0) {
                ssize_t got = read(0, input + held, sizeof input - held);
                if (got == 0) return 0;
                if (got < 0) continue;
                held += got;
                char *start = input, *end;
                while ((end = memchr(start, '\n', input + held - start))) {
                    send_line(start, end - start);
                    start = end + 1;
                }
                held = input + held - start;
                memmove(input, start, held);
            } else {
                ssize_t got = recv(fd, scratch, sizeof scratch, 0);
                if (got <= 0) { if (got == 0 || errno != EAGAIN) close(fd); continue; }
                if (scratch[0] != 'G') listen_to(fd, (uint8_t *)scratch, got);
                else if (send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL) > 0) add(&everybody, fd);
            }
        }
    }
}
