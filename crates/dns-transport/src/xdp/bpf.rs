//! The few calls of bpf(2) that are needed: a map of sockets, a program, and a link that holds it on an interface. All of them
//! are descriptors: when the process ends, however it ends, the kernel takes the program off the interface.

#![allow(
    unsafe_code,
    reason = "bpf(2) has no safe form; each block says why it is sound"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::assembler::Instruction;

/// Commands, kinds and places (linux/bpf.h).
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE: libc::c_long = 2;
const PROGRAM_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const MAP_OF_XDP_SOCKETS: u32 = 17;
const PROGRAM_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
/// How a program is attached (linux/if_link.h).
pub(super) const GENERIC: u32 = 1 << 1;
pub(super) const NATIVE: u32 = 1 << 2;
/// Room for what the verifier has to say.
const LOG: usize = 64 << 10;

/// The beginnings of `union bpf_attr`, as far as they are used: the kernel takes the rest as zeros.
#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    entries_max: u32,
}

#[repr(C)]
struct MapUpdate {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgramLoad {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach: u32,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach: u32,
    flags: u32,
}

/// Makes a map from receive queues to sockets.
pub(super) fn create_socket_map(queues: u32) -> io::Result<OwnedFd> {
    let attributes = MapCreate {
        kind: MAP_OF_XDP_SOCKETS,
        key_size: 4,
        value_size: 4,
        entries_max: queues,
    };
    // SAFETY: the command reads a map's attributes, which hold no pointers, and returns a descriptor.
    unsafe { descriptor(call(MAP_CREATE, &attributes)?) }
}

/// From now on frames of this queue go to that socket. When the socket is closed, it leaves the map.
pub(super) fn put_socket(
    map: BorrowedFd<'_>,
    queue: u32,
    socket: BorrowedFd<'_>,
) -> io::Result<()> {
    let value = number(socket);
    let attributes = MapUpdate {
        map: number(map),
        padding: 0,
        key: pointer(&raw const queue),
        value: pointer(&raw const value),
        flags: 0,
    };
    // SAFETY: key and value point to live numbers of the size that the map was made for, which are only read.
    unsafe { call(MAP_UPDATE, &attributes) }.map(drop)
}

/// Has a program verified and translated.
pub(super) fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let error = match load_with(program, &mut []) {
        Ok(loaded) => return Ok(loaded),
        Err(error) => error,
    };
    let mut log = vec![0; LOG];
    let _ = load_with(program, &mut log);
    let text = String::from_utf8_lossy(&log);
    let text = text.trim_matches('\0').trim_end();
    match text
        .lines()
        .rev()
        .find(|line| !line.starts_with("processed "))
    {
        Some(line) => Err(io::Error::new(error.kind(), format!("{error}: {line}"))),
        None => Err(error),
    }
}

fn load_with(program: &[Instruction], log: &mut [u8]) -> io::Result<OwnedFd> {
    let mut name = [0; 16];
    name[..12].copy_from_slice(b"signpost_dns");
    let attributes = ProgramLoad {
        kind: PROGRAM_XDP,
        instruction_count: program.len() as u32,
        instructions: pointer(program.as_ptr()),
        licence: pointer(c"Dual MIT/GPL".as_ptr()),
        log_level: u32::from(!log.is_empty()),
        log_size: log.len() as u32,
        log: if log.is_empty() {
            0
        } else {
            pointer(log.as_mut_ptr())
        },
        kernel_version: 0,
        flags: 0,
        name,
        interface: 0,
        expected_attach: ATTACH_XDP,
    };
    // SAFETY: instructions and licence are live and only read, as long as stated and ended by a zero; the log is written up to
    // its stated size at most. The command returns a descriptor.
    unsafe { descriptor(call(PROGRAM_LOAD, &attributes)?) }
}

/// Puts a program on an interface for as long as the descriptor is open.
pub(super) fn attach(program: BorrowedFd<'_>, interface: u32, mode: u32) -> io::Result<OwnedFd> {
    let attributes = LinkCreate {
        program: number(program),
        interface,
        attach: ATTACH_XDP,
        flags: mode,
    };
    // SAFETY: the command reads a link's attributes, which hold no pointers, and returns a descriptor.
    unsafe { descriptor(call(LINK_CREATE, &attributes)?) }
}

/// # Safety
/// The attributes are those of the command, and pointers in them are good for what it does.
unsafe fn call<T>(command: libc::c_long, attributes: &T) -> io::Result<i32> {
    // SAFETY: the attributes are a live struct of the size stated; the rest is the caller's promise.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw const *attributes,
            size_of::<T>(),
        )
    };
    match i32::try_from(result) {
        Ok(result @ 0..) => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}

/// # Safety
/// The number is a descriptor that the kernel has just opened for us.
unsafe fn descriptor(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise. bpf(2) sets close-on-exec by itself.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn number(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

fn pointer<T>(to: *const T) -> u64 {
    to.expose_provenance() as u64
}
