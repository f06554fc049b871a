/* A disk that is slow or broken: LD_PRELOAD it (cc -shared -fPIC -o shim.so fsync_shim.c).
 *
 * FSYNC_DELAY_US=N     each fsync and fdatasync takes N microseconds longer
 * FSYNC_FAILS_IF=FILE  each fails with EIO while FILE exists, and adds a byte to it: the proof that it struck
 * WRITE_FAILS_IF=FILE  the same of pwrite, which journals write with
 *
 * The journal's benchmark measures with it, the journal's tests break disks with it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Whether an operation is to fail; errno says how. */
static int fails_by(const char *variable) {
    const char *fails = getenv(variable);
    int proof = fails ? open(fails, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
    if (proof < 0) return 0;
    ssize_t written = write(proof, ".", 1);
    (void)written;
    close(proof);
    errno = EIO;
    return 1;
}

static int sync_with(const char *name, int descriptor) {
    const char *delay = getenv("FSYNC_DELAY_US");
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (delay) usleep((useconds_t)atoi(delay));
    return fails_by("FSYNC_FAILS_IF") ? -1 : real(descriptor);
}

int fsync(int descriptor) { return sync_with("fsync", descriptor); }
int fdatasync(int descriptor) { return sync_with("fdatasync", descriptor); }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite64(int descriptor, const void *data, size_t count, off64_t offset) {
    return fails_by("WRITE_FAILS_IF") ? -1 : REAL(pwrite64)(descriptor, data, count, offset);
}

ssize_t pwrite(int descriptor, const void *data, size_t count, off_t offset) {
    return pwrite64(descriptor, data, count, offset);
}
