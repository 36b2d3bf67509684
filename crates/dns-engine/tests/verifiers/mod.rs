//! Two independent verifiers of signed answers: hickory-proto's, and canonical octets put together by `domain`
//! with the signature checked by hand. Every signature of an answer passes both, and nothing goes unsigned that
//! should not.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dns_engine::dnssec::{
    Algorithm, Key, Role, Scheduled, Signatures, Signing, SigningLimits, Timing, Validity, ZoneKeys,
};
use dns_engine::{Snapshot, Zones, name, rtype};
use domain::base::iana::Rtype;
use domain::base::rdata::ComposeRecordData;
use domain::base::{Message, ParsedName, Record};
use domain::rdata::{AllRecordData, Nsec, Rrsig};
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData};
use hickory_proto::dnssec::{PublicKeyBuf, Verifier};
use hickory_proto::rr::{DNSClass, RData};
use ring::rand::SystemRandom;

type Parsed<'m> = Record<ParsedName<&'m [u8]>, AllRecordData<&'m [u8], ParsedName<&'m [u8]>>>;

pub fn wire(text: &str) -> Vec<u8> {
    name::parse(text, Some(name::ROOT)).unwrap()
}

pub fn new_key(role: Role, algorithm: Algorithm) -> Key {
    let random = SystemRandom::new();
    let document = Key::generate(algorithm, &random).unwrap();
    Key::from_pkcs8(role, algorithm, &document, &random).unwrap()
}

/// A key that does what its role says, always.
pub fn always(key: Key) -> Scheduled {
    Scheduled {
        key: key.into(),
        timing: Timing::default(),
    }
}

/// A key signing and a zone signing key for a zone.
pub fn pair(origin: &str, algorithm: Algorithm) -> ZoneKeys {
    let keys = [Role::Ksk, Role::Zsk].map(|role| always(new_key(role, algorithm)));
    ZoneKeys::new(&wire(origin), keys.into(), 3600, Validity::default()).unwrap()
}

pub fn signing(limits: SigningLimits, zones: impl IntoIterator<Item = ZoneKeys>) -> Arc<Signing> {
    let signatures = Arc::new(Signatures::new(limits, SystemRandom::new()));
    let mut signing = Signing::new(signatures);
    zones.into_iter().for_each(|keys| signing.insert(keys));
    Arc::new(signing)
}

/// Signs all zones of a snapshot.
pub fn sign(mut snapshot: Snapshot, algorithm: Algorithm) -> Snapshot {
    let origins = snapshot.zones.iter().map(|zone| name::text(zone.origin()));
    let keys: Vec<ZoneKeys> = origins.map(|origin| pair(&origin, algorithm)).collect();
    snapshot.signing = Some(signing(SigningLimits::default(), keys));
    snapshot
}

pub fn keys_of<'s>(snapshot: &'s Snapshot, origin: &str) -> &'s ZoneKeys {
    let signing = snapshot.signing.as_ref().unwrap();
    signing.zone(&wire(origin)).unwrap()
}

/// A record set of an answer, and what covers it.
#[derive(Debug, Default)]
pub struct Set {
    pub ttl: u32,
    /// In the canonical form that `domain` gives.
    pub rdatas: Vec<Vec<u8>>,
    pub signatures: Vec<Signature>,
}

#[derive(Debug, Clone)]
pub struct Signature {
    pub algorithm: u8,
    pub labels: u8,
    pub original_ttl: u32,
    pub expiration: u32,
    pub inception: u32,
    pub tag: u16,
    pub signer: Vec<u8>,
    pub octets: Vec<u8>,
    pub ttl: u32,
}

/// Section, owner in lower case and type of a record set.
pub type Id = (usize, Vec<u8>, u16);

/// Section, owner, next name and types of an NSEC record.
pub type Denial = (usize, Vec<u8>, Vec<u8>, BTreeSet<u16>);

/// An answer taken apart.
#[derive(Debug, Default)]
pub struct Taken {
    pub authoritative: bool,
    pub sets: BTreeMap<Id, Set>,
    pub denials: Vec<Denial>,
}

