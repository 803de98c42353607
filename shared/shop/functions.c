#include "functions.h"

#define FUNCTION_DEFINE(id, name, writes) const struct function FN_##id = {name, writes};
FUNCTIONS(FUNCTION_DEFINE)
