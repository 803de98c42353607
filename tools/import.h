#ifndef IMPORT_H
#define IMPORT_H

/*
 * soukctl import: sends a file of products, one JSON object on each line, to POST /products/import of a catalogue worker.
 *
 *   FILE ─▶ chunks, cut at line ends ─▶ some requests at a time ─▶ result lines ─▶ progress, FILE.rejected
 *
 * The n-th chunk of a run has the key RUN-n, and how a file is cut follows from its bytes alone. So a run that was interrupted goes on when it is
 * started again with its name: chunks that were done are answered as before and are not done twice.
 */
struct import_settings {
    const char *url;  /* of the worker: "http://127.0.0.1:8080" */
    const char *run;  /* the name of the run to go on with; "": a new one */
    const char *file; /* "-": standard input */
    const char *token; /* the caller's, for the worker; NULL: none */
};

/*
 * Returns the exit status: 0 all products were taken, 1 some were not (or it was interrupted), 2 the file cannot be read. Says on stderr what
 * happened.
 */
int import_run(const struct import_settings *settings);

#endif
