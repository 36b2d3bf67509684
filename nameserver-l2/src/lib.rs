//! Second level: a token to a live edge set in A and AAAA records.
