#ifndef LOOP_H
#define LOOP_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The event loop of one thread: libuv behind what Souk needs. All callbacks come from loop_run on the loop's own thread. Everything
 * but loop_wake must be called on that thread (or before it runs).
 */
struct loop;

/* Returns NULL (and logs) if the kernel refuses. */
struct loop *loop_new(void);

/* Runs until loop_stop. What is registered stays, so that its owners can free it after the run; the loop can run again. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* Closes and frees the loop with what is still registered; watches and timers of it are not to be touched afterwards. */
void loop_free(struct loop *loop);

/* Makes ${woken}(cookie) run on the loop soon. Callable from any thread and from signal handlers; several calls may become one. */
void loop_on_wake(struct loop *loop, void (*woken)(void *cookie), void *cookie);
void loop_wake(struct loop *loop);

/* Calls ${got_signal} on the loop when the process gets ${signum}. */
void loop_on_signal(struct loop *loop, int signum, void (*got_signal)(void *cookie, int signum), void *cookie);

/*
 * Hooks that run once in every turn, after all callbacks of ready descriptors and timers and before the loop sleeps, in ascending
 * ${order}. LOOP_HTTP first (it reads, answers and so makes calls), LOOP_STORE after it: gather during the turn, flush at its end.
 * A hook that returns true wants another turn without sleeping.
 */
enum loop_order { LOOP_HTTP, LOOP_FLOWS, LOOP_STORE, LOOP_LAST };
#define LOOP_HOOKS_MAX 16
void loop_each_turn(struct loop *loop, enum loop_order order, bool (*hook)(void *cookie), void *cookie);

/*
 * A descriptor to watch. The struct is the caller's and stays valid until loop_unwatch. The descriptor is closed by the caller, afterwards.
 * Returns NULL (and logs) if the kernel refuses. With a broken descriptor all watched events are reported: reading or writing then tells.
 */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_watch;
struct loop_watch *loop_watch(struct loop *loop, int fd, unsigned events, void (*ready)(void *cookie, unsigned events), void *cookie);
void loop_watch_change(struct loop_watch *watch, unsigned events);
void loop_unwatch(struct loop_watch *watch);

/* A timer that rings once each time it is set. Setting again replaces. loop_timer_new returns NULL when there is no memory. */
struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *loop, void (*rang)(void *cookie), void *cookie);
void loop_timer_set(struct loop_timer *timer, int64_t after_ms);
void loop_timer_clear(struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer);

/*
 * Asks the system's resolver for the addresses of the name ${host}, in a thread beside the loop. ${looked_up} is called once, in a later turn: with a
 * numeric address, or with NULL and what the resolver said instead (both valid during the call). Of a name with several addresses those of IPv4 come
 * first, and ${turn} says which one is told, counting around: who counts up tries all of them. Returns NULL if memory is short.
 * After loop_forget the call does not come. The resolver itself cannot be stopped: a question goes on for as long as resolv.conf grants it (timeout,
 * attempts), and loop_free waits for it. What was not forgotten must have come before loop_free.
 */
#define LOOP_ADDRESS_MAX 64
struct loop_lookup;
struct loop_lookup *loop_look_up(struct loop *loop, const char *host, unsigned turn,
                                 void (*looked_up)(void *cookie, const char *address, const char *error), void *cookie);
void loop_forget(struct loop_lookup *lookup);

#endif