fn lower<N: domain::base::ToName>(name: &N) -> Vec<u8> {
    let mut wire = Vec::new();
    name.compose_canonical(&mut wire).unwrap();
    wire
}

pub fn take_apart(octets: &[u8]) -> Taken {
    let message = Message::from_octets(octets).unwrap();
    let (_, answer, authority, additional) = message.sections().unwrap();
    let mut taken = Taken {
        authoritative: message.header().aa(),
        ..Taken::default()
    };
    for (section, records) in [answer, authority, additional].into_iter().enumerate() {
        for record in records {
            let record: Parsed<'_> = record.unwrap().to_any_record().unwrap();
            let (owner, ttl) = (lower(record.owner()), record.ttl().as_secs());
            match record.data() {
                AllRecordData::Opt(_) => {}
                AllRecordData::Rrsig(rrsig) => {
                    let covered = rrsig.type_covered().to_int();
                    let set = taken.sets.entry((section, owner, covered)).or_default();
                    set.signatures.push(signature(rrsig, ttl));
                }
                data => {
                    if let AllRecordData::Nsec(nsec) = data {
                        taken.denials.push(denial(section, &owner, nsec));
                    }
                    let id = (section, owner, record.rtype().to_int());
                    let set = taken.sets.entry(id).or_default();
                    let mut rdata = Vec::new();
                    data.compose_canonical_rdata(&mut rdata).unwrap();
                    set.rdatas.push(rdata);
                    set.ttl = ttl;
                }
            }
        }
    }
    taken
}

fn signature(rrsig: &Rrsig<&[u8], ParsedName<&[u8]>>, ttl: u32) -> Signature {
    Signature {
        algorithm: rrsig.algorithm().to_int(),
        labels: rrsig.labels(),
        original_ttl: rrsig.original_ttl().as_secs(),
        expiration: rrsig.expiration().into_int(),
        inception: rrsig.inception().into_int(),
        tag: rrsig.key_tag(),
        signer: lower(rrsig.signer_name()),
        octets: rrsig.signature().to_vec(),
        ttl,
    }
}

fn denial(section: usize, owner: &[u8], nsec: &Nsec<&[u8], ParsedName<&[u8]>>) -> Denial {
    let types = nsec.types().iter().map(Rtype::to_int).collect();
    (section, owner.to_vec(), lower(nsec.next_name()), types)
}

/// Checks every signature of an answer, and that whatever the zone speaks for has one.
pub fn verify(octets: &[u8], keys: &ZoneKeys, zones: &Zones, now: u64) -> Taken {
    let taken = take_apart(octets);
    let zone = zones.exact(keys.origin()).unwrap();
    let dnames: Vec<&Vec<u8>> = taken
        .sets
        .keys()
        .filter(|(_, _, rtype)| *rtype == rtype::DNAME)
        .map(|(_, owner, _)| owner)
        .collect();
    for ((section, owner, rtype), set) in &taken.sets {
        let cut = zone.delegation(owner).map(name::lowered);
        let below = cut.is_some() && !(cut.as_ref() == Some(owner) && is_of_parent(*rtype));
        let made = *rtype == rtype::CNAME
            && dnames
                .iter()
                .any(|dname| *dname != owner && name::is_within(owner, dname));
        let foreign = !name::is_within(owner, keys.origin());
        let asked_for_alone = set.rdatas.is_empty();
        assert!(!foreign, "{owner:?} is outside the zone");
        assert_eq!(
            set.signatures.is_empty(),
            below || made,
            "section {section}, {} {rtype}: {set:?}",
            name::text(owner)
        );
        for signature in &set.signatures {
            assert_eq!(signature.signer, keys.origin());
            assert!(u64::from(signature.inception) <= now && now < signature.expiration.into());
            if asked_for_alone {
                // Only a question for RRSIG gets a signature without what it is over.
                assert_eq!((*section, *rtype), (0, rtype::NSEC));
                continue;
            }
            assert_eq!(signature.ttl, set.ttl, "RFC 4034 §3");
            assert!(signature.original_ttl >= set.ttl);
            let labels = name::labels(owner).filter(|label| *label != b"*").count();
            assert_eq!(usize::from(signature.labels), labels);
            assert!(by_hand(owner, *rtype, set, signature, keys, now));
        }
    }
    by_hickory(octets, keys, now);
    taken
}

