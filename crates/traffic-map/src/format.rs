//! The map as bytes. Little-endian arrays behind a table of sections; one map has exactly one encoding.
//!
//! ```text
//! magic[8]  version u32  sections u32  { kind u32, length u32 }*   then the sections, back to back
//! slow part: limits, v4 ranges, v6 ranges        fast part: demand, placements, assignment
//! the rest:  regions, edges
//! ```
//! Integrity and authorship are the release's business; this file only refuses what is not a map.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::map::{Edge, Map, MapError, Raw, Region};
use crate::placement::{Choice, Placements};
use crate::ranges::{Ranges, Table};

/// The first eight bytes of every map.
pub const MAGIC: [u8; 8] = *b"SIGNPMAP";
/// The version of the format that this crate writes and reads.
pub const FORMAT_VERSION: u32 = 1;

const LIMITS: &str = "limits";
const V4: &str = "v4 ranges";
const V6: &str = "v6 ranges";
const DEMAND: &str = "demand";
const PLACEMENTS: &str = "placements";
const ASSIGNMENT: &str = "assignment";
const REGIONS: &str = "regions";
const EDGES: &str = "edges";
/// Sections in file order; a section's kind is its place here, from 1.
const SECTIONS: [&str; 8] = [
    LIMITS, V4, V6, DEMAND, PLACEMENTS, ASSIGNMENT, REGIONS, EDGES,
];
/// Magic, version, count, and a row for each section.
const HEADER_SIZE: usize = 16 + SECTIONS.len() * 8;

impl Map {
    /// The one encoding of this map: equal maps give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let sections = [
            self.write_limits(),
            write_ranges(&self.v4, |out, key| out.u32(key)),
            write_ranges(&self.v6, |out, key| out.u64(key)),
            self.write_demand(),
            self.write_placements(),
            self.write_assignment(),
            self.write_regions(),
            self.write_edges(),
        ];
        let mut out = Out(Vec::new());
        out.0.extend_from_slice(&MAGIC);
        out.u32(FORMAT_VERSION);
        out.u32(SECTIONS.len() as u32);
        for (kind, section) in (1..).zip(&sections) {
            out.u32(kind);
            out.u32(section.0.len() as u32);
        }
        for section in &sections {
            out.0.extend_from_slice(&section.0);
        }
        out.0
    }

    /// Reads a map, refusing everything that [`Map::encode`] would not have written.
    ///
    /// # Errors
    /// [`MapError`] says what is wrong and in which section. No input panics.
    pub fn decode(bytes: &[u8]) -> Result<Map, MapError> {
        let [
            limits,
            v4,
            v6,
            demand,
            placements,
            assignment,
            regions,
            edges,
        ] = sections(bytes)?;
        let (ecs, classes) = read_limits(limits)?;
        let demand = read_demand(demand)?;
        Map::from_checked(Raw {
            ecs,
            v4: read_ranges(V4, v4, u32::from_le_bytes)?,
            v6: read_ranges(V6, v6, u64::from_le_bytes)?,
            assignment: read_assignment(assignment, classes, demand.len())?,
            demand,
            placements: read_placements(placements)?,
            regions: read_regions(regions)?,
            edges: read_edges(edges)?,
        })
    }

    fn write_limits(&self) -> Out {
        let classes = self.assignment.len() as u8;
        Out(vec![self.ecs.0, self.ecs.1, classes, 0])
    }

    fn write_demand(&self) -> Out {
        let mut out = Out(Vec::with_capacity(4 + self.demand.len() * 4));
        out.u32(self.demand.len() as u32);
        self.demand.iter().for_each(|demand| out.u32(*demand));
        out
    }

    fn write_placements(&self) -> Out {
        let mut out = Out(Vec::new());
        out.u32(self.placements.len() as u32);
        for index in 0..self.placements.len() {
            let list = self.placements.list(index).unwrap_or(&[]);
            out.u8(list.len() as u8);
            for choice in list {
                out.u16(choice.region);
                out.u16(choice.share);
            }
        }
        out
    }

    fn write_assignment(&self) -> Out {
        let mut out = Out(Vec::new());
        self.assignment
            .iter()
            .flatten()
            .for_each(|index| out.u16(*index));
        out
    }

    fn write_regions(&self) -> Out {
        let mut out = Out(Vec::new());
        out.u32(self.regions.len() as u32);
        for region in &self.regions {
            out.u16(region.id);
            out.text(&region.name);
            out.u64(region.capacity);
            out.u8(u8::from(region.at.is_some()));
            if let Some((lat, lon)) = region.at {
                out.u32(lat.to_bits());
                out.u32(lon.to_bits());
            }
        }
        out
    }

    fn write_edges(&self) -> Out {
        let mut out = Out(Vec::new());
        out.u32(self.edges.len() as u32);
        for edge in &self.edges {
            out.text(&edge.name);
            out.u16(edge.region);
            out.u8(edge.addresses.len() as u8);
            edge.addresses
                .iter()
                .for_each(|address| out.address(*address));
            out.u16(edge.rtsp_port);
            out.u8(u8::from(edge.handoff.is_some()));
            if let Some(handoff) = edge.handoff {
                out.address(handoff.ip());
                out.u16(handoff.port());
            }
            out.u32(edge.capacity_sessions);
            out.u8(u8::from(edge.public_key.is_some()));
            out.0
                .extend_from_slice(edge.public_key.as_ref().map_or(&[], |key| key.as_slice()));
            out.u8(edge.profiles.len() as u8);
            edge.profiles.iter().for_each(|profile| out.text(profile));
        }
        out
    }
}

