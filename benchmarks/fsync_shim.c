/* A disk that is slow or broken, as far as fsync tells: LD_PRELOAD it (cc -shared -fPIC -o shim.so fsync_shim.c).
 *
 * FSYNC_DELAY_US=N     each fsync and fdatasync takes N microseconds longer
 * FSYNC_FAILS_IF=FILE  each fails with EIO while FILE exists, and adds a byte to it: the proof that it struck
 *
 * The journal's benchmark measures with it, the journal's tests break disks with it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int sync_with(const char *name, int descriptor) {
    const char *delay = getenv("FSYNC_DELAY_US"), *fails = getenv("FSYNC_FAILS_IF");
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (delay) usleep((useconds_t)atoi(delay));
    if (fails) {
        int proof = open(fails, O_WRONLY | O_APPEND | O_CLOEXEC);
        if (proof >= 0) {
            ssize_t written = write(proof, ".", 1);
            (void)written;
            close(proof);
            errno = EIO;
            return -1;
        }
    }
    return real(descriptor);
}

int fsync(int descriptor) { return sync_with("fsync", descriptor); }
int fdatasync(int descriptor) { return sync_with("fdatasync", descriptor); }
