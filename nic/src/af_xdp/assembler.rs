//! A small assembler of BPF instructions (RFC 9669), enough for a packet filter.
//!
//! Jumps go to labels, which are placed where the code is that they name: no program counts instructions.

/// A register (RFC 9669, 2.1). A program starts with its context in `R1`; a call takes `R1` to `R5` and clobbers them, and
/// leaves its result in `R0`, where a program's own goes too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    /// Kept across calls.
    R6,
}

/// What a load reads: so many bytes, in the machine's byte order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Width {
    U8,
    U16,
    U32,
}

/// When a jump is taken, comparing as unsigned numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    Equal,
    NotEqual,
    Greater,
}

/// A place to jump to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

/// A program in the making.
#[derive(Default)]
pub(super) struct Assembler {
    instructions: Vec<u64>,
    /// Where each label is, once it is placed.
    labels: Vec<Option<usize>>,
    /// Jumps whose offset waits for its label.
    jumps: Vec<(usize, Label)>,
}

// Instruction classes, sources and operations (RFC 9669, 3 to 5).
const CLASS_LD: u8 = 0x00;
const CLASS_LDX: u8 = 0x01;
const CLASS_JMP: u8 = 0x05;
const CLASS_JMP32: u8 = 0x06;
const CLASS_ALU64: u8 = 0x07;
const MODE_IMM: u8 = 0x00;
const MODE_MEM: u8 = 0x60;
const SIZE_U32: u8 = 0x00;
const SIZE_U16: u8 = 0x08;
const SIZE_U8: u8 = 0x10;
const SIZE_U64: u8 = 0x18;
const SOURCE_IMMEDIATE: u8 = 0x00;
const SOURCE_REGISTER: u8 = 0x08;
const OP_ADD: u8 = 0x00;
const OP_AND: u8 = 0x50;
const OP_MOV: u8 = 0xb0;
const OP_JA: u8 = 0x00;
const OP_JEQ: u8 = 0x10;
const OP_JGT: u8 = 0x20;
const OP_JNE: u8 = 0x50;
const OP_CALL: u8 = 0x80;
const OP_EXIT: u8 = 0x90;
/// The source "register" of a 64-bit immediate that is a map's descriptor (RFC 9669, 5.4).
const PSEUDO_MAP_FD: u8 = 1;

impl Assembler {
    /// A label to be placed later.
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Places `label` before the next instruction.
    pub(super) fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.instructions.len());
    }

    /// `to = value`.
    pub(super) fn set(&mut self, to: Register, value: i32) {
        self.push(CLASS_ALU64 | SOURCE_IMMEDIATE | OP_MOV, to as u8, 0, 0, value);
    }

    /// `to = from`.
    pub(super) fn copy(&mut self, to: Register, from: Register) {
        self.push(CLASS_ALU64 | SOURCE_REGISTER | OP_MOV, to as u8, from as u8, 0, 0);
    }

    /// `to += value`.
    pub(super) fn add(&mut self, to: Register, value: i32) {
        self.push(CLASS_ALU64 | SOURCE_IMMEDIATE | OP_ADD, to as u8, 0, 0, value);
    }

    /// `to &= mask`.
    pub(super) fn and(&mut self, to: Register, mask: i32) {
        self.push(CLASS_ALU64 | SOURCE_IMMEDIATE | OP_AND, to as u8, 0, 0, mask);
    }

    /// `to = *(from + offset)`, the upper bits zero.
    pub(super) fn load(&mut self, width: Width, to: Register, from: Register, offset: usize) {
        let size = match width {
            Width::U8 => SIZE_U8,
            Width::U16 => SIZE_U16,
            Width::U32 => SIZE_U32,
        };
        let offset = i16::try_from(offset).expect("a header's offset");
        self.push(CLASS_LDX | MODE_MEM | size, to as u8, from as u8, offset, 0);
    }

    /// `to =` the map behind the descriptor `map`.
    pub(super) fn load_map(&mut self, to: Register, map: i32) {
        self.push(CLASS_LD | MODE_IMM | SIZE_U64, to as u8, PSEUDO_MAP_FD, 0, map);
        // The upper half of the immediate.
        self.push(0, 0, 0, 0, 0);
    }

    /// Goes to `label`.
    pub(super) fn jump(&mut self, label: Label) {
        self.jump_with(CLASS_JMP | OP_JA, 0, 0, 0, label);
    }

    /// Goes to `label` if `left` compares so with `right`, of 64 bits: pointers among them.
    pub(super) fn jump_if(&mut self, left: Register, when: When, right: Register, label: Label) {
        self.jump_with(CLASS_JMP | SOURCE_REGISTER | when.op(), left as u8, right as u8, 0, label);
    }

    /// Goes to `label` if the lower 32 bits of `left` compare so with `right`.
    pub(super) fn jump_if_value(&mut self, left: Register, when: When, right: u32, label: Label) {
        self.jump_with(CLASS_JMP32 | SOURCE_IMMEDIATE | when.op(), left as u8, 0, right.cast_signed(), label);
    }

    /// Calls the kernel's function `helper` (bpf-helpers(7)).
    pub(super) fn call(&mut self, helper: i32) {
        self.push(CLASS_JMP | OP_CALL, 0, 0, 0, helper);
    }

    /// Ends the program with what is in `R0`.
    pub(super) fn exit(&mut self) {
        self.push(CLASS_JMP | OP_EXIT, 0, 0, 0, 0);
    }

    /// The instructions.
    ///
    /// # Panics
    /// When a jump's label was not placed, or is too far away.
    pub(super) fn finish(mut self) -> Vec<u64> {
        for (at, label) in self.jumps {
            let to = self.labels[label.0].expect("every label is placed");
            // Counted from behind the jump.
            let offset = i16::try_from(to as isize - at as isize - 1).expect("a label within reach");
            self.instructions[at] |= u64::from(offset.cast_unsigned()) << OFFSET_SHIFT;
        }
        self.instructions
    }

    fn jump_with(&mut self, code: u8, to: u8, from: u8, immediate: i32, label: Label) {
        self.jumps.push((self.instructions.len(), label));
        self.push(code, to, from, 0, immediate);
    }

    /// RFC 9669, 3.1: code, destination and source of four bits each, offset, immediate. The fields are in the machine's
    /// order; the registers' nibbles follow it too.
    fn push(&mut self, code: u8, to: u8, from: u8, offset: i16, immediate: i32) {
        let registers = if cfg!(target_endian = "little") { to | from << 4 } else { to << 4 | from };
        let instruction = Instruction { code, registers, offset, immediate };
        self.instructions.push(instruction.word());
    }
}

struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// Where an instruction's offset lies in its word.
const OFFSET_SHIFT: u32 = if cfg!(target_endian = "little") { 16 } else { 32 };

impl Instruction {
    fn word(self) -> u64 {
        let [a, b] = self.offset.to_ne_bytes();
        let [c, d, e, f] = self.immediate.to_ne_bytes();
        u64::from_ne_bytes([self.code, self.registers, a, b, c, d, e, f])
    }
}

impl When {
    fn op(self) -> u8 {
        match self {
            When::Equal => OP_JEQ,
            When::NotEqual => OP_JNE,
            When::Greater => OP_JGT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against what other assemblers make of the same text (little-endian).
    #[test]
    #[cfg(target_endian = "little")]
    fn instructions_are_laid_out_as_the_kernel_reads_them() {
        let mut code = Assembler::default();
        let (end, back) = (code.label(), code.label());
        code.place(back);
        code.copy(Register::R6, Register::R1);
        code.load(Width::U16, Register::R5, Register::R2, 12);
        code.jump_if_value(Register::R5, When::NotEqual, 0xffff_ffff, end);
        code.jump_if(Register::R4, When::Greater, Register::R3, end);
        code.load_map(Register::R1, 7);
        code.call(51);
        code.jump(back);
        code.place(end);
        code.set(Register::R0, 2);
        code.exit();
        let bytes: Vec<[u8; 8]> = code.finish().into_iter().map(u64::to_ne_bytes).collect();
        assert_eq!(
            bytes,
            [
                [0xbf, 0x16, 0, 0, 0, 0, 0, 0],
                [0x69, 0x25, 12, 0, 0, 0, 0, 0],
                [0x56, 0x05, 5, 0, 0xff, 0xff, 0xff, 0xff],
                [0x2d, 0x34, 4, 0, 0, 0, 0, 0],
                [0x18, 0x11, 0, 0, 7, 0, 0, 0],
                [0, 0, 0, 0, 0, 0, 0, 0],
                [0x85, 0, 0, 0, 51, 0, 0, 0],
                [0x05, 0, 0xf8, 0xff, 0, 0, 0, 0],
                [0xb7, 0, 0, 0, 2, 0, 0, 0],
                [0x95, 0, 0, 0, 0, 0, 0, 0],
            ]
        );
    }

    #[test]
    #[should_panic(expected = "every label is placed")]
    fn a_jump_to_nowhere_is_no_program() {
        let mut code = Assembler::default();
        let nowhere = code.label();
        code.jump(nowhere);
        code.finish();
    }
}
