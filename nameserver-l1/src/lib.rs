//! First level: the client's network to a placement to tokens in SRV records.
