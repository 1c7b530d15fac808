//! What travels: cells, records and the messages between control and data plane (`docs/wire.md`).
//!
//! No I/O here. Parsers take bytes and return values or errors; they neither allocate nor panic. The crate is
//! `no_std` and does not name `alloc`, so that the first half of that is checked by the compiler.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

pub mod cell;
pub mod control;
pub mod frame;
pub mod fuzz;
pub mod record;
#[cfg(test)]
mod testing;
