#ifndef LOG_H
#define LOG_H

/*
 * One line an event on standard error: time, level, program, text. A message says what was tried, on what, why it failed,
 * and what to do next. Safe from any thread.
 */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Names the program and sets the least urgent level that is written. */
void log_start(const char *program, enum log_level level);
void log_set_level(enum log_level level);
enum log_level log_level(void);
/* "error", "warn", "info", "debug" → level; returns -1 for any other text. */
int log_level_of(const char *text);

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

#endif