fn write_ranges<S: Table>(ranges: &Ranges<S>, write: impl Fn(&mut Out, S::Key)) -> Out {
    let mut out = Out(Vec::with_capacity(4 + ranges.len() * 12));
    out.u32(ranges.len() as u32);
    ranges
        .iter()
        .for_each(|(place, _)| write(&mut out, place.first));
    ranges.iter().for_each(|(_, unit)| out.u32(unit));
    out
}

fn sections(bytes: &[u8]) -> Result<[In<'_>; SECTIONS.len()], MapError> {
    if bytes.get(..8) != Some(&MAGIC) {
        return Err(MapError::Magic);
    }
    let header = bytes.get(8..HEADER_SIZE).ok_or(MapError::Size("header"))?;
    let mut header = In {
        bytes: header,
        section: "header",
    };
    let version = header.u32()?;
    if version != FORMAT_VERSION {
        return Err(MapError::Version(version));
    }
    if header.u32()? as usize != SECTIONS.len() {
        return Err(MapError::Sections);
    }
    let mut rest = bytes.get(HEADER_SIZE..).unwrap_or(&[]);
    let mut sections = SECTIONS.map(|section| In {
        bytes: &[],
        section,
    });
    for (kind, section) in (1..).zip(sections.iter_mut()) {
        if header.u32()? != kind {
            return Err(MapError::Sections);
        }
        let length = header.u32()? as usize;
        let (bytes, after) = rest
            .split_at_checked(length)
            .ok_or(MapError::Size(section.section))?;
        section.bytes = bytes;
        rest = after;
    }
    if rest.is_empty() {
        Ok(sections)
    } else {
        Err(MapError::Size("end of file"))
    }
}

fn read_limits(mut input: In<'_>) -> Result<((u8, u8), u8), MapError> {
    let limits = ((input.u8()?, input.u8()?), input.u8()?);
    if input.u8()? != 0 {
        return input.bad("the reserved byte is not zero");
    }
    input.end()?;
    Ok(limits)
}

fn read_ranges<K, const SIZE: usize>(
    section: &'static str,
    mut input: In<'_>,
    key: fn([u8; SIZE]) -> K,
) -> Result<(Vec<K>, Vec<u32>), MapError> {
    let count = input.count(SIZE + 4)?;
    if input.bytes.len() != count * (SIZE + 4) {
        return Err(MapError::Size(section));
    }
    let starts = input.list(count, key)?;
    Ok((starts, input.list(count, u32::from_le_bytes)?))
}

fn read_demand(mut input: In<'_>) -> Result<Vec<u32>, MapError> {
    let count = input.count(4)?;
    let demand = input.list(count, u32::from_le_bytes)?;
    input.end()?;
    Ok(demand)
}

fn read_placements(mut input: In<'_>) -> Result<Placements, MapError> {
    let count = input.count(5)?;
    let mut lists = Vec::with_capacity(count);
    for _ in 0..count {
        let len = input.u8()?;
        let list: Vec<Choice> = (0..len)
            .map(|_| {
                Ok(Choice {
                    region: input.u16()?,
                    share: input.u16()?,
                })
            })
            .collect::<Result<_, MapError>>()?;
        lists.push(list);
    }
    input.end()?;
    Placements::from_sorted(lists.iter().map(Vec::as_slice))
        .map_err(|bad| MapError::Content(PLACEMENTS, bad.to_string()))
}

fn read_assignment(
    mut input: In<'_>,
    classes: u8,
    units: usize,
) -> Result<Vec<Vec<u16>>, MapError> {
    if input.bytes.len() != usize::from(classes) * units * 2 {
        return Err(MapError::Size(ASSIGNMENT));
    }
    (0..classes)
        .map(|_| input.list(units, u16::from_le_bytes))
        .collect()
}

