//! Carries DNS messages: batched UDP and TCP sockets around one answer function.
