//! Asks over UDP and decodes with an independent library (hickory-proto), for tests that ask thousands of
//! times, which is too often for `dig`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{
        Name, RData,
        rdata::opt::{ClientSubnet, EdnsCode, EdnsOption},
    },
};
use traffic_map::Subnet;

pub use hickory_proto::{op::ResponseCode, rr::RecordType};

/// How long an answer may take on loopback before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// NOERROR, NXDOMAIN, …
    pub rcode: ResponseCode,
    /// The AA bit.
    pub authoritative: bool,
    /// The SRV records of the answer section, in order.
    pub srv: Vec<Srv>,
    /// The A and AAAA records of the answer section, in order.
    pub addresses: Vec<IpAddr>,
    /// The ECS scope; `None` without the option.
    pub scope: Option<u8>,
}

/// An SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Seconds.
    pub ttl: u32,
    /// Lower is tried first.
    pub priority: u16,
    /// Share among equal priorities.
    pub weight: u16,
    /// Port of the service.
    pub port: u16,
    /// With the final dot.
    pub target: String,
}

/// A client's socket. Its methods panic when the server does not answer, or not to the question.
#[derive(Debug)]
pub struct Wire {
    socket: UdpSocket,
    server: SocketAddr,
    next_id: u16,
}

impl Wire {
    /// Asks this server from a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When no socket can be had.
    pub fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port of loopback");
        socket.connect(server).expect("a route to loopback");
        let timeout = socket.set_read_timeout(Some(PATIENCE));
        timeout.expect("a time-out that is not zero");
        Self {
            socket,
            server,
            next_id: 0,
        }
    }

    /// Asks one question, with a client subnet if there is one.
    ///
    /// # Panics
    /// When no answer comes in time, or one that does not repeat id, question and client subnet.
    pub fn ask(&mut self, name: &str, rtype: RecordType, subnet: Option<Subnet>) -> Answer {
        self.next_id = self.next_id.wrapping_add(1);
        let question = Query::query(Name::from_ascii(name).expect("a name"), rtype);
        let message = message(self.next_id, question.clone(), subnet);
        let octets = message.to_vec().expect("a message that can be written");
        self.socket.send(&octets).expect("a datagram is sent");
        let mut buffer = [0; 4096];
        let length = match self.socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) => panic!("{} does not answer {name} {rtype}: {error}", self.server),
        };
        let reply = Message::from_vec(&buffer[..length]).expect("an answer that can be read");
        assert_eq!(reply.metadata.id, self.next_id, "{name}");
        assert_eq!(reply.metadata.message_type, MessageType::Response, "{name}");
        assert_eq!(reply.queries, [question], "the question is repeated");
        assert!(!reply.metadata.truncation, "{name} {subnet:?}");
        answer(&reply, subnet)
    }
}

fn message(id: u16, question: Query, subnet: Option<Subnet>) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(question);
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    if let Some(subnet) = subnet.map(Subnet::normalized) {
        let option = ClientSubnet::new(subnet.address, subnet.len, 0);
        edns.options_mut().insert(EdnsOption::Subnet(option));
    }
    message.set_edns(edns);
    message
}

fn answer(reply: &Message, subnet: Option<Subnet>) -> Answer {
    let mut answer = Answer {
        rcode: reply.metadata.response_code,
        authoritative: reply.metadata.authoritative,
        srv: Vec::new(),
        addresses: Vec::new(),
        scope: None,
    };
    for record in &reply.answers {
        match &record.data {
            RData::SRV(srv) => answer.srv.push(Srv {
                ttl: record.ttl,
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_ascii(),
            }),
            RData::A(address) => answer.addresses.push(address.0.into()),
            RData::AAAA(address) => answer.addresses.push(address.0.into()),
            _ => {}
        }
    }
    let option = reply.edns.as_ref();
    let option = option.and_then(|edns| edns.option(EdnsCode::Subnet));
    let echoed = option.map(|option| match option {
        EdnsOption::Subnet(echoed) => *echoed,
        other => panic!("{other:?} under the number of client subnets"),
    });
    if let Some(echoed) = echoed {
        // RFC 7871 §7.2.1: family, address and source length come back as they were sent.
        let subnet = subnet.expect("no option in an answer to a query without it");
        let sent = subnet.normalized();
        assert_eq!(
            (echoed.addr(), echoed.source_prefix()),
            (sent.address, sent.len)
        );
    }
    answer.scope = echoed.map(|echoed| echoed.scope_prefix());
    answer
}
