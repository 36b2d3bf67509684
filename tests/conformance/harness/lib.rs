//! What the tests of conformance share: both name servers over plain zones, `dig` as the client, and every answer
//! read by two decoders that know nothing of each other or of us.

pub mod case;
pub mod certificate;
pub mod decode;
pub mod encrypted;
pub mod everywhere;
pub mod exchange;
pub mod peer;
pub mod question;
pub mod resolver;
pub mod routed;
pub mod samples;
pub mod signed;
pub mod site;
pub mod tap;
