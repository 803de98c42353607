#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

#include "notify.h"

bool notify_wanted(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    return path && (*path == '/' || *path == '@') && strlen(path) < sizeof(((struct sockaddr_un *)0)->sun_path);
}

/* A name that begins with @ is an abstract one: in the kernel's table it begins with a zero byte. */
static socklen_t address_of(const char *path, struct sockaddr_un *address)
{
    size_t len = strlen(path);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, len);
    if (*path == '@')
        address->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

void notify_send(const char *format, ...)
{
    char text[512];
    struct sockaddr_un address;
    va_list args;
    if (!notify_wanted())
        return;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t address_len = address_of(getenv("NOTIFY_SOCKET"), &address);
    size_t size = (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
    if (len > 0 && sendto(fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address, address_len) < 0)
        log_debug("the service manager at %s could not be told: %s", getenv("NOTIFY_SOCKET"), strerror(errno));
    close(fd);
}

int64_t notify_watchdog_us(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    bool ours = pid == NULL || strtoll(pid, NULL, 10) == (long long)getpid();
    long long us = usec && ours ? strtoll(usec, NULL, 10) : 0;
    return notify_wanted() && us > 0 ? us : 0;
}
