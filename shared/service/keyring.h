#ifndef KEYRING_H
#define KEYRING_H

#include "tokens.h"

/*
 * The file of the callers' tokens, as of now. A thread of its own looks at it every second, so no loop waits for a disk: a file that has changed is
 * read, and each worker thread takes what came of it at its next tick. So tokens are exchanged without a restart. A changed file that is not as it
 * must be is logged, and what was before stays.
 */
struct keyring;

/* Reads ${path}. Returns NULL, having logged why, if it is not as it must be. ${path} is borrowed. */
struct keyring *keyring_open(const char *path);
/* Every thread has given back what it held. NULL: does nothing. */
void keyring_close(struct keyring *keyring);

/*
 * What is in the file, to be held until it is given back: ${held} is what the thread has (NULL: nothing) and is given back, unless it is what is in
 * the file. keyring_drop gives back the last.
 */
const struct tokens *keyring_take(struct keyring *keyring, const struct tokens *held);
void keyring_drop(struct keyring *keyring, const struct tokens *held);

/* Is what is in the file in use? false: the last change of it was refused. */
bool keyring_is_current(struct keyring *keyring);

#endif
