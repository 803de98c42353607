#include "outcomes.h"

#define OUTCOME_DEFINE(name, code, title, status, retryable, after) const struct outcome OUTCOME_##name = {code, title, status, retryable, after};
OUTCOMES_SHOP(OUTCOME_DEFINE)
