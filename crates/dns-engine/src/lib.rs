//! Answers DNS queries: zone files in, query bytes in, response bytes out.
