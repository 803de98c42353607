#include "library.h"
#include "service.h"

#include "product.h"

/* An import shares its shards with everything else, and with others. */
#define IMPORT_DEADLINE_MS 20000

/* Stock is always live: those answers are not kept and so are marked no-store. */
static const struct route ROUTES[] = {
    {METHOD_GET, "/products", &PRODUCT_LIST_FLOW, NULL, ROUTE_NEAR_RANGE, 0, "ids|limit|cursor"},
    {METHOD_POST, "/products", &PRODUCT_CREATE_FLOW, &PRODUCT_BODY, ROUTE_KEY, 0, NULL},
    {METHOD_POST, "/products/import", &PRODUCT_IMPORT_FLOW, NULL, ROUTE_KEY | ROUTE_BULK, IMPORT_DEADLINE_MS, NULL},
    {METHOD_GET, "/products/{id}", &PRODUCT_READ_FLOW, NULL, ROUTE_NEAR_RECORD, 0, NULL},
    {METHOD_PUT, "/products/{id}", &PRODUCT_PUT_FLOW, &PRODUCT_BODY, ROUTE_IF_MATCH, 0, NULL},
    {METHOD_PATCH, "/products/{id}", &PRODUCT_PATCH_FLOW, NULL, ROUTE_IF_MATCH | ROUTE_RAW, 0, NULL},
    {METHOD_DELETE, "/products/{id}", &PRODUCT_DELETE_FLOW, NULL, ROUTE_IF_MATCH, 0, NULL},
    {METHOD_GET, "/products/{id}/stock", &STOCK_READ_FLOW, NULL, 0, 0, NULL},
    {METHOD_POST, "/products/{id}/stock-adjustments", &STOCK_ADJUST_FLOW, &ADJUST_BODY, ROUTE_KEY, 0, NULL},
    {METHOD_GET, "/products/{id}/stock-movements", &STOCK_MOVES_FLOW, NULL, 0, 0, "limit|cursor"},
};

static const struct service_program PROGRAM = {
    .name = "souk-product",
    .preset_port = 8080,
    .routes = ROUTES,
    .route_count = sizeof(ROUTES) / sizeof(*ROUTES),
    .libraries = SOUK_LIBRARIES,
    .library_count = SOUK_LIBRARY_COUNT,
    .catalogue = true,
    .near_kind = "product",
};

int main(int argc, char **argv)
{
    return service_main(&PROGRAM, argc, argv);
}
