//! The program in the kernel: which frames go to the AF_XDP socket of their receive queue. All others (TCP, ARP, ICMP, tagged
//! and fragmented packets, extension headers, other hosts', over-long ones) go on to the kernel as if there were no program.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

use super::assembler::{Assembler, If, Instruction, Label, Register, Width};
use super::packet::{
    ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4, IPV4_PLAIN, IPV6, PROTOCOL_UDP, UDP,
};

/// What a program can say about a frame: go on.
pub(super) const XDP_PASS: u32 = 2;
/// The helper that hands a frame to the socket in a map: `bpf_redirect_map(map, key, what to say if there is none)`.
pub(super) const REDIRECT_MAP: i32 = 51;
/// Longest frame that is taken: that of a 1,500 octet packet. It fits into every socket's frames.
pub(super) const FRAME_MAX: usize = ETHERNET + 1500;

/// Where `struct xdp_md` has the start and end of the frame, and the number of the receive queue.
const DATA: i16 = 0;
const DATA_END: i16 = 4;
const QUEUE: i16 = 16;

/// More fragments follow, or this is a later one.
const FRAGMENT: [u8; 2] = [0x3f, 0xff];

/// Builds it for datagrams to these addresses and to this host's link address. `None` if there are more than a program
/// can hold: some two thousand.
pub(super) fn filter(
    destinations: &[SocketAddr],
    host: [u8; 6],
    sockets: RawFd,
) -> Option<Vec<Instruction>> {
    use Register::{R0, R1, R2, R3, R4, R5};

    let mut a = Assembler::default();
    let (pass, take) = (a.label(), a.label());
    let (v4, v6) = (a.label(), a.label());
    a.load(Width::Four, R2, R1, DATA);
    a.load(Width::Four, R3, R1, DATA_END);
    reach(&mut a, ETHERNET + IPV4 + UDP, pass);
    // Frames of jumbo size would not fit into the sockets' frames.
    a.copy(R4, R2);
    a.add(R4, FRAME_MAX as i32);
    a.jump_by(R3, If::Greater, R4, pass);
    let [a0, a1, a2, a3, a4, a5] = host;
    a.load(Width::Four, R4, R2, 0);
    a.jump_if(R4, If::Differs, u32::from_ne_bytes([a0, a1, a2, a3]), pass);
    a.load(Width::Two, R4, R2, 4);
    a.jump_if(R4, If::Differs, two([a4, a5]), pass);
    a.load(Width::Two, R4, R2, 12);
    a.jump_if(R4, If::Equal, two(ETHERTYPE_IPV4), v4);
    a.jump_if(R4, If::Equal, two(ETHERTYPE_IPV6), v6);
    a.jump(pass);

    a.place(v4);
    a.load(Width::One, R4, R2, at(ETHERNET));
    a.jump_if(R4, If::Differs, IPV4_PLAIN.into(), pass);
    a.load(Width::One, R4, R2, at(ETHERNET + 9));
    a.jump_if(R4, If::Differs, PROTOCOL_UDP.into(), pass);
    a.load(Width::Two, R4, R2, at(ETHERNET + 6));
    a.and(R4, two(FRAGMENT).cast_signed());
    a.jump_if(R4, If::Differs, 0, pass);
    a.load(Width::Two, R5, R2, at(ETHERNET + IPV4 + 2));
    for destination in destinations {
        if let IpAddr::V4(ip) = destination.ip() {
            let next = a.label();
            words(&mut a, &ip.octets(), ETHERNET + 16, next);
            a.jump_if(R5, If::Equal, two(destination.port().to_be_bytes()), take);
            a.place(next);
        }
    }
    a.jump(pass);

    a.place(v6);
    reach(&mut a, ETHERNET + IPV6 + UDP, pass);
    a.load(Width::One, R4, R2, at(ETHERNET));
    a.and(R4, 0xf0);
    a.jump_if(R4, If::Differs, 0x60, pass);
    a.load(Width::One, R4, R2, at(ETHERNET + 6));
    a.jump_if(R4, If::Differs, PROTOCOL_UDP.into(), pass);
    a.load(Width::Two, R5, R2, at(ETHERNET + IPV6 + 2));
    for destination in destinations {
        if let IpAddr::V6(ip) = destination.ip() {
            let next = a.label();
            words(&mut a, &ip.octets(), ETHERNET + 24, next);
            a.jump_if(R5, If::Equal, two(destination.port().to_be_bytes()), take);
            a.place(next);
        }
    }

    a.place(pass);
    a.set(R0, XDP_PASS.cast_signed());
    a.exit();

    a.place(take);
    a.load(Width::Four, R2, R1, QUEUE);
    a.load_map(R1, sockets);
    // A queue without a socket, also as long as there is none yet, is the kernel's.
    a.set(R3, XDP_PASS.cast_signed());
    a.call(REDIRECT_MAP);
    a.exit();
    a.finish()
}

/// Goes away if the frame is shorter: the verifier wants to see it before the octets are read.
fn reach(a: &mut Assembler, octets: usize, pass: Label) {
    a.copy(Register::R4, Register::R2);
    a.add(Register::R4, octets as i32);
    a.jump_by(Register::R4, If::Greater, Register::R3, pass);
}

