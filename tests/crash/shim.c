#undef _FORTIFY_SOURCE /* it defines in headers what this file stands in for */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "shim.h"

/*
 * LD_PRELOADed into one worker, the victim. It stands between the worker (with the libraries it uses) and the C library, and counts what crosses the
 * process' border: each function below that is a system call about sockets and files. Waiting (epoll_wait, poll) and asking for the time cross
 * nothing and are not counted. The C library's own use of the kernel inside of other functions (getaddrinfo, fopen) is not seen; it happens at a
 * worker's start.
 *
 *   caller ─▶ read() here ─▶ enter: the at-th? ─┬─ die before: SIGKILL ─┐
 *                                               ├─ fail: -1, errno      │
 *                                               ├─ short: one byte      │
 *                                               └─ the C library's read() ─▶ leave: die after: SIGKILL
 *
 * Allocations are counted apart (malloc and its like). A build with a sanitizer has its own malloc, and there that part is not compiled.
 */
#define EXPORT __attribute__((visibility("default")))

static struct shim_control nobody, *control = &nobody;

static void __attribute__((constructor)) shim_start(void)
{
    const char *path = getenv(SHIM_FILE_VARIABLE);
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *block;

    if (fd < 0)
        return;
    block = mmap(NULL, sizeof(struct shim_control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (block != MAP_FAILED)
        control = block;
    close(fd);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void copy_text(char *to, size_t size, const char *text, size_t len)
{
    len = len < size - 1 ? len : size - 1;
    memcpy(to, text, len);
    to[len] = '\0';
}

/* Fills in who called from ${caller}: the file's name without folder and endings, and the function. */
static void describe(struct shim_call *call, const char *name, uint32_t allows, const void *caller)
{
    Dl_info info = {.dli_fname = NULL};
    const char *file, *slash, *function;

    dladdr(caller, &info);
    file = info.dli_fname ? info.dli_fname : "?";
    function = info.dli_sname ? info.dli_sname : "?";
    slash = strrchr(file, '/');
    file = slash ? slash + 1 : file;
    copy_text(call->name, sizeof(call->name), name, strlen(name));
    copy_text(call->library, sizeof(call->library), file, strcspn(file, "."));
    copy_text(call->function, sizeof(call->function), function, strlen(function));
    call->allows = allows;
}

/* Counts one call in ${counter}. Returns whether this is the one to act upon (when ${acts}); then it is described for those outside. */
static bool is_the_one(_Atomic uint32_t *counter, struct shim_call *seen, uint32_t seen_max, bool acts, const char *name, uint32_t allows,
                       const void *caller)
{
    uint32_t number = atomic_fetch_add(counter, 1) + 1;

    if (control->action == SHIM_COUNT && number <= seen_max)
        describe(&seen[number - 1], name, allows, caller);
    if (!acts || number != control->at)
        return false;
    describe(&control->call, name, allows, caller);
    atomic_store(&control->acted, 1);
    return true;
}

/* What is to be done at this call: DIE_AFTER, FAIL, SHORT, or COUNT, which is nothing. */
static enum shim_action enter(const char *name, uint32_t allows, const void *caller)
{
    enum shim_action action = (enum shim_action)control->action;
    bool acts = action != SHIM_COUNT && action != SHIM_NO_MEMORY;

    atomic_fetch_add(&control->ever, 1);
    if (!atomic_load(&control->armed) || !is_the_one(&control->calls, control->calls_seen, SHIM_CALLS_MAX, acts, name, allows, caller))
        return SHIM_COUNT;
    if (action == SHIM_DIE_BEFORE)
        die();
    if ((action == SHIM_FAIL && !(allows & SHIM_CAN_FAIL)) || (action == SHIM_SHORT && !(allows & SHIM_CAN_BE_SHORT)))
        return SHIM_COUNT;
    return action;
}

static void *real(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);

    if (!function)
        abort();
    return function;
}

/* ---- after one byte ---- */

/*
 * The kernel gives less than asked for only when there is no more room or nothing more has come, and tells by epoll when that changes. Here there is
 * more at once, and an edge-triggered watch would never hear of it. So the watch is set again, which makes the kernel look and tell.
 */
#define DESCRIPTORS_MAX 1024
static struct {
    int epoll;
    struct epoll_event event;
    bool known;
} watched[DESCRIPTORS_MAX];

static void tell_again(int fd)
{
    static int (*real_epoll_ctl)(int, int, int, struct epoll_event *);
    int error = errno;

    if (!real_epoll_ctl)
        real_epoll_ctl = (int (*)(int, int, int, struct epoll_event *))real("epoll_ctl");
    if (fd >= 0 && fd < DESCRIPTORS_MAX && watched[fd].known)
        real_epoll_ctl(watched[fd].epoll, EPOLL_CTL_MOD, fd, &watched[fd].event);
    errno = error;
}

static void note_watch(int epoll, int op, int fd, const struct epoll_event *event)
{
    if (fd < 0 || fd >= DESCRIPTORS_MAX)
        return;
    watched[fd].known = op != EPOLL_CTL_DEL;
    watched[fd].epoll = epoll;
    if (event)
        watched[fd].event = *event;
}

/* The first byte of a list of buffers, as a list of one. */
static struct iovec *first_byte(const struct iovec *buffers, size_t count)
{
    static __thread struct iovec one;

    one = (struct iovec){NULL, 0};
    for (size_t i = 0; i < count && one.iov_len == 0; i++)
        one = (struct iovec){buffers[i].iov_base, buffers[i].iov_len > 0};
    return &one;
}

static struct msghdr *first_byte_of(const struct msghdr *message)
{
    static __thread struct msghdr one;

    one = *message;
    one.msg_iov = first_byte(message->msg_iov, message->msg_iovlen);
    one.msg_iovlen = 1;
    return &one;
}

#define ONE(len) ((len) > 1 ? 1 : (len))

/* ---- the calls ---- */

/* One call: what it returns, name, parameters, arguments; whether it can fail, and with what; whether it can be short, and its arguments then. */
#define CROSSING(type, name, parameters, arguments, allows, error, short_arguments) \
    EXPORT type name parameters \
    { \
        static type(*real_##name) parameters; \
        enum shim_action action = enter(#name, allows, __builtin_return_address(0)); \
        type result; \
\
        if (!real_##name) \
            real_##name = (type(*) parameters)real(#name); \
        if (action == SHIM_FAIL) { \
            errno = error; \
            return (type)-1; \
        } \
        if (action == SHIM_SHORT) { \
            result = real_##name short_arguments; \
            tell_again(fd); \
            return result; \
        } \
        result = real_##name arguments; \
        if (action == SHIM_DIE_AFTER) \
            die(); \
        return result; \
    }

#define CAN_BOTH (SHIM_CAN_FAIL | SHIM_CAN_BE_SHORT)

#pragma GCC diagnostic ignored "-Wmissing-prototypes" /* the C library declares some of them under other names */

CROSSING(ssize_t, read, (int fd, void *to, size_t len), (fd, to, len), CAN_BOTH, ECONNRESET, (fd, to, ONE(len)))
CROSSING(ssize_t, readv, (int fd, const struct iovec *to, int count), (fd, to, count), CAN_BOTH, ECONNRESET, (fd, first_byte(to, (size_t)count), 1))
CROSSING(ssize_t, recv, (int fd, void *to, size_t len, int flags), (fd, to, len, flags), CAN_BOTH, ECONNRESET, (fd, to, ONE(len), flags))
CROSSING(ssize_t, recvfrom, (int fd, void *to, size_t len, int flags, struct sockaddr *from, socklen_t *from_len),
         (fd, to, len, flags, from, from_len), CAN_BOTH, ECONNRESET, (fd, to, ONE(len), flags, from, from_len))
CROSSING(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags), CAN_BOTH, ECONNRESET,
         (fd, first_byte_of(message), flags))
CROSSING(ssize_t, write, (int fd, const void *from, size_t len), (fd, from, len), CAN_BOTH, EPIPE, (fd, from, ONE(len)))
CROSSING(ssize_t, writev, (int fd, const struct iovec *from, int count), (fd, from, count), CAN_BOTH, EPIPE, (fd, first_byte(from, (size_t)count), 1))
CROSSING(ssize_t, send, (int fd, const void *from, size_t len, int flags), (fd, from, len, flags), CAN_BOTH, EPIPE, (fd, from, ONE(len), flags))
CROSSING(ssize_t, sendto, (int fd, const void *from, size_t len, int flags, const struct sockaddr *to, socklen_t to_len),
         (fd, from, len, flags, to, to_len), CAN_BOTH, EPIPE, (fd, from, ONE(len), flags, to, to_len))
CROSSING(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags), CAN_BOTH, EPIPE,
         (fd, first_byte_of(message), flags))
CROSSING(ssize_t, sendfile, (int fd, int from, off_t *offset, size_t len), (fd, from, offset, len), CAN_BOTH, EPIPE, (fd, from, offset, ONE(len)))
CROSSING(ssize_t, sendfile64, (int fd, int from, off64_t *offset, size_t len), (fd, from, offset, len), CAN_BOTH, EPIPE, (fd, from, offset, ONE(len)))

/* Some of these cannot be short: the last argument is not used. */
#define CROSSING_WHOLE(name, parameters, arguments, error) CROSSING(int, name, parameters, arguments, SHIM_CAN_FAIL, error, arguments)
CROSSING_WHOLE(accept, (int fd, struct sockaddr *from, socklen_t *len), (fd, from, len), ENOMEM)
CROSSING_WHOLE(accept4, (int fd, struct sockaddr *from, socklen_t *len, int flags), (fd, from, len, flags), ENOMEM)
CROSSING_WHOLE(connect, (int fd, const struct sockaddr *to, socklen_t len), (fd, to, len), ECONNREFUSED)
CROSSING_WHOLE(shutdown, (int fd, int how), (fd, how), ENOTCONN)
CROSSING_WHOLE(setsockopt, (int fd, int level, int name, const void *value, socklen_t len), (fd, level, name, value, len), ENOMEM)
CROSSING_WHOLE(getsockopt, (int fd, int level, int name, void *value, socklen_t *len), (fd, level, name, value, len), ENOMEM)
CROSSING_WHOLE(getsockname, (int fd, struct sockaddr *name, socklen_t *len), (fd, name, len), ENOBUFS)
CROSSING_WHOLE(getpeername, (int fd, struct sockaddr *name, socklen_t *len), (fd, name, len), ENOTCONN)

/* ---- calls with a shape of their own ---- */

#define FIND(name) (real_function = real_function ? real_function : (__typeof__(&name))real(#name))

EXPORT int socket(int domain, int type, int protocol)
{
    static int (*real_function)(int, int, int);
    enum shim_action action = enter("socket", SHIM_CAN_FAIL, __builtin_return_address(0));
    int fd;

    if (action == SHIM_FAIL) {
        errno = EMFILE;
        return -1;
    }
    FIND(socket);
    fd = real_function(domain, type, protocol);
    if (action == SHIM_DIE_AFTER)
        die();
    return fd;
}

/* The mode, if there is one, stands behind the flags; a word too many does no harm. */
#define CROSSING_OPEN(name) \
    EXPORT int name(const char *path, int flags, ...) \
    { \
        static int (*real_function)(const char *, int, ...); \
        enum shim_action action = enter(#name, SHIM_CAN_FAIL, __builtin_return_address(0)); \
        va_list args; \
        unsigned mode; \
        int fd; \
\
        va_start(args, flags); \
        mode = va_arg(args, unsigned); \
        va_end(args); \
        if (action == SHIM_FAIL) { \
            errno = EMFILE; \
            return -1; \
        } \
        FIND(name); \
        fd = real_function(path, flags, mode); \
        if (action == SHIM_DIE_AFTER) \
            die(); \
        return fd; \
    }
CROSSING_OPEN(open)
CROSSING_OPEN(open64)

/* Only a new watch needs memory of the kernel; changing and removing one cannot fail. */
EXPORT int epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
    static int (*real_function)(int, int, int, struct epoll_event *);
    enum shim_action action = enter("epoll_ctl", op == EPOLL_CTL_ADD ? SHIM_CAN_FAIL : 0, __builtin_return_address(0));
    int result;

    if (action == SHIM_FAIL) {
        errno = ENOMEM;
        return -1;
    }
    FIND(epoll_ctl);
    result = real_function(epoll, op, fd, event);
    if (result == 0)
        note_watch(epoll, op, fd, event);
    if (action == SHIM_DIE_AFTER)
        die();
    return result;
}

/* A close that fails has closed all the same. */
static int close_with(int (*close_it)(int fd), int fd, enum shim_action action)
{
    int result = close_it(fd);

    if (fd >= 0 && fd < DESCRIPTORS_MAX)
        watched[fd].known = false;
    if (action == SHIM_DIE_AFTER)
        die();
    if (action != SHIM_FAIL)
        return result;
    errno = EIO;
    return -1;
}

EXPORT int close(int fd)
{
    static int (*real_function)(int);

    FIND(close);
    return close_with(real_function, fd, enter("close", SHIM_CAN_FAIL, __builtin_return_address(0)));
}

static long (*real_syscall(void))(long, ...)
{
    static long (*real_function)(long, ...);

    FIND(syscall);
    return real_function;
}

static int close_by_syscall(int fd)
{
    return (int)real_syscall()(SYS_close, fd);
}

/* libuv closes this way. */
EXPORT long syscall(long number, ...)
{
    long a[6];
    va_list args;

    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (number == SYS_close)
        return close_with(close_by_syscall, (int)a[0], enter("close", SHIM_CAN_FAIL, __builtin_return_address(0)));
    return real_syscall()(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* What comes behind the request is one word, or nothing; a word too many does no harm. */
#define CROSSING_WITH_WORD(name, request_type) \
    EXPORT int name(int fd, request_type request, ...) \
    { \
        static int (*real_function)(int, request_type, ...); \
        enum shim_action action = enter(#name, SHIM_CAN_FAIL, __builtin_return_address(0)); \
        va_list args; \
        void *word; \
        int result; \
\
        va_start(args, request); \
        word = va_arg(args, void *); \
        va_end(args); \
        if (action == SHIM_FAIL) { \
            errno = ENOMEM; \
            return -1; \
        } \
        FIND(name); \
        result = real_function(fd, request, word); \
        if (action == SHIM_DIE_AFTER) \
            die(); \
        return result; \
    }
CROSSING_WITH_WORD(fcntl, int)
CROSSING_WITH_WORD(fcntl64, int)
CROSSING_WITH_WORD(ioctl, unsigned long)

/* ---- time ---- */

EXPORT int clock_gettime(clockid_t which, struct timespec *now)
{
    static int (*real_function)(clockid_t, struct timespec *);
    int result;

    FIND(clock_gettime);
    result = real_function(which, now);

    if (atomic_load(&control->skipping) && which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE) {
        now->tv_sec += control->skip_ms / 1000;
        now->tv_nsec += control->skip_ms % 1000 * 1000000L;
        now->tv_sec += now->tv_nsec / 1000000000L;
        now->tv_nsec %= 1000000000L;
    }
    return result;
}

/* ---- memory ---- */

#ifndef SHIM_WITHOUT_MEMORY

/* The C library's own, under the names that it exports for this. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

/* Is this allocation to fail? */
static bool is_refused(const char *name, const void *caller)
{
    if (!atomic_load(&control->armed) || !is_the_one(&control->allocations, control->allocations_seen, SHIM_ALLOCATIONS_MAX,
                                                     control->action == SHIM_NO_MEMORY, name, SHIM_CAN_FAIL, caller))
        return false;
    errno = ENOMEM;
    return true;
}
#define IS_REFUSED(name) is_refused(name, __builtin_return_address(0))

EXPORT void *malloc(size_t size)
{
    return IS_REFUSED("malloc") ? NULL : __libc_malloc(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
    return IS_REFUSED("calloc") ? NULL : __libc_calloc(count, size);
}

EXPORT void *realloc(void *memory, size_t size)
{
    return IS_REFUSED("realloc") ? NULL : __libc_realloc(memory, size);
}

EXPORT void *reallocarray(void *memory, size_t count, size_t size)
{
    size_t bytes;

    if (IS_REFUSED("reallocarray") || __builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(memory, bytes);
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    return IS_REFUSED("memalign") ? NULL : __libc_memalign(alignment, size);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return IS_REFUSED("aligned_alloc") ? NULL : __libc_memalign(alignment, size);
}

EXPORT int posix_memalign(void **memory, size_t alignment, size_t size)
{
    void *piece = IS_REFUSED("posix_memalign") ? NULL : __libc_memalign(alignment, size);

    if (!piece)
        return ENOMEM;
    *memory = piece;
    return 0;
}

#endif
