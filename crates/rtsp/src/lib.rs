//! RTSP messages, session rules, session descriptions and the handoff ticket.
