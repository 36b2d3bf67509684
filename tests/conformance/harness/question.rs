//! Queries octet by octet, lawful ones and others.

use std::str::FromStr;

use domain::base::Name;

/// A query under construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The flags: opcode, RD and the like.
    pub flags: u16,
    /// In wire form.
    pub name: Vec<u8>,
    /// Type number.
    pub rtype: u16,
    /// Class number.
    pub class: u16,
    /// The OPT record.
    pub opt: Option<Opt>,
}

/// The OPT record of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opt {
    /// UDP payload size.
    pub payload: u16,
    /// Extended RCODE, version and flags.
    pub ttl: u32,
    /// Options as they are on the wire.
    pub options: Vec<u8>,
}

/// The DO bit among an OPT record's flags.
pub const DNSSEC_OK: u32 = 0x8000;

impl Question {
    /// Asks for a name as zone files write it, absolute.
    ///
    /// # Panics
    /// When that is no name.
    pub fn new(name: &str, rtype: u16) -> Self {
        let name =
            Name::<Vec<u8>>::from_str(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self::of_wire(name.as_slice(), rtype)
    }

    /// Asks for a name in wire form.
    pub fn of_wire(name: &[u8], rtype: u16) -> Self {
        Self {
            flags: 0,
            name: name.to_vec(),
            rtype,
            class: 1,
            opt: None,
        }
    }

    /// With EDNS.
    #[must_use]
    pub fn edns(mut self, payload: u16, ttl: u32) -> Self {
        self.opt = Some(Opt {
            payload,
            ttl,
            options: Vec::new(),
        });
        self
    }

    /// With an EDNS option.
    #[must_use]
    pub fn option(mut self, code: u16, data: &[u8]) -> Self {
        let opt = self.opt.get_or_insert(Opt {
            payload: 1232,
            ttl: 0,
            options: Vec::new(),
        });
        opt.options.extend(code.to_be_bytes());
        opt.options.extend((data.len() as u16).to_be_bytes());
        opt.options.extend(data);
        self
    }

    /// As it is sent.
    pub fn octets(&self, id: u16) -> Vec<u8> {
        let mut octets = id.to_be_bytes().to_vec();
        octets.extend(self.flags.to_be_bytes());
        octets.extend([0, 1, 0, 0, 0, 0, 0, u8::from(self.opt.is_some())]);
        octets.extend(&self.name);
        octets.extend(self.rtype.to_be_bytes());
        octets.extend(self.class.to_be_bytes());
        if let Some(opt) = &self.opt {
            octets.extend([0, 0, 41]);
            octets.extend(opt.payload.to_be_bytes());
            octets.extend(opt.ttl.to_be_bytes());
            octets.extend((opt.options.len() as u16).to_be_bytes());
            octets.extend(&opt.options);
        }
        octets
    }
}
