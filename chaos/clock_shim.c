/* A wall clock that can be set while a process runs: LD_PRELOAD it (cc -shared -fPIC -o shim.so clock_shim.c -ldl).
 *
 * CLOCK_STEP_FILE=FILE  of 16 bytes: nanoseconds that are added to the wall clock (signed), and how often a
 *                       clock was asked while that was not 0: the proof that it struck
 * CLOCK_STEP_ALL=1      the monotonic clocks are moved too, which no machine does: the control
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static struct step { int64_t ns; uint64_t asked; } *step;
static int moves_all;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CLOCK_STEP_FILE");
    real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    moves_all = getenv("CLOCK_STEP_ALL") != NULL;
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, sizeof *step, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED) step = found;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, now);
    if (status || !step || !(clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || moves_all)) return status;
    int64_t by = __atomic_load_n(&step->ns, __ATOMIC_RELAXED);
    if (!by) return status;
    __atomic_add_fetch(&step->asked, 1, __ATOMIC_RELAXED);
    now->tv_sec += by / 1000000000;
    now->tv_nsec += by % 1000000000;
    if (now->tv_nsec < 0) { now->tv_nsec += 1000000000; now->tv_sec--; }
    if (now->tv_nsec >= 1000000000) { now->tv_nsec -= 1000000000; now->tv_sec++; }
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *into) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (into) *into = precise.tv_sec;
    return precise.tv_sec;
}
