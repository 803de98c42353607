#ifndef CHECK_H
#define CHECK_H

/*
 * CHECK(condition): a bug, not an error. When the condition is false the process prints where, what, and whatever
 * check_note() last described for this thread, then aborts. Active in every build: a worker that is killed loses
 * nothing, a worker that goes on after a bug may.
 */
#define CHECK(condition) (__builtin_expect(!!(condition), 1) ? (void)0 : check_failed(#condition, __FILE__, __LINE__, __func__))

void check_failed(const char *condition, const char *file, int line, const char *function) __attribute__((noreturn, cold));

/* Remembers ${text} (borrowed; it must stay valid until the next call) as what this thread is busy with. Cannot fail. */
void check_note(const char *text);

#endif
