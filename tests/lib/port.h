#ifndef PORT_H
#define PORT_H

/*
 * A port of 127.0.0.1 for a server of a test, the same over its restarts. It lies below the kernel's own range (32768 …), so that no outgoing
 * connection takes it while the server is dead, and it is locked, so that no test beside this one chooses it.
 */
struct port {
    int number, lock;
};

/* Aborts, saying so, if no port is free. */
struct port port_take(void);
void port_release(const struct port *port);

#endif
