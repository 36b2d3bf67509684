//! Runs a filter as the kernel would, for tests: over one frame, with every read checked. It reads the encoded
//! instructions by the tables of RFC 9669, and knows nothing of the assembler.

use super::assembler::Instruction;
use super::filter::REDIRECT_MAP;

/// Where the context and the frame are, in a memory that has nothing else.
const CONTEXT: u64 = 0x1000;
const FRAME: u64 = 0x10_0000;
/// What a pointer to a map looks like.
const MAP: u64 = 0xffff_0000_0000;
/// No program of ours has a loop.
const STEPS: usize = 10_000;

/// What a program said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Its result.
    Returned(u32),
    /// It handed the frame over.
    Redirected { map: i32, key: u64, otherwise: u32 },
}

/// Runs a program over a frame that came by this queue.
pub(super) fn run(program: &[Instruction], frame: &[u8], queue: u32) -> Said {
    let mut registers = [None; 11];
    registers[1] = Some(CONTEXT);
    let mut redirected = None;
    let mut at = 0;
    for _ in 0..STEPS {
        let Instruction {
            code,
            registers: pair,
            offset,
            immediate,
        } = program[at];
        let (to, from) = match cfg!(target_endian = "big") {
            true => (pair >> 4, pair & 15),
            false => (pair & 15, pair >> 4),
        };
        let (to, from) = (usize::from(to), usize::from(from));
        at += 1;
        let read = |register: usize| registers[register].expect("a register that was written");
        let jump = (at as i64 + i64::from(offset)) as usize;
        match code {
            0x61 | 0x69 | 0x71 => {
                let octets = match code {
                    0x61 => 4,
                    0x69 => 2,
                    _ => 1,
                };
                let address = read(from).wrapping_add_signed(offset.into());
                registers[to] = Some(load(frame, queue, address, octets));
            }
            0xbf => registers[to] = Some(read(from)),
            0xb7 => registers[to] = Some(i64::from(immediate) as u64),
            0x07 => registers[to] = Some(read(to).wrapping_add_signed(immediate.into())),
            0x57 => registers[to] = Some(read(to) & i64::from(immediate) as u64),
            0x18 => {
                assert_eq!(from, 1, "a map by its descriptor");
                registers[to] = Some(MAP | u64::from(immediate.cast_unsigned()));
                at += 1;
            }
            0x05 => at = jump,
            0x2d if read(to) > read(from) => at = jump,
            0x16 if read(to) as u32 == immediate.cast_unsigned() => at = jump,
            0x56 if read(to) as u32 != immediate.cast_unsigned() => at = jump,
            0x2d | 0x16 | 0x56 => {}
            0x85 => {
                assert_eq!(immediate, REDIRECT_MAP);
                let (map, key, otherwise) = (read(1), read(2), read(3) as u32);
                assert_eq!(map & !0xffff_ffff, MAP, "a map");
                redirected = Some(Said::Redirected {
                    map: map as i32,
                    key,
                    otherwise,
                });
                registers[1..6].fill(None);
                registers[0] = Some(4); // XDP_REDIRECT
            }
            0x95 => return redirected.unwrap_or(Said::Returned(read(0) as u32)),
            other => panic!("instruction {other:#x}"),
        }
    }
    panic!("it does not end");
}

fn load(frame: &[u8], queue: u32, address: u64, octets: usize) -> u64 {
    if address < FRAME {
        assert_eq!(octets, 4);
        return match address - CONTEXT {
            0 => FRAME,
            4 => FRAME + frame.len() as u64,
            16 => queue.into(),
            other => panic!("the context at {other}"),
        };
    }
    let start = (address - FRAME) as usize;
    let octets = &frame[start..start + octets];
    match *octets {
        [one] => one.into(),
        [a, b] => u16::from_ne_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]).into(),
        _ => panic!("a width"),
    }
}
