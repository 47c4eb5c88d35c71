/**
 * Will hold the process lifecycle, the HTTP server and the durable engines.
 *
 * @since 0.1.0
 */
export {}
