//! What the RFCs ask of an authoritative name server, one file each, asked by `dig` of both levels.

mod rfc1034;
mod rfc1035;
mod rfc2181;
mod rfc2308;
mod rfc2782;
mod rfc3597;
mod rfc4343;
mod rfc4592;
mod rfc5001;
mod rfc6672;
mod rfc6891;
mod rfc7766;
mod rfc7871;
mod rfc8020;
mod rfc8482;
mod rfc8906;
mod rfc8914;
mod rfc9460;
mod rfc9471;
mod rfc9660;
