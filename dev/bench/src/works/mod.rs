//! What is asked of the servers: for each work its zone, its questions, and the oracle that knows the right answers.

pub(crate) mod geo;
pub(crate) mod signed;
pub(crate) mod statics;
pub(crate) mod tokens;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::SRV;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{RData, Record};

/// Priority, weight, port and target.
type Srv = (u16, u16, u16, String);

/// Reads an answer with a decoder that is not ours.
fn decode(answer: &[u8]) -> Result<Message, String> {
    Message::from_vec(answer).map_err(|error| format!("it does not decode: {error}"))
}

fn srv(record: &Record) -> Option<Srv> {
    match &record.data {
        RData::SRV(SRV {
            priority,
            weight,
            port,
            target,
            ..
        }) => Some((*priority, *weight, *port, target.to_ascii())),
        _ => None,
    }
}

/// The scope of the client subnet that an answer is for.
fn scope(message: &Message) -> Option<u8> {
    match message.edns.as_ref()?.option(EdnsCode::Subnet)? {
        EdnsOption::Subnet(subnet) => Some(subnet.scope_prefix()),
        _ => None,
    }
}

/// `Ok` if they are the same, else what is there and what should be.
fn same<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{found:?} instead of {expected:?}"))
}
