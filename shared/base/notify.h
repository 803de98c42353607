#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Tells the service manager that started this process how it does: systemd's protocol, sd_notify(3), one datagram to the socket that $NOTIFY_SOCKET
 * names. It is small and promised to stay, so it is spoken here; libsystemd would be one more library in every worker. Nothing ever blocks or fails
 * by it.
 */

/* Did a service manager ask to be told? */
bool notify_wanted(void);

/* Sends the assignments, with line ends between: "READY=1\nSTATUS=…". Does nothing if nobody asked; what cannot be sent is dropped. */
void notify_send(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The time within which a "WATCHDOG=1" must be sent, again and again; 0: nobody waits for any. */
int64_t notify_watchdog_us(void);

#endif