fn read_regions(mut input: In<'_>) -> Result<Vec<Region>, MapError> {
    let count = input.count(12)?;
    let mut regions = Vec::with_capacity(count);
    for _ in 0..count {
        let id = input.u16()?;
        let name = input.text()?;
        let capacity = input.u64()?;
        let at = match input.flag()? {
            true => Some((f32::from_bits(input.u32()?), f32::from_bits(input.u32()?))),
            false => None,
        };
        regions.push(Region {
            id,
            name,
            at,
            capacity,
            edges: Vec::new(),
        });
    }
    input.end()?;
    Ok(regions)
}

fn read_edges(mut input: In<'_>) -> Result<Vec<Edge>, MapError> {
    let count = input.count(18)?;
    let mut edges = Vec::with_capacity(count);
    for _ in 0..count {
        let name = input.text()?;
        let region = input.u16()?;
        let addresses = (0..input.u8()?)
            .map(|_| input.address())
            .collect::<Result<_, _>>()?;
        let rtsp_port = input.u16()?;
        let handoff = match input.flag()? {
            true => Some(SocketAddr::new(input.address()?, input.u16()?)),
            false => None,
        };
        let capacity_sessions = input.u32()?;
        let public_key = if input.flag()? {
            Some(input.array()?)
        } else {
            None
        };
        let profiles = (0..input.u8()?)
            .map(|_| input.text())
            .collect::<Result<_, _>>()?;
        edges.push(Edge {
            name,
            region,
            addresses,
            rtsp_port,
            handoff,
            capacity_sessions,
            public_key,
            profiles,
        });
    }
    input.end()?;
    Ok(edges)
}

/// A section being written. Lengths that count in one byte (names, addresses, profiles) are bounded by
/// `Map::from_checked` before anything is written.
struct Out(Vec<u8>);

impl Out {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn text(&mut self, text: &str) {
        self.u8(text.len() as u8);
        self.0.extend_from_slice(text.as_bytes());
    }
    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                self.u8(4);
                self.0.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                self.u8(6);
                self.0.extend_from_slice(&address.octets());
            }
        }
    }
}

/// What is left of a section being read.
#[derive(Clone, Copy)]
struct In<'a> {
    bytes: &'a [u8],
    section: &'static str,
}

impl In<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], MapError> {
        let (head, rest) = self
            .bytes
            .split_first_chunk::<N>()
            .ok_or(MapError::Size(self.section))?;
        self.bytes = rest;
        Ok(*head)
    }
    fn u8(&mut self) -> Result<u8, MapError> {
        self.array().map(u8::from_le_bytes)
    }
    fn u16(&mut self) -> Result<u16, MapError> {
        self.array().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Result<u32, MapError> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Result<u64, MapError> {
        self.array().map(u64::from_le_bytes)
    }
    /// Numbers of the same size one after another.
    fn list<T, const SIZE: usize>(
        &mut self,
        count: usize,
        number: fn([u8; SIZE]) -> T,
    ) -> Result<Vec<T>, MapError> {
        let size = count.checked_mul(SIZE);
        let (list, rest) = size
            .and_then(|size| self.bytes.split_at_checked(size))
            .ok_or(MapError::Size(self.section))?;
        self.bytes = rest;
        let (items, _) = list.as_chunks::<SIZE>();
        Ok(items.iter().map(|item| number(*item)).collect())
    }
    fn flag(&mut self) -> Result<bool, MapError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => self.bad("a flag is neither 0 nor 1"),
        }
    }
    fn text(&mut self) -> Result<String, MapError> {
        let len = usize::from(self.u8()?);
        let (text, rest) = self
            .bytes
            .split_at_checked(len)
            .ok_or(MapError::Size(self.section))?;
        self.bytes = rest;
        match std::str::from_utf8(text) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => self.bad("a name is not UTF-8"),
        }
    }
    fn address(&mut self) -> Result<IpAddr, MapError> {
        match self.u8()? {
            4 => Ok(IpAddr::V4(Ipv4Addr::from(self.array::<4>()?))),
            6 => Ok(IpAddr::V6(Ipv6Addr::from(self.array::<16>()?))),
            _ => self.bad("an address is neither IPv4 nor IPv6"),
        }
    }
    /// A number of items, refused when the section is too small for it, so it is safe to reserve for.
    fn count(&mut self, item_size_min: usize) -> Result<usize, MapError> {
        let count = self.u32()? as usize;
        match count.checked_mul(item_size_min) {
            Some(size) if size <= self.bytes.len() => Ok(count),
            _ => Err(MapError::Size(self.section)),
        }
    }
    fn end(&self) -> Result<(), MapError> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(MapError::Size(self.section))
        }
    }
    fn bad<T>(&self, text: &str) -> Result<T, MapError> {
        Err(MapError::Content(self.section, text.to_owned()))
    }
}
