/* What a process does to the files of one directory, in order: LD_PRELOAD it (cc -shared -fPIC -o shim.so io_trace.c
 * -ldl). `power.py` reads the trace and makes of it what a disk may hold after a power failure at any moment.
 *
 * IO_TRACE_DIR=DIR    whose files are watched (a real path), and the directory itself for its fsync
 * IO_TRACE_FILE=FILE  what happened is appended to it: a `struct op`, the file's name, the bytes
 *
 * What an operation did is there when the next one begins: a lock is held over both.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum kind { WRITE = 1, TRUNCATE, SYNC, UNLINK };
struct op { uint8_t kind; uint8_t name_bytes; uint16_t zero; uint32_t data_bytes; int64_t offset; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int trace = -1;
static const char *directory;
static size_t directory_bytes;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("IO_TRACE_FILE");
    directory = getenv("IO_TRACE_DIR");
    if (!path || !directory) return;
    directory_bytes = strlen(directory);
    trace = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* The name within the directory, empty for itself; NULL for what is not watched. SQLite makes -shm anew. */
static const char *watched(const char *path) {
    if (trace < 0 || strncmp(path, directory, directory_bytes)) return NULL;
    path += directory_bytes;
    if (*path && *path++ != '/') return NULL;
    return strstr(path, "-shm") ? NULL : path;
}

static const char *name_of(int descriptor, char *path) {
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = trace < 0 ? -1 : readlink(link, path, PATH_MAX - 1);
    if (length < 0) return NULL;
    path[length] = 0;
    return watched(path);
}

static void append(const void *bytes, size_t count) {
    if (count && REAL(write)(trace, bytes, count) != (ssize_t)count) abort();
}

static void note(enum kind kind, const char *name, int64_t offset, const void *data, size_t data_bytes) {
    struct op op = {kind, (uint8_t)strlen(name), 0, (uint32_t)data_bytes, offset};
    append(&op, sizeof op);
    append(name, op.name_bytes);
    append(data, data_bytes);
}

static ssize_t write_at(int descriptor, const void *data, size_t count, off64_t offset) {
    char path[PATH_MAX];
    const char *name = name_of(descriptor, path);
    if (!name) return REAL(pwrite64)(descriptor, data, count, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = REAL(pwrite64)(descriptor, data, count, offset);
    if (done > 0) note(WRITE, name, offset, data, (size_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite64(int descriptor, const void *data, size_t count, off64_t offset) {
    return write_at(descriptor, data, count, offset);
}

ssize_t pwrite(int descriptor, const void *data, size_t count, off_t offset) {
    return write_at(descriptor, data, count, offset);
}

ssize_t write(int descriptor, const void *data, size_t count) {
    char path[PATH_MAX];
    const char *name = descriptor == trace ? NULL : name_of(descriptor, path);
    if (!name) return REAL(write)(descriptor, data, count);
    pthread_mutex_lock(&lock);
    off64_t offset = lseek64(descriptor, 0, SEEK_CUR);
    ssize_t done = REAL(write)(descriptor, data, count);
    if (done > 0) note(WRITE, name, offset, data, (size_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate64(int descriptor, off64_t length) {
    char path[PATH_MAX];
    const char *name = name_of(descriptor, path);
    if (!name) return REAL(ftruncate64)(descriptor, length);
    pthread_mutex_lock(&lock);
    int status = REAL(ftruncate64)(descriptor, length);
    if (!status) note(TRUNCATE, name, length, NULL, 0);
    pthread_mutex_unlock(&lock);
    return status;
}

int ftruncate(int descriptor, off_t length) { return ftruncate64(descriptor, length); }

static int sync_with(int (*real)(int), int descriptor) {
    char path[PATH_MAX];
    const char *name = name_of(descriptor, path);
    if (!name) return real(descriptor);
    pthread_mutex_lock(&lock);
    int status = real(descriptor);
    if (!status) note(SYNC, name, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return status;
}

int fsync(int descriptor) { return sync_with(REAL(fsync), descriptor); }
int fdatasync(int descriptor) { return sync_with(REAL(fdatasync), descriptor); }

int unlink(const char *path) {
    const char *name = watched(path);
    if (!name) return REAL(unlink)(path);
    pthread_mutex_lock(&lock);
    int status = REAL(unlink)(path);
    if (!status) note(UNLINK, name, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return status;
}
