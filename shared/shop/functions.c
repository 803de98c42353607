#include "functions.h"

#define FUNCTION_DEFINE(id, name, writes, changes) const struct function FN_##id = {name, writes, changes};
FUNCTIONS(FUNCTION_DEFINE)
