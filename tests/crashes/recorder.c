/* Preloaded into a program: writes down, in order, all that it does to files below JOULEBOOK_RECORD_ROOT.
 *
 * A record is: kind, descriptor (i32), place (i64), length (u32), then that many bytes. The lock is held over
 * the call and its record, so records are in the order in which calls took effect.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define DESCRIPTORS 65536
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char watched[DESCRIPTORS];
static char root[PATH_MAX];
static size_t root_length;
static int out = -1;

__attribute__((constructor)) static void begin(void) {
    const char *where = getenv("JOULEBOOK_RECORD_ROOT"), *to = getenv("JOULEBOOK_RECORD_TO");
    if (where == NULL || to == NULL || realpath(where, root) == NULL) return;
    int fd = syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    out = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 1000);
    syscall(SYS_close, fd);
    root_length = strlen(root);
}

static void all(const void *data, size_t length) {
    for (const char *at = data; length > 0;) {
        ssize_t done = syscall(SYS_write, out, at, length);
        if (done <= 0) abort();
        at += done;
        length -= done;
    }
}

static void note(char kind, int fd, int64_t place, const void *data, uint32_t length) {
    char head[17];
    int32_t number = fd;
    head[0] = kind;
    memcpy(head + 1, &number, 4);
    memcpy(head + 5, &place, 8);
    memcpy(head + 13, &length, 4);
    all(head, sizeof head);
    all(data, length);
}

/* The path below the root, or NULL for any other. */
static const char *below(int directory, const char *path, char *into) {
    char whole[2 * PATH_MAX];
    if (out < 0) return NULL;
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else {
        char link[64];
        if (directory == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        ssize_t length = readlink(link, whole, PATH_MAX);
        if (length < 0) return NULL;
        snprintf(whole + length, sizeof whole - length, "/%s", path);
    }
    if (strncmp(whole, root, root_length) != 0) return NULL;
    if (whole[root_length] != '/' && whole[root_length] != 0) return NULL;
    snprintf(into, PATH_MAX, "%s", whole + root_length);
    return into;
}

static void note_path(char kind, int fd, int64_t place, const char *path) {
    note(kind, fd, place, path, strlen(path));
}

static int is_ours(int fd) { return fd >= 0 && fd < DESCRIPTORS && watched[fd]; }

static int opened(int directory, const char *path, int flags, mode_t mode) {
    char name[PATH_MAX];
    if (below(directory, path, name) == NULL) return syscall(SYS_openat, directory, path, flags, mode);
    pthread_mutex_lock(&lock);
    int fd = syscall(SYS_openat, directory, path, flags, mode), failed = errno;
    if (fd >= 0 && fd < DESCRIPTORS) {
        watched[fd] = 1;
        note_path('o', fd, flags, name);
    }
    pthread_mutex_unlock(&lock);
    errno = failed;
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }
int __open_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __openat_2(int at, const char *path, int flags) { return opened(at, path, flags, 0); }
int __openat64_2(int at, const char *path, int flags) { return opened(at, path, flags, 0); }
int creat(const char *path, mode_t mode) {
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int close(int fd) {
    if (!is_ours(fd)) return syscall(SYS_close, fd);
    pthread_mutex_lock(&lock);
    watched[fd] = 0;
    note('c', fd, 0, "", 0);
    int done = syscall(SYS_close, fd), failed = errno;
    pthread_mutex_unlock(&lock);
    errno = failed;
    return done;
}

/* What a descriptor's file has at a place now. */
static void note_written(int fd, off_t place, size_t length) {
    char link[64], *data = malloc(length);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int reader = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
    for (size_t have = 0; have < length;) {
        ssize_t more = syscall(SYS_pread64, reader, data + have, length - have, place + have);
        if (more <= 0) abort();
        have += more;
    }
    syscall(SYS_close, reader);
    note('w', fd, place, data, length);
    free(data);
}

#define WRITES(fd, call, record) \
    if (!is_ours(fd)) return call; \
    pthread_mutex_lock(&lock); \
    ssize_t done = call; \
    int failed = errno; \
    if (done > 0) record; \
    pthread_mutex_unlock(&lock); \
    errno = failed; \
    return done;
#define BEGAN(fd) (lseek(fd, 0, SEEK_CUR) - done)

ssize_t write(int fd, const void *data, size_t length) {
    WRITES(fd, syscall(SYS_write, fd, data, length), note('w', fd, BEGAN(fd), data, done))
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t place) {
    WRITES(fd, syscall(SYS_pwrite64, fd, data, length, place), note('w', fd, place, data, done))
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t place) {
    return pwrite(fd, data, length, place);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    WRITES(fd, syscall(SYS_writev, fd, parts, count), note_written(fd, BEGAN(fd), done))
}
ssize_t sendfile(int fd, int from, off_t *offset, size_t length) {
    WRITES(fd, syscall(SYS_sendfile, fd, from, offset, length), note_written(fd, BEGAN(fd), done))
}
ssize_t sendfile64(int fd, int from, off64_t *offset, size_t length) {
    return sendfile(fd, from, offset, length);
}
ssize_t copy_file_range(int from, off64_t *offset, int fd, off64_t *to, size_t length, unsigned flags) {
    if (is_ours(fd) && to != NULL) abort();
    WRITES(fd, syscall(SYS_copy_file_range, from, offset, fd, to, length, flags),
           note_written(fd, BEGAN(fd), done))
}

#define CHANGES(is_one, call, record) \
    if (!(is_one)) return call; \
    pthread_mutex_lock(&lock); \
    int done = call, failed = errno; \
    if (done == 0) record; \
    pthread_mutex_unlock(&lock); \
    errno = failed; \
    return done;

int fsync(int fd) { CHANGES(is_ours(fd), syscall(SYS_fsync, fd), note('s', fd, 0, "", 0)) }
int fdatasync(int fd) { CHANGES(is_ours(fd), syscall(SYS_fdatasync, fd), note('s', fd, 0, "", 0)) }
int ftruncate(int fd, off_t size) {
    CHANGES(is_ours(fd), syscall(SYS_ftruncate, fd, size), note('t', fd, size, "", 0))
}
int ftruncate64(int fd, off64_t size) {
    CHANGES(is_ours(fd), syscall(SYS_ftruncate, fd, size), note('t', fd, size, "", 0))
}
int fallocate(int fd, int mode, off_t place, off_t length) {
    CHANGES(is_ours(fd), syscall(SYS_fallocate, fd, mode, place, length),
            note('p', mode, place, &length, sizeof length))
}
int fallocate64(int fd, int mode, off64_t place, off64_t length) { return fallocate(fd, mode, place, length); }

#define NAMED(at, path, call, kind) \
    char name[PATH_MAX]; \
    CHANGES(below(at, path, name), call, note_path(kind, -1, 0, name))

int mkdir(const char *path, mode_t mode) { NAMED(AT_FDCWD, path, syscall(SYS_mkdirat, AT_FDCWD, path, mode), 'm') }
int mkdirat(int at, const char *path, mode_t mode) { NAMED(at, path, syscall(SYS_mkdirat, at, path, mode), 'm') }
int unlink(const char *path) { NAMED(AT_FDCWD, path, syscall(SYS_unlinkat, AT_FDCWD, path, 0), 'u') }
int unlinkat(int at, const char *path, int flags) { NAMED(at, path, syscall(SYS_unlinkat, at, path, flags), 'u') }
int rmdir(const char *path) { NAMED(AT_FDCWD, path, syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR), 'u') }
int remove(const char *path) {
    struct stat found;
    int flags = lstat(path, &found) == 0 && S_ISDIR(found.st_mode) ? AT_REMOVEDIR : 0;
    return unlinkat(AT_FDCWD, path, flags);
}

static int moved(char kind, int at, const char *path, int to_at, const char *to, unsigned flags) {
    char name[2 * PATH_MAX], other[PATH_MAX];
    int is_one = below(at, path, name) && below(to_at, to, other);
    if (is_one) {
        strcat(name, "\n");
        strcat(name, other);
    }
    long number = kind == 'r' ? SYS_renameat2 : SYS_linkat;
    CHANGES(is_one, syscall(number, at, path, to_at, to, flags), note_path(kind, -1, flags, name))
}

int rename(const char *path, const char *to) { return moved('r', AT_FDCWD, path, AT_FDCWD, to, 0); }
int renameat(int at, const char *path, int to_at, const char *to) { return moved('r', at, path, to_at, to, 0); }
int link(const char *path, const char *to) { return moved('l', AT_FDCWD, path, AT_FDCWD, to, 0); }
int linkat(int at, const char *path, int to_at, const char *to, int flags) {
    return moved('l', at, path, to_at, to, flags);
}
