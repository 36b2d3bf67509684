//! A small assembler of eBPF (RFC 9669): only the instructions that the filter needs, with named labels, so that no
//! distance is counted by hand. What it makes is still judged by the kernel's verifier.

use std::os::fd::RawFd;

/// One instruction, as bpf(2) takes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u8,
    /// Destination and source, a nibble each.
    pub(super) registers: u8,
    pub(super) offset: i16,
    pub(super) immediate: i32,
}

/// R0 is the result, R1 to R5 are arguments, which a call destroys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
}

/// Octets of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    One = 0x10,
    Two = 0x08,
    Four = 0x00,
}

/// When a jump is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum If {
    Equal = 0x10,
    Greater = 0x20,
    Differs = 0x50,
}

/// A place to jump to, perhaps not known yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

/// Instruction classes and what they are combined with (RFC 9669 §4, §5).
const LOAD_IMMEDIATE_64: u8 = 0x18;
const LOAD_MEMORY: u8 = 0x61;
const ALU_64: u8 = 0x07;
const JUMP_64: u8 = 0x05;
const JUMP_32: u8 = 0x06;
const BY_REGISTER: u8 = 0x08;
const ADD: u8 = 0x00;
const AND: u8 = 0x50;
const MOVE: u8 = 0xb0;
const CALL: u8 = 0x80;
const EXIT: u8 = 0x90;
/// The source "register" that makes a 64-bit immediate the descriptor of a map.
const MAP_BY_DESCRIPTOR: u8 = 1;

/// A program in the making.
#[derive(Default)]
pub(super) struct Assembler {
    instructions: Vec<Instruction>,
    /// Where each label is.
    labels: Vec<Option<usize>>,
    /// Jumps, by their place, and their labels.
    jumps: Vec<(usize, usize)>,
}

impl Assembler {
    /// A label that is to be placed later.
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Puts a label before the next instruction.
    pub(super) fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.instructions.len());
    }

    /// `into = *(from + offset)`, in the octets' own order.
    pub(super) fn load(&mut self, width: Width, into: Register, from: Register, offset: i16) {
        self.push(LOAD_MEMORY | width as u8, into, from as u8, offset, 0);
    }

    /// `into = from`.
    pub(super) fn copy(&mut self, into: Register, from: Register) {
        self.push(ALU_64 | MOVE | BY_REGISTER, into, from as u8, 0, 0);
    }

    /// `into = number`.
    pub(super) fn set(&mut self, into: Register, number: i32) {
        self.push(ALU_64 | MOVE, into, 0, 0, number);
    }

    /// `register += number`.
    pub(super) fn add(&mut self, register: Register, number: i32) {
        self.push(ALU_64 | ADD, register, 0, 0, number);
    }

    /// `register &= bits`; the bits above the 31st stay only if the 31st is set.
    pub(super) fn and(&mut self, register: Register, bits: i32) {
        self.push(ALU_64 | AND, register, 0, 0, bits);
    }

    /// `into = the map behind this descriptor`.
    pub(super) fn load_map(&mut self, into: Register, map: RawFd) {
        self.push(LOAD_IMMEDIATE_64, into, MAP_BY_DESCRIPTOR, 0, map);
        self.push(0, Register::R0, 0, 0, 0);
    }

    /// `R0 = helper(R1, …)`.
    pub(super) fn call(&mut self, helper: i32) {
        self.push(JUMP_64 | CALL, Register::R0, 0, 0, helper);
    }

    /// Ends with R0.
    pub(super) fn exit(&mut self) {
        self.push(JUMP_64 | EXIT, Register::R0, 0, 0, 0);
    }

    /// Goes on at the label.
    pub(super) fn jump(&mut self, to: Label) {
        self.aim(to);
        self.push(JUMP_64, Register::R0, 0, 0, 0);
    }

    /// Compares two registers as 64 unsigned bits.
    pub(super) fn jump_by(&mut self, left: Register, when: If, right: Register, to: Label) {
        self.aim(to);
        self.push(JUMP_64 | BY_REGISTER | when as u8, left, right as u8, 0, 0);
    }

    /// Compares the low 32 bits of a register with a number.
    pub(super) fn jump_if(&mut self, left: Register, when: If, right: u32, to: Label) {
        self.aim(to);
        self.push(JUMP_32 | when as u8, left, 0, 0, right.cast_signed());
    }

    /// The program, its jumps aimed; `None` if a label was never placed or is too far away.
    pub(super) fn finish(mut self) -> Option<Vec<Instruction>> {
        for (jump, label) in self.jumps {
            let distance = (self.labels[label]?).checked_sub(jump + 1)?;
            self.instructions[jump].offset = i16::try_from(distance).ok()?;
        }
        Some(self.instructions)
    }

    /// The next instruction jumps there.
    fn aim(&mut self, to: Label) {
        self.jumps.push((self.instructions.len(), to.0));
    }

    fn push(&mut self, code: u8, into: Register, from: u8, offset: i16, immediate: i32) {
        // The kernel's bit fields follow the machine's order.
        let registers = match cfg!(target_endian = "big") {
            true => (into as u8) << 4 | from,
            false => into as u8 | from << 4,
        };
        self.instructions.push(Instruction {
            code,
            registers,
            offset,
            immediate,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_encoded_as_the_standard_says() {
        let mut assembler = Assembler::default();
        let end = assembler.label();
        assembler.load(Width::Four, Register::R2, Register::R1, 4);
        assembler.copy(Register::R4, Register::R2);
        assembler.add(Register::R4, 42);
        assembler.jump_by(Register::R4, If::Greater, Register::R3, end);
        assembler.jump_if(Register::R5, If::Differs, 0xffff_0001, end);
        assembler.load_map(Register::R1, 7);
        assembler.call(51);
        assembler.place(end);
        assembler.exit();
        let made: Vec<_> = assembler
            .finish()
            .unwrap()
            .iter()
            .map(|i| (i.code, i.registers, i.offset, i.immediate))
            .collect();
        // Opcodes as in the instruction tables of RFC 9669, appendix A.
        let expected = [
            (0x61, 0x12, 4, 0),
            (0xbf, 0x24, 0, 0),
            (0x07, 0x04, 0, 42),
            (0x2d, 0x34, 4, 0),
            (0x56, 0x05, 3, -65535),
            (0x18, 0x11, 0, 7),
            (0, 0, 0, 0),
            (0x85, 0, 0, 51),
            (0x95, 0, 0, 0),
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(made, expected);
        }
    }

    #[test]
    fn a_label_that_is_nowhere_or_too_far_away_is_refused() {
        let mut assembler = Assembler::default();
        let nowhere = assembler.label();
        assembler.jump(nowhere);
        assert!(assembler.finish().is_none());
        let mut assembler = Assembler::default();
        let far = assembler.label();
        assembler.jump(far);
        for _ in 0..40_000 {
            assembler.set(Register::R0, 0);
        }
        assembler.place(far);
        assert!(assembler.finish().is_none());
    }
}
