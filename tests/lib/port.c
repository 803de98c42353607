#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "port.h"

#define PORT_FIRST 20000
#define PORT_COUNT 12000

static bool port_is_free(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    bool is_free;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    is_free = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return is_free;
}

/* A port belongs to the test that has bound an abstract socket of this name, until it closes it or dies. So tests that run beside each other never
 * choose the same one, also while its worker is dead. */
static int lock_port(int port)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int len = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "souk-test-port-%d", port);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && bind(fd, (struct sockaddr *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

struct port port_take(void)
{
    struct timespec now;
    struct port port;

    clock_gettime(CLOCK_MONOTONIC, &now);
    long first = (now.tv_nsec / 1000 * 31 + getpid() * 97L) % PORT_COUNT;
    for (int i = 0; i < PORT_COUNT; i++) {
        port.number = (int)(PORT_FIRST + (first + i) % PORT_COUNT);
        port.lock = lock_port(port.number);
        if (port.lock >= 0 && port_is_free(port.number))
            return port;
        port_release(&port);
    }
    fprintf(stderr, "none of the ports %d to %d is free\n", PORT_FIRST, PORT_FIRST + PORT_COUNT - 1);
    abort();
}

void port_release(const struct port *port)
{
    if (port->lock >= 0)
        close(port->lock);
}