/// NS and the glue are the child's; DS and the denial of it the parent's.
fn is_of_parent(rtype: u16) -> bool {
    matches!(rtype, rtype::DS | rtype::NSEC)
}

/// The DNSKEY data that made a signature: taken from the keys, and by rule one that signs this type.
fn dnskey(keys: &ZoneKeys, tag: u16, rtype: u16, now: u64) -> Vec<u8> {
    let scheduled = keys.keys().iter().find(|key| key.key.tag() == tag).unwrap();
    let of_keys = matches!(rtype, rtype::DNSKEY | rtype::CDS | rtype::CDNSKEY);
    let role = scheduled.key.role();
    assert!(if of_keys {
        role.signs_keys()
    } else {
        role.signs_data()
    });
    let published = keys.rrset(rtype::DNSKEY, now).unwrap();
    let data = scheduled.key.dnskey();
    assert!(published.rdatas().any(|other| other == data));
    data.to_vec()
}

/// Canonical octets (RFC 4034 §3.1.8.1) of what `domain` read, and the bare signature check.
fn by_hand(
    owner: &[u8],
    rtype: u16,
    set: &Set,
    signature: &Signature,
    keys: &ZoneKeys,
    now: u64,
) -> bool {
    let mut data = rtype.to_be_bytes().to_vec();
    data.extend([signature.algorithm, signature.labels]);
    data.extend(signature.original_ttl.to_be_bytes());
    data.extend(signature.expiration.to_be_bytes());
    data.extend(signature.inception.to_be_bytes());
    data.extend(signature.tag.to_be_bytes());
    data.extend(&signature.signer);
    let rdatas: BTreeSet<&Vec<u8>> = set.rdatas.iter().collect();
    for rdata in rdatas {
        data.extend(owner);
        data.extend(rtype.to_be_bytes());
        data.extend([0, 1]);
        data.extend(signature.original_ttl.to_be_bytes());
        data.extend((rdata.len() as u16).to_be_bytes());
        data.extend(rdata);
    }
    let dnskey = dnskey(keys, signature.tag, rtype, now);
    let public = &dnskey[4..];
    match signature.algorithm {
        13 => {
            let point = [&[4], public].concat();
            let scheme = &ring::signature::ECDSA_P256_SHA256_FIXED;
            let key = ring::signature::UnparsedPublicKey::new(scheme, point);
            key.verify(&data, &signature.octets).is_ok()
        }
        15 => {
            let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public);
            key.verify(&data, &signature.octets).is_ok()
        }
        other => panic!("algorithm {other}"),
    }
}

fn by_hickory(octets: &[u8], keys: &ZoneKeys, now: u64) {
    let message = hickory_proto::op::Message::from_vec(octets).unwrap();
    for records in [&message.answers, &message.authorities, &message.additionals] {
        for record in records {
            let RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) = &record.data else {
                continue;
            };
            let covered = rrsig.input().type_covered;
            let set: Vec<_> = records
                .iter()
                .filter(|other| other.name == record.name && other.record_type() == covered)
                .collect();
            if set.is_empty() {
                continue;
            }
            let data = dnskey(keys, rrsig.input().key_tag, u16::from(covered), now);
            let flags = u16::from_be_bytes([data[0], data[1]]);
            let public = PublicKeyBuf::new(
                data[4..].to_vec(),
                hickory_proto::dnssec::Algorithm::from_u8(data[3]),
            );
            let key = DNSKEY::with_flags(flags, public);
            let verified = key.verify_rrsig(&record.name, DNSClass::IN, rrsig, set.into_iter());
            assert!(verified.is_ok(), "{record}: {verified:?}");
        }
    }
}