/// Goes to `next` if the frame does not have these octets at that place.
fn words(a: &mut Assembler, octets: &[u8], start: usize, next: Label) {
    for (index, word) in octets.as_chunks::<4>().0.iter().enumerate() {
        a.load(
            Width::Four,
            Register::R4,
            Register::R2,
            at(start + 4 * index),
        );
        a.jump_if(Register::R4, If::Differs, u32::from_ne_bytes(*word), next);
    }
}

/// Two octets as a load brings them into a register.
fn two(octets: [u8; 2]) -> u32 {
    u16::from_ne_bytes(octets).into()
}

/// An offset, which is below the length of all headers.
fn at(offset: usize) -> i16 {
    offset as i16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::interpreter::{Said, run};
    use super::super::packet::tests::frame;
    use super::*;

    const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn destinations() -> Vec<SocketAddr> {
        [
            "198.51.100.1:53",
            "198.51.100.2:5300",
            "[2001:db8::1]:53",
            "[2001:db8::1]:5300",
        ]
        .map(|text| text.parse().unwrap())
        .to_vec()
    }

    fn say(frame: &[u8]) -> Said {
        run(&filter(&destinations(), HOST, 77).unwrap(), frame, 3)
    }

    /// The same decision in plain words.
    fn is_ours(frame: &[u8]) -> bool {
        let is_ours = || -> Option<bool> {
            let kind = frame.get(12..14)?;
            let packet = frame.get(14..)?;
            if frame.len() > 1514 || frame[..6] != HOST {
                return Some(false);
            }
            let (address, port): (IpAddr, _) = match kind {
                [0x08, 0x00] if packet.first()? == &0x45 && packet.get(9)? == &17 => {
                    let flags = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]);
                    if flags & 0x2000 != 0 || flags & 0x1fff != 0 {
                        return Some(false);
                    }
                    (
                        <[u8; 4]>::try_from(packet.get(16..20)?).ok()?.into(),
                        packet.get(20..28)?,
                    )
                }
                [0x86, 0xdd] if packet.first()? >> 4 == 6 && packet.get(6)? == &17 => (
                    <[u8; 16]>::try_from(packet.get(24..40)?).ok()?.into(),
                    packet.get(40..48)?,
                ),
                _ => return Some(false),
            };
            let port = u16::from_be_bytes([port[2], port[3]]);
            Some(destinations().contains(&SocketAddr::new(address, port)))
        };
        is_ours().unwrap_or(false)
    }

    fn example(v6: bool) -> Vec<u8> {
        match v6 {
            false => frame("192.0.2.9:1".parse().unwrap(), destinations()[1], b"x"),
            true => frame("[2001:db8::9]:1".parse().unwrap(), destinations()[3], b"x"),
        }
    }

    #[test]
    fn queries_go_to_the_socket_of_their_queue() {
        for v6 in [false, true] {
            let said = say(&example(v6));
            assert_eq!(
                said,
                Said::Redirected {
                    map: 77,
                    key: 3,
                    otherwise: XDP_PASS
                }
            );
        }
    }

    #[test]
    fn what_is_none_goes_on_to_the_kernel() {
        // Another destination, link address, protocol, version, tag, options, a fragment, another port.
        for (at, octet) in [
            (0, 4),
            (5, 9),
            (12, 0x81),
            (14, 0x46),
            (20, 0x20),
            (21, 1),
            (23, 6),
            (33, 9),
            (37, 9),
        ] {
            let mut other = example(false);
            other[at] = octet;
            assert_eq!(say(&other), Said::Returned(XDP_PASS), "IPv4, octet {at}");
        }
        for (at, octet) in [(14, 0x40), (20, 44), (53, 9), (57, 9)] {
            let mut other = example(true);
            other[at] = octet;
            assert_eq!(say(&other), Said::Returned(XDP_PASS), "IPv6, octet {at}");
        }
    }

    #[test]
    fn the_longest_frame_is_that_of_a_full_packet() {
        let (source, local) = ("192.0.2.9:1".parse().unwrap(), destinations()[0]);
        let taken = |payload: usize| {
            say(&frame(source, local, &vec![0; payload])) != Said::Returned(XDP_PASS)
        };
        assert!(taken(1472) && !taken(1473));
    }

    proptest! {
        /// The interpreter ends the test if an octet outside the frame is read.
        #[test]
        fn it_decides_as_its_plain_twin(v6 in any::<bool>(), changes in prop::collection::vec((0..70_usize, any::<u8>()), 0..3),
                                        length in 0..200_usize, cut in any::<bool>()) {
            let mut frame = example(v6);
            for (at, octet) in changes {
                if let Some(place) = frame.get_mut(at) {
                    *place = octet;
                }
            }
            if cut {
                frame.truncate(length);
            }
            let taken = matches!(say(&frame), Said::Redirected { .. });
            prop_assert_eq!(taken, is_ours(&frame));
        }
    }
}
