#ifndef PRODUCT_CHANGE_H
#define PRODUCT_CHANGE_H

#include "product.h"

/* What a merge patch (RFC 7396) changes of a product: bound, and so checked as far as it can be without the product. */
struct product_change {
    struct product_body body; /* without stock; what is not given stays */
    bool drops_attributes;
};

/* Reads a patch. What is wrong with it is added to ${faults}; returns false if anything is. Borrows from ${document}. */
bool change_read(struct product_change *change, const struct value *document, struct faults *faults);

/*
 * Applies the change to the stored document ${before}. CHANGE_FAULTY: ${faults} says why the product would not be acceptable. CHANGE_BROKEN: the
 * stored document is damaged. ${after} lies in the arena of ${faults}, and may borrow from ${before}.
 */
enum change_result { CHANGE_OK, CHANGE_FAULTY, CHANGE_BROKEN };
enum change_result change_apply(const struct product_change *change, struct view before, struct view *after, struct faults *faults);

#endif
