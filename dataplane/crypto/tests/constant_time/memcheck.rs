//! Valgrind's client requests (`valgrind.h`, `memcheck.h`): instructions that do nothing outside valgrind.

use std::arch::asm;

/// Codes of requests.
const RUNNING_ON_VALGRIND: u64 = 0x1001;
const COUNT_ERRORS: u64 = 0x1201;
const MAKE_MEM_UNDEFINED: u64 = 0x4d43_0001;
const MAKE_MEM_DEFINED: u64 = 0x4d43_0002;
const GET_VBITS: u64 = 0x4d43_0008;

/// Asks valgrind; 0 where there is none.
fn request(code: u64, [first, second, third]: [u64; 3]) -> u64 {
    let arguments = [code, first, second, third, 0, 0];
    let mut answer = 0u64;
    // SAFETY: four rotations by 128 bits in all, and an exchange of a register with itself, change nothing. Valgrind takes
    // them for a request, reads the six numbers at RAX and answers in RDX. Of the requests made here one writes memory,
    // GET_VBITS the bytes that its caller gives it for that; the others change what valgrind holds of memory.
    unsafe {
        asm!(
            "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
            in("rax") arguments.as_ptr(),
            inout("rdx") answer,
        );
    }
    answer
}

/// Whether this runs under valgrind.
pub(crate) fn here() -> bool {
    request(RUNNING_ON_VALGRIND, [0; 3]) > 0
}

/// How often valgrind has reported something so far.
pub(crate) fn errors() -> u64 {
    request(COUNT_ERRORS, [0; 3])
}

/// A value's place and size. Exposed: the compiler must not take for granted what it last wrote there.
fn place<T: ?Sized>(value: &mut T) -> [u64; 2] {
    [std::ptr::from_mut(value).cast::<u8>().expose_provenance() as u64, size_of_val(value) as u64]
}

/// Marks the bytes of `value` as secret: as never given a value.
pub(crate) fn secret<T: ?Sized>(value: &mut T) {
    let [start, len] = place(value);
    request(MAKE_MEM_UNDEFINED, [start, len, 0]);
}

/// The one place where something becomes public: what goes on the wire, and whether a tag is right.
pub(crate) fn public<T: ?Sized>(value: &mut T) {
    let [start, len] = place(value);
    request(MAKE_MEM_DEFINED, [start, len, 0]);
}

/// Whether every byte depends on a secret.
pub(crate) fn is_secret(bytes: &mut [u8]) -> bool {
    let mut marks = vec![0u8; bytes.len()];
    let ([start, len], [marks_start, _]) = (place(bytes), place(&mut marks[..]));
    request(GET_VBITS, [start, marks_start, len]);
    marks.iter().all(|&mark| mark != 0)
}
