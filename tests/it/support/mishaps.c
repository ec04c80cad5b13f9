/*
 * What may befall a disk and a clock, on command: preloaded into a process, and told what to do by files in the folder
 * that MISHAPS names.
 *
 *   full       there is no room for anything more to be written
 *   broken     nothing can be written, and nothing be synced
 *   unsynced   nothing can be synced
 *   last       holds a number: at that write, counted from when this file appeared, the process is killed half way
 *   synced/    whatever is synced is copied there as it is then: all that a loss of power would leave
 *   clock      holds seconds by which the wall clock is ahead, or after a `=` those at which it stands
 *
 * All but the last is about the database: files whose path holds `refrain.db`.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Returns whether there is a file of this name, and what it holds. */
static int told(const char *name, char text[32]) {
    int before = errno, is_there = 0;
    char path[PATH_MAX];
    const char *folder = getenv("MISHAPS");
    if (folder) {
        snprintf(path, sizeof path, "%s/%s", folder, name);
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            ssize_t length = read(file, text, 31);
            text[length > 0 ? length : 0] = 0;
            close(file);
            is_there = 1;
        }
    }
    errno = before;
    return is_there;
}

static int is_told(const char *name) {
    char text[32];
    return told(name, text);
}

/* Returns the path of an open file of the database, or nothing for any other. */
static const char *database(int file, char path[PATH_MAX]) {
    int before = errno;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    errno = before;
    return strstr(path, "refrain.db") ? path : NULL;
}

/* Returns why this write fails, or 0; and how much of it is written before the process ends, where it is the last. */
static int write_fails(int file, size_t *length, int *is_last) {
    static atomic_int writes;
    char path[PATH_MAX], text[32];
    *is_last = 0;
    if (!database(file, path)) return 0;
    if (is_told("full")) return ENOSPC;
    if (is_told("broken")) return EIO;
    if (!told("last", text)) {
        atomic_store(&writes, 0);
    } else if (atomic_fetch_add(&writes, 1) + 1 >= atoi(text)) {
        *is_last = 1;
        *length /= 2;
    }
    return 0;
}

#define WRITE(call)                                                                                                    \
    do {                                                                                                               \
        int is_last, error = write_fails(file, &length, &is_last);                                                     \
        if (error) {                                                                                                   \
            errno = error;                                                                                             \
            return -1;                                                                                                 \
        }                                                                                                              \
        ssize_t written = (call);                                                                                      \
        if (is_last) kill(getpid(), SIGKILL);                                                                          \
        return written;                                                                                                \
    } while (0)

ssize_t write(int file, const void *bytes, size_t length) { WRITE(syscall(SYS_write, file, bytes, length)); }

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) {
    WRITE(syscall(SYS_pwrite64, file, bytes, length, at));
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) { return pwrite64(file, bytes, length, at); }

/* Copies what has reached the disk. Reads by the same descriptor: closing another one would end SQLite's locks. */
static void copy(int file, const char *path) {
    char name[PATH_MAX], part[PATH_MAX + 8];
    snprintf(name, sizeof name, "%s/synced/%s", getenv("MISHAPS"), strrchr(path, '/') + 1);
    snprintf(part, sizeof part, "%s.part", name);
    int into = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (into < 0) return;
    off_t at = 0;
    while (sendfile(into, file, &at, 1 << 20) > 0) {}
    close(into);
    rename(part, name);
}

static int synced(int file, long call) {
    char path[PATH_MAX];
    int is_database = database(file, path) != NULL;
    if (is_database && (is_told("broken") || is_told("unsynced"))) {
        errno = EIO;
        return -1;
    }
    int done = syscall(call, file);
    if (done == 0 && is_database && is_told("synced")) copy(file, path);
    return done;
}

int fsync(int file) { return synced(file, SYS_fsync); }

int fdatasync(int file) { return synced(file, SYS_fdatasync); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    char text[32];
    int done = syscall(SYS_clock_gettime, clock, now);
    if (done == 0 && clock == CLOCK_REALTIME && told("clock", text)) {
        if (text[0] == '=') {
            now->tv_sec = atoll(text + 1);
            now->tv_nsec = 0;
        } else {
            now->tv_sec += atoll(text);
        }
    }
    return done;
}
