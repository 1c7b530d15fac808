//! Instructions of each stage of a worker, counted by callgrind and compared with a stored baseline.
//!
//! A clock on a shared machine sees a slow-down of a tenth at best. Instructions are counted exactly: the same binary, the
//! same world and the same seed give the same number, whatever else runs. A count says nothing of memory and of what a
//! processor does at once; for these there is `drover-perf`.
//!
//! [`world`] is what runs under valgrind: a worker on a bench, turned stage by stage and then as a mix turns it. Kernels of
//! the crypto are left out ([`suite`]), since valgrind has neither VAES nor AVX-512. [`callgrind`] starts it and reads what
//! was counted; [`baseline`] compares.
#![forbid(unsafe_code)]

pub mod baseline;
pub mod callgrind;
pub mod suite;
pub mod world;
