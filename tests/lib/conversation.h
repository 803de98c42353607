#ifndef CONVERSATION_H
#define CONVERSATION_H

/*
 * Runs conversations (tests/flow/README.md) one after another. Files that begin with the same `start` line share one running Souk; whatever one of
 * them killed runs again before the next. Each prints one line, and each failure file, line, what was asked and what came. Returns the number of
 * files that failed, counting a Souk that did not end well as one.
 */
unsigned conversation_run(const char *const *files, int count);

#endif
