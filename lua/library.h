#ifndef LIBRARY_H
#define LIBRARY_H

#include "store.h"

/*
 * The function libraries made from the Lua files of this folder, for store_settings.libraries: [0] holds the functions of calls, its name and
 * functions end in its hash; [1] is souk_operator, with a stable name, for people.
 */
#define SOUK_LIBRARY_COUNT 2
extern const struct library SOUK_LIBRARIES[SOUK_LIBRARY_COUNT];

#endif
