//! Every parser of the wire crate.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    drover_wire::fuzz::fuzz_parsers(bytes);
});
