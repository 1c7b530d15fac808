//! A worker's stages, with conservation as the oracle.
#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| {
    drover_dataplane::fuzz::fuzz_stages(script);
});
