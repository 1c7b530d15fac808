//! Every crypto back end that this processor has, beside the reference.
#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| {
    drover_crypto::fuzz::fuzz_backends(script);
});
