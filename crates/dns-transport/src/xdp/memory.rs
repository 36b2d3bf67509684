//! Memory that is shared with the kernel: the frames, and the four rings of an AF_XDP socket.
//!
//! ```text
//! we produce     fill: frames to receive into     send: answers
//! we consume     receive: queries                 completion: frames that have been sent
//! ```

#![allow(
    unsafe_code,
    reason = "memory that the kernel writes as well has no safe form; each block says why it is sound"
)]

use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

/// Mapped memory; goes away with this value.
pub(super) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory belongs to the value, not to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// So many zeros of our own, at the start of a page.
    pub(super) fn anonymous(length: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        Self::map(length, flags, -1, 0)
    }

    /// A part of what a descriptor stands for.
    fn shared(length: usize, file: BorrowedFd<'_>, offset: libc::off_t) -> io::Result<Self> {
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        Self::map(length, flags, file.as_raw_fd(), offset)
    }

    fn map(length: usize, flags: i32, file: i32, offset: libc::off_t) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice disturbs nothing that exists.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, access, flags, file, offset) };
        match NonNull::new(start.cast::<u8>()) {
            Some(place) if start != libc::MAP_FAILED => Ok(Self {
                start: place,
                length,
            }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Where it is, for the kernel.
    pub(super) fn address(&self) -> u64 {
        self.start.as_ptr().addr() as u64
    }

    /// Octets to read and others to write, if both are inside and apart. The caller sees to it that the kernel has given
    /// them back: a frame belongs to who took it last out of a ring.
    pub(super) fn pair(
        &mut self,
        read: Range<usize>,
        write: Range<usize>,
    ) -> Option<(&[u8], &mut [u8])> {
        let inside = |range: &Range<usize>| range.start <= range.end && range.end <= self.length;
        let apart = read.end <= write.start || write.end <= read.start;
        if !inside(&read) || !inside(&write) || !apart {
            return None;
        }
        // SAFETY: both ranges are inside the mapping, which lives as long as the borrow of `self`, and they do not overlap;
        // the memory is plain octets, and no other reference to it exists, as this is the one way to get one.
        unsafe {
            let reading =
                std::slice::from_raw_parts(self.start.as_ptr().add(read.start), read.len());
            let writing =
                std::slice::from_raw_parts_mut(self.start.as_ptr().add(write.start), write.len());
            Some((reading, writing))
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this start and length, and no reference outlives the value.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// What entries of rings are: plain numbers, of which all octets are valid.
pub(super) trait Entry: Copy {}
impl Entry for u64 {}
impl Entry for libc::xdp_desc {}

/// One ring. `T` is its entry; both counts run freely and wrap.
pub(super) struct Ring<T> {
    mapping: Mapping,
    offsets: libc::xdp_ring_offset,
    mask: u32,
    /// How far we are: what we have produced or consumed, told to the kernel or not.
    ours: u32,
    /// How far the kernel was when we looked last.
    theirs: u32,
    entry: PhantomData<T>,
}

impl<T: Entry> Ring<T> {
    /// Maps a ring of `entries`, a power of two, which the socket has been told to make.
    pub(super) fn new(
        socket: BorrowedFd<'_>,
        page: libc::off_t,
        offsets: libc::xdp_ring_offset,
        entries: u32,
    ) -> io::Result<Self> {
        let length = offsets.desc as usize + entries as usize * size_of::<T>();
        Ok(Self {
            mapping: Mapping::shared(length, socket, page)?,
            offsets,
            mask: entries - 1,
            ours: 0,
            theirs: 0,
            entry: PhantomData,
        })
    }

    fn count(&self, offset: u64) -> &AtomicU32 {
        // SAFETY: the kernel says that there is an aligned 32-bit number at this offset of the mapping, which it reads and
        // writes atomically as well; the mapping lives as long as the borrow.
        unsafe { AtomicU32::from_ptr(self.mapping.start.as_ptr().add(offset as usize).cast()) }
    }

    fn entry(&self, number: u32) -> *mut T {
        let offset = self.offsets.desc as usize + (number & self.mask) as usize * size_of::<T>();
        // SAFETY: masked, so it is inside the mapping, whose length was made of these.
        unsafe { self.mapping.start.as_ptr().add(offset).cast() }
    }

    /// True if the kernel goes on only when it is called.
    pub(super) fn needs_call(&self) -> bool {
        self.count(self.offsets.flags).load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    /// Of a ring that we produce: adds an entry, which the kernel sees after [`Ring::publish`]; false if there is no room.
    pub(super) fn push(&mut self, entry: T) -> bool {
        if self.ours.wrapping_sub(self.theirs) > self.mask {
            self.theirs = self.count(self.offsets.consumer).load(Ordering::Acquire);
            if self.ours.wrapping_sub(self.theirs) > self.mask {
                return false;
            }
        }
        // SAFETY: the pointer is inside the mapping and aligned; the kernel has consumed what was there, so the place is ours.
        unsafe { self.entry(self.ours).write(entry) };
        self.ours = self.ours.wrapping_add(1);
        true
    }

    /// Shows the kernel what was pushed.
    pub(super) fn publish(&self) {
        self.count(self.offsets.producer)
            .store(self.ours, Ordering::Release);
    }

    /// True if the kernel has consumed everything.
    pub(super) fn is_consumed(&self) -> bool {
        self.count(self.offsets.consumer).load(Ordering::Acquire) == self.ours
    }

    /// Of a ring that we consume: how many entries are there, `most` at most.
    pub(super) fn available(&mut self, most: u32) -> u32 {
        if self.theirs.wrapping_sub(self.ours) < most {
            self.theirs = self.count(self.offsets.producer).load(Ordering::Acquire);
        }
        self.theirs.wrapping_sub(self.ours).min(most)
    }

    /// The entry at `index`, below what `available` said.
    pub(super) fn at(&self, index: u32) -> T {
        // SAFETY: the pointer is inside the mapping and aligned; the kernel wrote the entry before it said so, and leaves it
        // until it is released.
        unsafe { self.entry(self.ours.wrapping_add(index)).read() }
    }

    /// Gives so many entries back.
    pub(super) fn release(&mut self, count: u32) {
        self.ours = self.ours.wrapping_add(count);
        self.count(self.offsets.consumer)
            .store(self.ours, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring in memory of its own; the other side is played by hand.
    fn ring(entries: u32) -> Ring<u64> {
        let offsets = libc::xdp_ring_offset {
            producer: 0,
            consumer: 64,
            desc: 192,
            flags: 128,
        };
        Ring {
            mapping: Mapping::anonymous(192 + entries as usize * 8).unwrap(),
            offsets,
            mask: entries - 1,
            ours: 0,
            theirs: 0,
            entry: PhantomData,
        }
    }

    #[test]
    fn a_full_ring_takes_no_more_until_something_is_consumed() {
        let mut ring = ring(4);
        for number in 0..100_u64 {
            while ring.push(number) {
                ring.publish();
            }
            let consumed = ring.count(64).load(Ordering::Relaxed);
            assert_eq!(ring.count(0).load(Ordering::Relaxed) - consumed, 4);
            ring.count(64).store(consumed + 3, Ordering::Relaxed);
            assert!(!ring.is_consumed());
        }
    }

    #[test]
    fn entries_are_seen_when_they_are_published_and_counts_wrap() {
        let mut ring = ring(4);
        (ring.ours, ring.theirs) = (u32::MAX - 1, u32::MAX - 1);
        ring.count(0).store(u32::MAX - 1, Ordering::Relaxed);
        assert_eq!(ring.available(8), 0);
        for number in 0..3_u32 {
            // SAFETY: of a ring of our own.
            unsafe {
                ring.entry(ring.ours.wrapping_add(number))
                    .write(u64::from(number))
            };
        }
        ring.count(0).store(1, Ordering::Relaxed);
        assert_eq!(ring.available(2), 2);
        assert_eq!((ring.at(0), ring.at(1)), (0, 1));
        ring.release(2);
        assert_eq!(ring.count(64).load(Ordering::Relaxed), 0);
        assert_eq!((ring.available(2), ring.at(0)), (1, 2));
    }

    #[test]
    fn ranges_that_overlap_or_leave_the_memory_are_not_given() {
        let mut memory = Mapping::anonymous(4096).unwrap();
        assert!(memory.pair(0..10, 10..4096).is_some());
        for (read, write) in [
            (0..11, 10..20),
            (10..20, 0..11),
            (0..1, 4000..4097),
            (4090..4100, 0..1),
            (5..5, 3..9),
        ] {
            assert!(
                memory.pair(read.clone(), write.clone()).is_none(),
                "{read:?} {write:?}"
            );
        }
    }
}
